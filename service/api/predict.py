"""Scores for ad requests."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.api.body_gate import BATCH_PATH, BODY_ARRIVED
from service.api.errors import documented
from service.api.schemas import (
    AdRequestBody,
    BatchAnswerBody,
    BatchBody,
    BatchPredictionBody,
    PredictionBody,
)
from service.prediction.predictor import Prediction, Predictor

JSON = "application/json"

ModelName = Annotated[
    str | None,
    Query(description="Ask this model, whatever the A/B test assigns.", max_length=64),
]

_ERRORS = documented(
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.INTERNAL_SERVER_ERROR,
)


def predict_router(predictor: Predictor) -> APIRouter:
    """Endpoints that score with ``predictor``."""
    router = APIRouter(tags=["Predictions"])

    @router.post("/predict_ctr", response_model=PredictionBody, responses=_ERRORS)
    async def predict_ctr(
        request: Request, body: AdRequestBody, model_name: ModelName = None
    ) -> Response:
        """Predict the click-through rate of one ad request."""
        answer = await predictor.answer(
            [body.to_ad_request()],
            model_name=model_name,
            arrived=request.scope[BODY_ARRIVED],
            render=_one,
        )
        return Response(answer, media_type=JSON)

    @router.post(BATCH_PATH, response_model=BatchAnswerBody, responses=_ERRORS)
    async def predict_ctr_batch(
        request: Request, body: BatchBody, model_name: ModelName = None
    ) -> Response:
        """Predict the click-through rates of up to 1,000 ad requests."""
        answer = await predictor.answer(
            [one.to_ad_request() for one in body.requests],
            model_name=model_name,
            arrived=request.scope[BODY_ARRIVED],
            render=_batch,
        )
        return Response(answer, media_type=JSON)

    return router


def _one(predictions: Sequence[Prediction], latency_ms: float) -> bytes:
    body = PredictionBody.model_construct(**predictions[0]._asdict(), latency_ms=latency_ms)
    return body.model_dump_json().encode()


def _batch(predictions: Sequence[Prediction], latency_ms: float) -> bytes:
    body = BatchAnswerBody.model_construct(
        predictions=[BatchPredictionBody.model_construct(**p._asdict()) for p in predictions],
        latency_ms=latency_ms,
    )
    return body.model_dump_json().encode()
