"""Questions that anybody may ask: the service over REST, MLflow and Prometheus over theirs."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Self

import httpx

from demo.places import Places

MODEL = "xgboost"
"""Which model the story looks at."""

Json = Mapping[str, Any]


class Source(Enum):
    """Whom to ask what."""

    READY = "/readyz"
    HEALTH = "/monitoring/health"
    STATS = "/monitoring/stats?window=1h"
    DRIFT = f"/monitoring/drift/{MODEL}"
    QUALITY = f"/monitoring/quality/{MODEL}?window=1m"
    HISTORY = "/monitoring/mlflow"
    MLFLOW_RUN = "api/2.0/mlflow/runs/get"
    ALERTS = "api/v1/alerts"


class Asking:
    """Asks, and takes no answer for an answer too: what is not there now may be later."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._client = httpx.Client(timeout=10, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, source: Source) -> Json | None:
        """Give the answer; None where there is none for now."""
        match source:
            case Source.MLFLOW_RUN:
                return self._run_of_today()
            case Source.ALERTS if self._places.prometheus is None:
                return None
            case Source.ALERTS:
                return self._get(f"{self._places.prometheus}/{source.value}")
            case _:
                return self._get(self._places.service + source.value)

    def release(self) -> bool:
        """Ask the service to serve the models that are on disk by now; tell whether it does."""
        try:
            answer = self._client.post(f"{self._places.service}/models/reload", timeout=60)
        except httpx.TransportError:
            return False
        return answer.is_success

    def _run_of_today(self) -> Json | None:
        """What MLflow itself says of the version that is served, and the link to it."""
        ready, history = self.ask(Source.READY), self.ask(Source.HISTORY)
        if ready is None or history is None:
            return None
        version = ready["models"][MODEL]
        served = {"kind": "monitoring", "model_name": MODEL, "model_version": version}
        runs = [run for run in history["runs"] if served.items() <= run.items()]
        if not runs:
            return None
        today = max(runs, key=lambda run: str(run["date"]))
        url = f"{self._places.mlflow}/{Source.MLFLOW_RUN.value}?run_id={today['run_id']}"
        found = self._get(url)
        return None if found is None else {**found, "url": today["url"]}

    def _get(self, url: str) -> Json | None:
        try:
            answer = self._client.get(url)
            answer.raise_for_status()
        except httpx.HTTPError:
            return None
        content: Json = answer.json()
        return content
