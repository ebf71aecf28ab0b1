"""Scores for ad requests, as the OpenAPI document describes them; most take the fast lane."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.api.answers import JSON, rendered_batch, rendered_one
from service.api.body_gate import BATCH_PATH, PREDICT_PATH, arrived_body
from service.api.errors import documented
from service.api.schemas import AdRequestBody, BatchAnswerBody, BatchBody, PredictionBody
from service.prediction.predictor import Predictor

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
    HTTPStatus.SERVICE_UNAVAILABLE,
)


def predict_router(predictor: Predictor) -> APIRouter:
    """Endpoints that score with ``predictor``."""
    router = APIRouter(tags=["Predictions"])

    @router.post(PREDICT_PATH, response_model=PredictionBody, responses=_ERRORS)
    async def predict_ctr(
        request: Request, body: AdRequestBody, model_name: ModelName = None
    ) -> Response:
        """Predict the click-through rate of one ad request."""
        answer = await predictor.answer(
            [body.to_ad_request()],
            model_name=model_name,
            arrived=arrived_body(request.scope).at,
            render=rendered_one,
            request=request.scope,
        )
        return Response(answer, media_type=JSON)

    @router.post(BATCH_PATH, response_model=BatchAnswerBody, responses=_ERRORS)
    async def predict_ctr_batch(
        request: Request, body: BatchBody, model_name: ModelName = None
    ) -> Response:
        """Predict the click-through rates of up to 1,000 ad requests."""
        answer = await predictor.answer(
            body.to_ad_requests(),
            model_name=model_name,
            arrived=arrived_body(request.scope).at,
            render=rendered_batch,
            request=request.scope,
        )
        return Response(answer, media_type=JSON)

    return router
