"""The application: routes, keys, errors, and the service that lives as long as the app."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi

from inference_server import errors
from inference_server.admission import BodyReader
from inference_server.decoding.tensors import InferRequest
from inference_server.http_server import RequestMiddleware
from inference_server.routes import (
    act,
    action,
    activations,
    batch,
    dashboard,
    gqcnn,
    health,
    heatmap,
    loop,
    models,
    outcomes,
    predict,
    process,
    v2,
)
from inference_server.security.auth import require_key, require_predict, require_report
from inference_server.security.origins import Origins
from inference_server.security.refusal_limit import RefusalLimit
from inference_server.service import Service
from inference_server.tracing import telemetry
from shared.settings import ServerSettings

_DESCRIPTION = "Grasp planning as a service: depth or colour image in, ranked grasps out; outcomes make it better."


def create_app(settings: ServerSettings) -> FastAPI:
    """The server. Its service starts and stops with the app's lifespan. Raises ValueError for settings that cannot work."""
    front = graspgen_front(settings)
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.start)
        try:
            async with front(service):
                yield
        finally:
            await asyncio.to_thread(service.stop)

    app = FastAPI(
        title="GraspLoop", version=version("grasploop"), description=_DESCRIPTION, lifespan=lifespan, telemetry=telemetry(),
        docs_url=None, redoc_url=None, responses=errors.documented(400, 403),
    )  # fmt: skip
    app.state.service, app.state.bodies = service, BodyReader(int(settings.max_body_mb * 2**20))
    for module in (predict, action, act, batch, heatmap, gqcnn, process, activations):  # the most asked for is matched first
        app.include_router(module.router, dependencies=[Depends(require_predict)])
    for module in (models, loop):
        app.include_router(module.router, dependencies=[Depends(require_key)])
    app.include_router(outcomes.router, dependencies=[Depends(require_report)])
    for router in (activations.reading, v2.router, health.router, v2.health, dashboard.router):
        app.include_router(router)
    errors.install(app)
    refusals, origins = RefusalLimit(settings.refusals_per_second), Origins(settings)
    app.add_middleware(RequestMiddleware, metrics=service.metrics, refusals=refusals, origins=origins)
    _document(app)
    return app


def graspgen_front(settings: ServerSettings) -> Callable[[Service], AbstractAsyncContextManager[None]]:
    """What answers GraspGen's clients beside HTTP, where a port is set for them. Raises ValueError if it cannot."""
    if settings.graspgen_port is None:
        return lambda service: nullcontext()
    try:
        from inference_server.graspgen import front
    except ModuleNotFoundError as error:
        raise ValueError(f"graspgen_port needs {error.name}: pip install 'grasploop[zmq]'") from error
    front.check(settings)
    return front.serving


def _document(app: FastAPI) -> None:
    """OpenAPI with the models that routes name by hand, because their bodies are not JSON."""
    schema: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not schema:
            schema.update(get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes))
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            for model in (
                *predict.SCHEMAS,
                *outcomes.SCHEMAS,
                *process.SCHEMAS,
                *gqcnn.SCHEMAS,
                *act.SCHEMAS,
                *action.SCHEMAS,
                InferRequest,
            ):
                own = model.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas.update({**own.pop("$defs", {}), model.__name__: own})
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
