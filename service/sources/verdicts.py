"""Remembers what each health check said when it last had enough data."""

import json
from collections.abc import Mapping, Sequence

from service.monitoring.health import CheckStatus, Decided, ModelHealth
from service.state.keyed import KeyedValues

_KEY = "health_verdicts"


class StoredVerdicts:
    """The last decided status of every check of one scope."""

    def __init__(self, values: KeyedValues, scope: str) -> None:
        self._values = values
        self._scope = scope

    def load(self) -> Mapping[str, Decided]:
        """Give the last decided status by model and check."""
        return self._values.read(self._scope, _KEY, _parsed) or {}

    def remember(self, models: Sequence[ModelHealth]) -> None:
        """Take in what was decided now; checks without enough data keep what they said."""
        before = self.load()
        after = dict(before) | {
            model.model_name: {
                **before.get(model.model_name, {}),
                **{
                    check.name: check.status
                    for check in model.checks
                    if check.status is not CheckStatus.INSUFFICIENT_DATA
                },
            }
            for model in models
        }
        if after != before:
            self._values.save(self._scope, _KEY, json.dumps(after).encode())


def _parsed(text: str) -> Mapping[str, Decided]:
    return {
        model: {check: CheckStatus(status) for check, status in decided.items()}
        for model, decided in json.loads(text).items()
    }
