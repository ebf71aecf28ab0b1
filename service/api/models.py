"""Which versions are served: load new ones, go back to the one before."""

from http import HTTPStatus
from typing import Annotated, Self

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, ConfigDict, Field

from service.api.errors import documented
from service.api.write_guard import GUARDED, WriteGuard
from service.releasing import Released, Releases

_ERRORS = documented(
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)

ModelName = Annotated[str, Field(min_length=1, max_length=64)]


class ReloadBody(BaseModel):
    """What to load."""

    model_config = ConfigDict(strict=True, extra="forbid", protected_namespaces=())

    model_name: Annotated[ModelName | None, Field(description="By default all models.")] = None


class RollbackBody(BaseModel):
    """What to go back with."""

    model_config = ConfigDict(strict=True, extra="forbid", protected_namespaces=())

    model_name: ModelName


class LoadedBody(BaseModel):
    """One model that was loaded."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    version: str
    previous_version: Annotated[
        str | None, Field(description="Served until now; null for a model that was not.")
    ]


class ReleasedBody(BaseModel):
    """What is served from now on."""

    loaded: list[LoadedBody]
    dropped: Annotated[list[str], Field(description="Models that are served no longer.")]
    generation: Annotated[int, Field(description="Grows with every release of this instance.")]
    workers: Annotated[int, Field(description="Workers of this instance that serve it.")]
    workers_behind: Annotated[
        list[str],
        Field(description="Workers that serve the one before still, and go on trying; usually []."),
    ]

    @classmethod
    def of(cls, released: Released) -> Self:
        """Map the value."""
        return cls(
            loaded=[
                LoadedBody(
                    model_name=model.name,
                    version=model.version,
                    previous_version=model.previous_version,
                )
                for model in released.loaded
            ],
            dropped=list(released.dropped),
            generation=released.generation,
            workers=released.workers,
            workers_behind=list(released.behind),
        )


def models_router(releases: Releases, guard: WriteGuard) -> APIRouter:
    """Endpoints under `/models`; they change what is served."""
    router = APIRouter(
        prefix="/models",
        tags=["Models"],
        responses={**_ERRORS, **GUARDED},
        dependencies=[Depends(guard)],
    )

    @router.post("/reload")
    async def reload(body: Annotated[ReloadBody | None, Body()] = None) -> ReleasedBody:
        """Serve the models and the experiment that are on disk now, in every worker.

        Answers when every worker serves them. Refused whole, with nothing changed, when anything
        is wrong with one of them.
        """
        return ReleasedBody.of(await releases.reload(body.model_name if body else None))

    @router.post("/rollback")
    async def rollback(body: RollbackBody) -> ReleasedBody:
        """Serve the version of a model that was served before, also after a restart."""
        return ReleasedBody.of(await releases.rollback(body.model_name))

    return router
