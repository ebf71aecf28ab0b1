"""What a scraper and a dashboard ask the service, found in its OpenAPI document."""

import http.client
import json
import os
import threading
import time
from types import TracebackType
from typing import Self

from benchmarks.serving.servers import Server, ServerFailedError
from benchmarks.serving.subject import MODEL_NAME

_METRICS = "/metrics"
_MONITORING = "/monitoring/"
_INTERVAL_SECONDS = 1.0


class Questions:
    """One client with a connection that stays open."""

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection(server.address, timeout=30)
        self.name = server.name
        document = json.loads(self._get("/openapi.json"))
        self.paths = [_METRICS] + [
            path.replace("{model_name}", MODEL_NAME)
            for path, methods in document["paths"].items()
            if path.startswith(_MONITORING) and "get" in methods
        ]
        """``/metrics`` and every ``GET`` below ``/monitoring/``."""

    def ask(self, path: str) -> float:
        """Ask and return how many seconds the answer took.

        Raises:
            ServerFailedError: The answer is no success.
        """
        began = time.perf_counter()
        self._get(path)
        return time.perf_counter() - began

    def _get(self, path: str) -> bytes:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise ServerFailedError(f"{self.name}: {path} answers {answer.status}: {content!r}")
        return content

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Polling:
    """Asks everything once a second, one after the other, from a thread, while the block lasts."""

    def __init__(self, server: Server, cores: frozenset[int] | None) -> None:
        self._questions = Questions(server)
        self._cores = cores
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="polling")
        self.asked = 0
        """How many questions were answered."""

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; what went wrong in the thread is raised here."""
        self._stopping.set()
        self._thread.join()
        self._questions.close()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        if self._cores is not None:
            os.sched_setaffinity(threading.get_native_id(), self._cores)
        # What the client takes to ask must not be taken from wrk, which measures.
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
        due = time.monotonic()
        try:
            while not self._stopping.wait(max(0.0, due - time.monotonic())):
                due += _INTERVAL_SECONDS
                for path in self._questions.paths:
                    self._questions.ask(path)
                    self.asked += 1
        except (OSError, http.client.HTTPException, ServerFailedError) as error:
            self._failure = error
