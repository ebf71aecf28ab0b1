"""Bodies of requests and answers, as the OpenAPI document shows them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, FailFast, Field

from service.prediction.ad_request import AdRequest

MAX_BATCH = 1000

Identifier = Annotated[str, Field(min_length=1, max_length=256)]
Category = Annotated[str, Field(min_length=1, max_length=128)]


class AdRequestBody(BaseModel):
    """One ad request."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "user_id": "user_123",
                    "ad_id": "ad_456",
                    "device": "mobile",
                    "placement": "header",
                    "hour": 14,
                    "day_of_week": 0,
                }
            ]
        },
    )

    user_id: Identifier
    ad_id: Identifier
    device: Category
    placement: Category
    hour: Annotated[int, Field(ge=0, le=23, description="Hour of the impression.")]
    day_of_week: Annotated[int, Field(ge=0, le=6, description="0 is Monday, 6 is Sunday.")]

    def to_ad_request(self) -> AdRequest:
        """Give the value that models understand."""
        return AdRequest(
            self.user_id, self.ad_id, self.device, self.placement, self.hour, self.day_of_week
        )


class BatchBody(BaseModel):
    """Up to 1,000 ad requests, answered all or not at all."""

    model_config = ConfigDict(strict=True, extra="forbid")

    requests: Annotated[list[AdRequestBody], Field(min_length=1, max_length=MAX_BATCH), FailFast()]

    def to_ad_requests(self) -> list[AdRequest]:
        """Give the values that models understand."""
        return [one.to_ad_request() for one in self.requests]


class BatchPredictionBody(BaseModel):
    """One prediction of a batch."""

    prediction_id: Annotated[str, Field(description="Send it back with the click.")]
    predicted_ctr: Annotated[float, Field(ge=0, le=1)]
    model_name: str
    model_version: str


class PredictionBody(BatchPredictionBody):
    """The answer to one ad request."""

    latency_ms: Annotated[float, Field(description="From the body's arrival to this answer.")]


class BatchAnswerBody(BaseModel):
    """The answer to a batch, in the order of its requests."""

    predictions: list[BatchPredictionBody]
    latency_ms: float


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: Annotated[str, Field(description="Path of the field, such as requests.3.hour.")]
    message: str


class Problem(BaseModel):
    """An error in the form of RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] | None = None
    request_id: Annotated[
        str | None, Field(description="As in the header X-Request-ID; the log says it too.")
    ] = None


class EvaluatorStatus(BaseModel):
    """What computes the single predictions of a model."""

    name: str = Field(description="`forest`, `numpy`, or, where the forest cannot, `xgboost`.")
    fallback_reason: str | None = Field(description="Why the forest cannot; else null.")


class ProcessStatus(BaseModel):
    """Whether the process is there and what it serves."""

    status: str
    models: dict[str, str] | None = Field(default=None, description="Version by model.")
    evaluators: dict[str, EvaluatorStatus] | None = Field(
        default=None, description="What computes single predictions, by model."
    )
