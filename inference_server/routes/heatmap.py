"""`POST /heatmap`: a planner's dense map itself, as numbers or as a picture."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from grasp_client.contract import PlanRequest
from grasp_client.imaging import encode_npy
from inference_server.admission import Admitted
from inference_server.decoding.observations import decode_item
from inference_server.errors import ServerError, documented
from inference_server.heatmap import overlay_png
from inference_server.routes import predict

router = APIRouter(tags=["plan"])

NPY, PNG = "application/x-npy", "image/png"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "npy float32 (angles, H, W), or PNG when Accept asks for image/png",
        "content": {NPY: _BINARY, PNG: _BINARY},
    }
}


async def accepted_type(request: Request) -> str:
    """The first media type in Accept that this endpoint has. Raises ServerError 406."""
    accept = request.headers.get("accept", "*/*")
    for entry in accept.lower().split(","):
        name = entry.split(";")[0].strip()
        if name in (NPY, "*/*", "application/*", "application/octet-stream"):
            return NPY
        if name in (PNG, "image/*"):
            return PNG
    raise ServerError(406, "not_acceptable", f"Accept: expected {NPY} or {PNG}, got {accept[:80]!r}")


MapType = Annotated[str, Depends(accepted_type)]


@router.post(
    "/heatmap", response_class=Response, responses={**_RESPONSES, **predict.ERRORS, **documented(406)},
    openapi_extra=predict.OPENAPI,
)  # fmt: skip
async def heatmap(media_type: MapType, request: Admitted) -> Response:
    """Qualities (0 to 1) of every pixel of the sent image for each angle of the closing axis.

    `.npy` float32 (angles, H, W), where map k is for the angle k pi / angles. With `Accept: image/png`: the best over the
    angles, drawn over the image.

    The body and options are those of `/predict_grasp`. Headers of the reply: X-Planner, X-Model-Version.
    `curl -F depth=@depth.png -H 'Accept: image/png' URL/heatmap > map.png`
    """
    service = request.received.service
    item = await decode_item(request, PlanRequest)
    found = await service.planning.heatmap(request, item)
    encode = (encode_npy, found.maps) if media_type == NPY else (overlay_png, item[0], found.maps)
    data = await service.decoders.run(request.received.client, request.deadline, *encode)
    headers = {"X-Planner": found.planner, **({"X-Model-Version": str(found.version)} if found.version else {})}
    return Response(data, media_type=media_type, headers=headers)
