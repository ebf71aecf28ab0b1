"""The tables, and how a database of an earlier release becomes one of this."""

from collections.abc import Sequence

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    select,
)

from service.formats import written_later
from service.state.errors import StateError
from service.state.migrations import (
    Migration,
    add_clicks,
    add_drift_samples,
    add_outbox,
    compress_outbox,
)

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

layouts = Table(
    "layouts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("content", LargeBinary, nullable=False),
    sqlite_autoincrement=True,  # An id is remembered by readers and must not come back.
)
"""The series of snapshots: each distinct set is stored once."""

epochs = Table(
    "epochs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("scope", String, nullable=False),
    Column("epoch", Double, nullable=False),
    UniqueConstraint("scope", "epoch"),
    sqlite_autoincrement=True,
)
"""The lives of the counters, one after the other in each scope."""

snapshots = Table(
    "snapshots",
    metadata,
    Column("epoch_id", ForeignKey(epochs.c.id), primary_key=True),
    Column("tick", Double, primary_key=True),
    Column("minute_end", Double, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("at", Double, nullable=False),
    Column("layout_id", ForeignKey(layouts.c.id), nullable=False),
    Column("counters", LargeBinary, nullable=False),
    Index("snapshots_by_layout", "layout_id"),
)
"""Counters at one tick; ``minute_end`` is the first whole minute at or after it."""

baselines = Table(
    "baselines",
    metadata,
    Column("revision", Integer, primary_key=True),
    Column("model_name", String, nullable=False),
    Column("model_version", String, nullable=False),
    Column("content", Text, nullable=False),
    Column("created_at", String, nullable=False),
    Column("created_by", String, nullable=False),
    Index("baselines_by_model", "model_name", "model_version", "revision"),
    sqlite_autoincrement=True,
)
"""Every baseline that was ever set; nothing is changed or removed."""

leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("expires_at", Double, nullable=False),
)
"""Who does a piece of work that only one may do."""

keyed_values = Table(
    "keyed_values",
    metadata,
    Column("scope", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""Small things that are replaced as a whole."""

drift_samples = Table(
    "drift_samples",
    metadata,
    Column("scope", String, primary_key=True),
    Column("model_name", String, primary_key=True),
    Column("tick", BigInteger, primary_key=True),
    Column("content", Text, nullable=False),
)
"""What drift detection said at each of its ticks."""

tracked_runs = Table(
    "tracked_runs",
    metadata,
    Column("run_key", String, primary_key=True),
    Column("scope", String, nullable=False),
    Column("content", Text, nullable=False),
    Column("store", String),
    Column("run_id", String),
)
"""Runs of the history in MLflow; ``run_id`` is known once the run exists in ``store``."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_key", ForeignKey(tracked_runs.c.run_key), nullable=False),
    Column("kind", String, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("frozen_at", Double, nullable=False),
    Column("points", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("sent_at", Double),
    Column("problem", Text),
    UniqueConstraint("run_key", "kind", "step"),
    Index("outbox_unsent", "sent_at", "id"),
    sqlite_autoincrement=True,
)
"""What MLflow is to be told, frozen before it is sent; unsent while ``sent_at`` is null."""

sampled_windows = Table(
    "sampled_windows",
    metadata,
    Column("scope", String, primary_key=True),
    Column("window_start", BigInteger, primary_key=True),
    Column("model_name", String, primary_key=True),
    Column("model_version", String, primary_key=True),
    Column("worker", String, primary_key=True),
    Column("content", Text, nullable=False),
)
"""Individual predictions that a worker kept of a window, until the bridge takes them."""

clicked = Table(
    "clicked",
    metadata,
    Column("key", LargeBinary(16), primary_key=True),
    Column("minute", BigInteger, nullable=False),
    Index("clicked_by_minute", "minute"),
    sqlite_with_rowid=False,
)
"""Predictions whose click is counted, until their attribution window is over."""

click_cohorts = Table(
    "click_cohorts",
    metadata,
    Column("model_name", String, primary_key=True),
    Column("model_version", String, primary_key=True),
    Column("minute", BigInteger, primary_key=True),
    Column("origin", BigInteger, primary_key=True),
    Column("bucket", Integer, primary_key=True),
    Column("clicks", BigInteger, nullable=False),
    Column("prediction", Double, nullable=False),
    Column("negative_log", Double, nullable=False),
    Column("negative_log_complement", Double, nullable=False),
    Index("click_cohorts_by_minute", "minute"),
    sqlite_with_rowid=False,
)
"""Sums over the clicks on the predictions of one minute, instance and bucket of predicted CTR."""

assigned_clicks = Table(
    "assigned_clicks",
    metadata,
    Column("experiment", BigInteger, primary_key=True),
    Column("model_name", String, primary_key=True),
    Column("model_version", String, primary_key=True),
    Column("minute", BigInteger, primary_key=True),
    Column("origin", BigInteger, primary_key=True),
    Column("cell", Integer, primary_key=True),
    Column("clicks", BigInteger, nullable=False),
    Index("assigned_clicks_by_minute", "minute"),
    sqlite_with_rowid=False,
)
"""Clicks of users whom an experiment gave the model, by minute of the prediction and by cell."""

MIGRATIONS: Sequence[Migration] = (add_drift_samples, add_outbox, add_clicks, compress_outbox)
"""Step ``i`` makes schema version ``i + 2`` of ``i + 1``; never changed once released.

A new database is created from the tables above, which always show the newest version. What the
columns of content hold belongs to it: whoever changes its meaning adds a step, so that an earlier
release refuses it.
"""


def is_current(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> bool:
    """Tell whether the tables are those of this release.

    Raises:
        StateError: They are those of a later one.
    """
    version = _version(connection)
    if version is not None and version > len(migrations) + 1:
        raise StateError(
            written_later(
                "the state",
                form="schema version",
                found=version,
                known=len(migrations) + 1,
                instead="restore a backup of the state",
            )
        )
    return version == len(migrations) + 1


def migrate(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Create or update the tables, in the caller's transaction and under the caller's lock."""
    if is_current(connection, migrations):
        return
    version = _version(connection)
    if version is None:
        metadata.create_all(connection)
        connection.execute(schema_version.insert().values(version=len(migrations) + 1))
        return
    for migration in migrations[version - 1 :]:
        migration(connection)
    connection.execute(schema_version.update().values(version=len(migrations) + 1))


def _version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(schema_version.name):
        return None
    return connection.execute(select(schema_version.c.version)).scalar()
