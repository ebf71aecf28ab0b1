"""The steps from one version of the tables to the next, each as it was when it was released.

A step repeats what it makes instead of importing it: the tables go on changing, the step must not.
"""

import zlib
from collections.abc import Callable

from sqlalchemy import (
    BigInteger,
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
    bindparam,
    select,
    text,
    update,
)

Migration = Callable[[Connection], None]
_ROWS_AT_ONCE = 500


def add_drift_samples(connection: Connection) -> None:
    """Version 2 remembers what drift detection said over time."""
    Table(
        "drift_samples",
        MetaData(),
        Column("scope", String, primary_key=True),
        Column("model_name", String, primary_key=True),
        Column("tick", BigInteger, primary_key=True),
        Column("content", Text, nullable=False),
    ).create(connection)


def add_outbox(connection: Connection) -> None:
    """Version 3 holds what MLflow is to be told, and individual predictions until then."""
    tables = MetaData()
    tracked_runs = Table(
        "tracked_runs",
        tables,
        Column("run_key", String, primary_key=True),
        Column("scope", String, nullable=False),
        Column("content", Text, nullable=False),
        Column("store", String),
        Column("run_id", String),
    )
    Table(
        "outbox",
        tables,
        Column("id", Integer, primary_key=True),
        Column("run_key", ForeignKey(tracked_runs.c.run_key), nullable=False),
        Column("kind", String, nullable=False),
        Column("step", BigInteger, nullable=False),
        Column("frozen_at", Double, nullable=False),
        Column("points", Integer, nullable=False),
        Column("content", Text, nullable=False),
        Column("sent_at", Double),
        Column("problem", Text),
        UniqueConstraint("run_key", "kind", "step"),
        Index("outbox_unsent", "sent_at", "id"),
        sqlite_autoincrement=True,
    )
    Table(
        "sampled_windows",
        tables,
        Column("scope", String, primary_key=True),
        Column("window_start", BigInteger, primary_key=True),
        Column("model_name", String, primary_key=True),
        Column("model_version", String, primary_key=True),
        Column("worker", String, primary_key=True),
        Column("content", Text, nullable=False),
    )
    tables.create_all(connection)


def add_clicks(connection: Connection) -> None:
    """Version 4 counts clicks by the minute of their prediction."""
    tables = MetaData()
    Table(
        "clicked",
        tables,
        Column("key", LargeBinary(16), primary_key=True),
        Column("minute", BigInteger, nullable=False),
        Index("clicked_by_minute", "minute"),
        sqlite_with_rowid=False,
    )
    Table(
        "click_cohorts",
        tables,
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
    Table(
        "assigned_clicks",
        tables,
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
    tables.create_all(connection)


def compress_outbox(connection: Connection) -> None:
    """Version 5 packs what MLflow is told, by far most of what the state holds."""
    binary = LargeBinary().compile(connection.dialect)
    connection.execute(text(f"ALTER TABLE outbox ADD COLUMN packed {binary} NOT NULL DEFAULT ''"))
    outbox = Table(
        "outbox",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("content", Text),
        Column("packed", LargeBinary),
    )
    entries = select(outbox.c.id, outbox.c.content).order_by(outbox.c.id).limit(_ROWS_AT_ONCE)
    pack = update(outbox).where(outbox.c.id == bindparam("entry")).values(packed=bindparam("bytes"))
    last = 0
    while page := connection.execute(entries.where(outbox.c.id > last)).all():
        last = page[-1].id
        connection.execute(
            pack,
            [{"entry": row.id, "bytes": zlib.compress(row.content.encode())} for row in page],
        )
    connection.execute(text("ALTER TABLE outbox DROP COLUMN content"))
    connection.execute(text("ALTER TABLE outbox RENAME COLUMN packed TO content"))
