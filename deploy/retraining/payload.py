"""What Alertmanager posts to a webhook, as far as retraining needs it."""

import json
import re
from collections.abc import Mapping
from typing import Any

from deploy.alerting.routing import RETRAIN_ALERT

_MODEL = re.compile(r"[\w.-]{1,64}", re.ASCII)
_STATUSES = {"firing", "resolved"}


class InvalidPayloadError(ValueError):
    """The body is not a message of Alertmanager; the message says why."""


def drifted_models(body: bytes) -> frozenset[str]:
    """Name the models of which drift that persists is firing; other alerts are passed over.

    Raises:
        InvalidPayloadError: The body is not a message of Alertmanager, version 4.
    """
    try:
        message = json.loads(body)
    except ValueError as error:
        raise InvalidPayloadError(f"not JSON: {error}") from error
    if not isinstance(message, dict) or message.get("version") != "4":
        raise InvalidPayloadError("not an object of version 4")
    alerts = message.get("alerts")
    if message.get("status") not in _STATUSES or not isinstance(alerts, list):
        raise InvalidPayloadError("status or alerts are missing")
    return frozenset(
        _model(labels)
        for labels in (_labels_if_firing(alert) for alert in alerts)
        if labels.get("alertname") == RETRAIN_ALERT
    )


def _labels_if_firing(alert: object) -> Mapping[str, Any]:
    if not isinstance(alert, dict) or alert.get("status") not in _STATUSES:
        raise InvalidPayloadError("an alert has no status")
    labels = alert.get("labels")
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise InvalidPayloadError("an alert has no labels, or one that is no text")
    return labels if alert["status"] == "firing" else {}


def _model(labels: Mapping[str, Any]) -> str:
    model = labels.get("model", "")
    if not _MODEL.fullmatch(model):
        raise InvalidPayloadError(f"{model!r} is not the name of a model")
    return str(model)
