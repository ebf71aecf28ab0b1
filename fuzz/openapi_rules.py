"""Rules of the API that JSON Schema cannot say, for schemathesis.

The one failure that is let pass is a valid request that was refused by one of them.
"""

import json
from typing import Any

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.openapi.checks import RejectedPositiveData

_REFUSED_BY_RULE = (
    # Which scopes and how long a history there are depends on settings.
    "there is no fleet here",
    "give a duration such as",
    # A rule about two fields together.
    "no predictions with the mean",
    # 2.0 is an integer for JSON Schema; here an integer has no point, on both ways of reading.
    "Input should be a valid integer",
)


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext,  # noqa: ARG001 - schemathesis calls by name
    failure: Failure,
    case: schemathesis.Case[Any],  # noqa: ARG001
    response: Response,
) -> bool:
    """Tell whether it is one."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    problems = json.loads(response.content).get("errors")
    return not problems or not all(
        problem["message"].startswith(_REFUSED_BY_RULE) for problem in problems
    )
