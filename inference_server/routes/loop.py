"""`GET /loop`: how workers and trainers are doing."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from inference_server.admission import service_of
from inference_server.errors import documented

router = APIRouter(tags=["loop"])


class Loop(BaseModel):
    """Reply of `GET /loop`: what was said within the last ten seconds, looked at every two."""

    queue: bool = Field(description="whether the queue answers; false too where the server has none")
    sent: int = Field(description="outcomes that the queue ever accepted")
    workers: dict[str, dict[str, Any]] = Field(description="by name: state, attempts, successes, trouble and more")
    trainers: dict[str, dict[str, Any]] = Field(description="by name: state, note, outcomes, champion and more")
    trouble: str = Field(description="what registry or trainer waits for, as a full disk; empty: nothing")


@router.get("/loop", responses=documented(401, 403))
async def loop(request: Request) -> Loop:
    """How the learning loop stands: simulation workers, trainers, and outcomes on their way."""
    state = service_of(request).loop.state
    return Loop(queue=state.queue, sent=state.sent, workers=state.workers, trainers=state.trainers, trouble=state.trouble)
