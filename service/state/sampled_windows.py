"""Individual predictions that the workers kept, until the bridge takes them."""

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select

from service.monitoring.counts import ModelVersion
from service.monitoring.sampled import SampledWindow
from service.state.database import Database
from service.state.errors import StateError
from service.state.schema import sampled_windows
from service.state.upsert import insert

KEPT_SECONDS = 86_400.0
"""A sample that no bridge has taken for so long is dropped."""


class StoredSampledWindows:
    """The samples of one scope.

    Raises:
        StateUnavailableError: In every method, when the database does not answer.
    """

    def __init__(self, database: Database, scope: str) -> None:
        self._database = database
        self._scope = scope

    def append(self, worker: str, windows: Sequence[SampledWindow]) -> None:
        """Store what one worker kept; of a window that is there already the first stands."""
        if not windows:
            return
        with self._database.writing() as connection:
            for window in windows:
                connection.execute(
                    insert(connection, sampled_windows)
                    .values(
                        scope=self._scope,
                        window_start=window.window_start,
                        model_name=window.model.model,
                        model_version=window.model.version,
                        worker=worker,
                        content=window.to_json(),
                    )
                    .on_conflict_do_nothing()
                )

    def of_window(self, start: int) -> Mapping[ModelVersion, Sequence[SampledWindow]]:
        """Give what all workers kept of the window that began at ``start``, in Unix seconds."""
        with self._database.reading() as connection:
            contents = connection.scalars(
                select(sampled_windows.c.content)
                .where(
                    sampled_windows.c.scope == self._scope,
                    sampled_windows.c.window_start == start,
                )
                .order_by(sampled_windows.c.worker)
            ).all()
        found: dict[ModelVersion, list[SampledWindow]] = {}
        try:
            for content in contents:
                window = SampledWindow.from_json(content)
                found.setdefault(window.model, []).append(window)
        except ValueError as error:
            raise StateError(f"a stored sample cannot be read: {error}") from error
        return found

    def drop_before(self, start: float) -> None:
        """Drop the samples of windows that began before ``start``, in Unix seconds."""
        with self._database.writing() as connection:
            connection.execute(
                delete(sampled_windows).where(
                    sampled_windows.c.scope == self._scope,
                    sampled_windows.c.window_start < start,
                )
            )
