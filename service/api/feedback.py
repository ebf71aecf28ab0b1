"""What became of predictions."""

import re
import time
from http import HTTPStatus
from typing import Annotated, Self

from fastapi import APIRouter, Depends
from fastapi.concurrency import run_in_threadpool
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, FailFast, Field
from pydantic_core import PydanticCustomError

from service.api.body_gate import FEEDBACK_PATH
from service.api.errors import documented
from service.api.schemas import MAX_BATCH
from service.api.write_guard import GUARDED, WriteGuard
from service.monitoring.catalogue import FeedbackResult
from service.prediction.feedback import Feedback, FeedbackEvent, FeedbackOutcome

_LONGEST_ID = 512
_DATE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]")

_ERRORS = documented(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


def _written_out(value: object) -> object:
    # Pydantic would take a number too, for seconds or for milliseconds, whichever is likelier.
    if isinstance(value, str) and _DATE.match(value):
        return value
    raise PydanticCustomError("datetime", "give a time such as 2026-11-23T10:15:00Z")


class FeedbackEventBody(BaseModel):
    """What became of one prediction."""

    model_config = ConfigDict(strict=True, extra="forbid")

    prediction_id: Annotated[
        str, Field(max_length=_LONGEST_ID, description="As the answer gave it.")
    ]
    clicked: Annotated[
        bool, Field(description="Only clicks count; the rest is known from the predictions.")
    ]
    timestamp: Annotated[
        Annotated[AwareDatetime, BeforeValidator(_written_out)] | None,
        Field(
            strict=False, description="When it was clicked, with its UTC offset; by default now."
        ),
    ] = None

    def to_event(self) -> FeedbackEvent:
        """Give the value that is judged."""
        at = None if self.timestamp is None else self.timestamp.timestamp()
        return FeedbackEvent(self.prediction_id, self.clicked, at)


class FeedbackBody(BaseModel):
    """Up to 1,000 events; each is judged on its own."""

    model_config = ConfigDict(strict=True, extra="forbid")

    events: Annotated[
        list[FeedbackEventBody], Field(min_length=1, max_length=MAX_BATCH), FailFast()
    ]


class RefusedEventBody(BaseModel):
    """An event that was not counted."""

    index: Annotated[int, Field(description="Its place in the batch, from 0.")]
    reason: FeedbackResult


class FeedbackAnswerBody(BaseModel):
    """What became of the events."""

    accepted: int
    duplicates: Annotated[int, Field(description="Clicks that are counted already.")]
    expired: Annotated[int, Field(description="Later than the attribution window.")]
    invalid: Annotated[
        int, Field(description="Forged or damaged ids, and clicks before the answer.")
    ]
    unknown: Annotated[int, Field(description="Texts that are no prediction id.")]
    refused: list[RefusedEventBody]

    @classmethod
    def of(cls, outcome: FeedbackOutcome) -> Self:
        """Show an outcome."""
        counts = outcome.counts
        return cls(
            accepted=counts.get(FeedbackResult.ACCEPTED, 0),
            duplicates=counts.get(FeedbackResult.DUPLICATE, 0),
            expired=counts.get(FeedbackResult.EXPIRED, 0),
            invalid=counts.get(FeedbackResult.INVALID, 0),
            unknown=counts.get(FeedbackResult.UNKNOWN, 0),
            refused=[
                RefusedEventBody(index=index, reason=result)
                for index, result in enumerate(outcome.results)
                if result is not FeedbackResult.ACCEPTED
            ],
        )


def feedback_router(feedback: Feedback, guard: WriteGuard) -> APIRouter:
    """The endpoint that takes clicks in."""
    router = APIRouter(tags=["Predictions"])

    @router.post(FEEDBACK_PATH, responses={**_ERRORS, **GUARDED}, dependencies=[Depends(guard)])
    async def give_feedback(body: FeedbackBody) -> FeedbackAnswerBody:
        """Say which predictions were clicked.

        Each click counts once, whichever replica takes it, and is durable when this answers: send
        a batch again if in doubt.
        """
        events = [event.to_event() for event in body.events]
        outcome = await run_in_threadpool(feedback.take, events, time.time())
        feedback.record(outcome)
        return FeedbackAnswerBody.of(outcome)

    return router
