"""`GET /loop`: how workers and trainers are doing, and the latest failures."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from inference_server.admission import service_of
from inference_server.errors import ServerError, documented
from shared.streams import RecentFailure

router = APIRouter(tags=["loop"])


class Loop(BaseModel):
    """Reply of `GET /loop`: what was said within the last ten seconds, looked at every two."""

    queue: bool = Field(description="whether the queue answers; false too where the server has none")
    sent: int = Field(description="outcomes that the queue ever accepted")
    workers: dict[str, dict[str, Any]] = Field(description="by name: state, attempts, successes, trouble and more")
    trainers: dict[str, dict[str, Any]] = Field(description="by name: state, note, outcomes, champion and more")
    trouble: str = Field(description="what registry or trainer waits for, as a full disk; empty: nothing")
    failures: list[RecentFailure] = Field(
        description="of the latest failed grasps those that were promised most, the newest first; "
        "their pictures are at `GET /loop/failures/{id}`"
    )


@router.get("/loop", responses=documented(401, 403))
async def loop(request: Request) -> Loop:
    """How the learning loop stands: simulation workers, trainers, and outcomes on their way."""
    state = service_of(request).loop.state
    seen = {name: getattr(state, name) for name in Loop.model_fields}
    return Loop(**{**seen, "failures": list(state.failures)})


@router.get(
    "/loop/failures/{failure}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, **documented(401, 403, 404)},
)
async def picture(failure: Annotated[str, Path(max_length=16)], request: Request) -> Response:
    """The picture of a failed grasp, as `GET /loop` lists it."""
    found = next((each for each in service_of(request).loop.state.failures if each.id == failure), None)
    if found is None:
        raise ServerError(404, "not_found", f"no failure {failure!r} is kept: GET /loop lists those that are")
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=3600"}
    return Response(base64.b64decode(found.picture), media_type="image/jpeg", headers=headers)
