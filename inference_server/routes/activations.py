"""What the networks make of an image: `POST /activations`, and `GET /models/{name}/changes` between two versions."""

import asyncio
import base64
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field
from safetensors.torch import load
from starlette.responses import Response

from grasp_client.contract import ModelRef, PlanRequest
from grasp_client.imaging import encode_png_rgb
from inference_server.admission import Admitted, service_of
from inference_server.decoding.observations import decode_item
from inference_server.errors import ServerError, documented
from inference_server.layer_pictures import animation_gif, layer_picture, sheet_png
from inference_server.routes import predict
from inference_server.security.auth import require_key
from planning.networks.activations import LayerActivation, weight_changes

router = APIRouter(tags=["networks"])
reading = APIRouter(tags=["networks"], dependencies=[Depends(require_key)])

JSON, PNG, GIF = "application/json", "image/png", "image/gif"


class Layer(BaseModel):
    """One layer: its maps as one picture."""

    name: str
    kind: str
    shape: list[int] = Field(description="channels, rows, columns")
    least: float
    most: float
    png: str = Field(description="base64")


class Activations(BaseModel):
    """Reply of `POST /activations`."""

    planner: str
    model: ModelRef
    layers: list[Layer]


class WeightChanges(BaseModel):
    """Reply of `GET /models/{name}/changes`."""

    name: str
    version: int
    against: int
    changes: dict[str, float] = Field(description="by tensor: length of the difference over the length before")


def _layer(layer: LayerActivation) -> Layer:
    maps, png = layer.maps, base64.b64encode(encode_png_rgb(layer_picture(layer))).decode()
    return Layer(name=layer.name, kind=layer.kind, shape=list(maps.shape), least=maps.min(), most=maps.max(), png=png)


@router.post(
    "/activations", response_model=Activations, responses={**predict.ERRORS, **documented(406)}, openapi_extra=predict.OPENAPI
)
async def activations(request: Admitted) -> Response:
    """Layers of the planner's network for the candidate that it thinks best of, inputs first.

    The body and options are those of `/predict_grasp`. `Accept: image/png` gives one sheet, `image/gif` an animation.
    """
    accept = request.received.headers.get("accept", "*/*")
    media_type = next((each for each in (PNG, GIF) if each in accept and JSON not in accept), JSON)
    service = request.received.service
    found = await service.planning.activations(request, await decode_item(request, PlanRequest))
    if not found.layers:
        raise ServerError(422, "nothing_to_score", "there is nothing in this image that the network was asked about")

    def encoded() -> bytes:
        if media_type != JSON:
            return (sheet_png if media_type == PNG else animation_gif)(found.layers)
        layers = [_layer(each) for each in found.layers]
        return Activations(planner=found.planner, model=found.model, layers=layers).model_dump_json().encode()

    return Response(await service.decoders.run(request.received.client, request.deadline, encoded), media_type=media_type)


@reading.get("/models/{name}/changes", responses=documented(401, 403, 404))
async def changes(
    request: Request,
    name: Annotated[str, Path(max_length=64)],
    version: Annotated[int, Query(ge=1)],
    against: Annotated[int, Query(ge=1, description="the version before")],
) -> WeightChanges:
    """How far each tensor of a model's weights moved between two versions."""
    registry = service_of(request).registry

    def compare() -> dict[str, float]:
        return weight_changes(load(registry.read_weights(name, against)), load(registry.read_weights(name, version)))

    return WeightChanges(name=name, version=version, against=against, changes=await asyncio.to_thread(compare))
