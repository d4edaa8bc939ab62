"""`/live`, `/ready`, `/metrics`: outside of keys and queue, for probes."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from starlette.responses import Response

from inference_server.admission import service_of

router = APIRouter(tags=["health"])


class Live(BaseModel):
    """Reply of `GET /live`."""

    live: bool = True


class Ready(BaseModel):
    """Reply of `GET /ready`: 200 when ready, the same with 503 when not."""

    ready: bool
    warm: bool
    device: str
    dtype: str
    threads: int
    batch_sizes: list[int] = Field(description="sizes that batches are padded to; empty: any size, as on the CPU")
    planners: list[str]
    models: dict[str, int]
    failures: dict[str, str]
    queue: int
    queue_size: int
    outcome_queue: bool
    trouble: str = Field(description="what the trainer or the registry waits for, as a full disk; empty: nothing")


@router.get("/live")
async def live() -> Live:
    """The process answers."""
    return Live()


@router.get("/ready", response_model=Ready, responses={503: {"model": Ready, "description": "not ready"}})
async def ready(request: Request) -> Response:
    """Models are loaded and warm, and the inference thread works. Says on which device, with which versions."""
    service = service_of(request)
    state = Ready(
        ready=service.ready(),
        warm=service.warm,
        device=str(service.execution.device),
        dtype=service.execution.precision,
        threads=service.threads,
        batch_sizes=list(service.execution.sizes),
        planners=service.planning.available(),
        models=service.weights.versions(),
        failures=service.weights.failures(),
        queue=len(service.batcher.queue),
        queue_size=service.batcher.queue.size,
        outcome_queue=service.outcomes.configured,
        trouble=service.loop.state.trouble,
    )
    headers = {} if state.ready else {"Retry-After": "1"}
    return Response(state.model_dump_json(), 200 if state.ready else 503, headers, media_type="application/json")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def metrics(request: Request) -> Response:
    """Prometheus text."""
    service = service_of(request)
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
