"""From bytes to `(Observation, PlanRequest)`: the three ways to send an observation."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from grasp_client.contract import PlanRequest
from grasp_client.contract.requests import MOST_VIEWS
from grasp_client.imaging import (
    ImageLimits,
    check_observation,
    check_views,
    decode_depth,
    decode_image,
    decode_points,
    decode_raw_depth,
    decode_rgb,
    decode_segmask,
)
from grasp_client.inputs import views_of
from grasp_client.observation import Observation
from inference_server.admission import AdmittedRequest
from inference_server.decoding.json_limits import json_too_large
from inference_server.decoding.multipart import Part, parts_of
from inference_server.errors import ServerError, invalid_fields

IMAGE_PARTS = ("depth", "rgb", "segmask", "goal")
CLOUD_PARTS = ("points", "scene_points")
VIEW_PARTS = tuple(f"depth_{number}" for number in range(MOST_VIEWS))
OPTIONS_HEADER = "x-request"
RAW = "application/octet-stream"
MULTIPART = "multipart/form-data"
QUICK_BYTES = 2**21
"""Raw depth up to this size, 1024 x 1024 as uint16, is read in about half a millisecond."""
QUICK_OPTIONS = 4096
"""Options up to this size are read in less than that, right or wrong."""
OPTIONS_BYTES = 2**16
"""Most options of a request: 64 failed grasps with two poses each are 45 KB."""
BYTES_PER_MARK = 16
"""Of these bytes for each comma and colon: those 64 failed grasps have 3,000, which 64 KiB may have 4,096 of."""
Options = TypeVar("Options", bound=BaseModel)
Planning = TypeVar("Planning", bound=PlanRequest)
Decoded = TypeVar("Decoded")


async def decode_item(request: AdmittedRequest, kind: type[Planning]) -> tuple[Observation, Planning]:
    """The observation of a request and its options, checked.

    Raises ServerError or ImageError with the contract's statuses.
    """
    received = request.received
    headers = received.headers
    quick = (
        len(received.body) <= QUICK_BYTES
        and headers.get("content-type", "").startswith(RAW)
        and len(headers.get(OPTIONS_HEADER, "")) <= QUICK_OPTIONS
    )
    return await decode(request, _read_item, received.body, headers, received.query, kind, quick=quick)


async def decode(request: AdmittedRequest, function: Callable[..., Decoded], *arguments: Any, quick: bool = False) -> Decoded:
    """Run `function(*arguments, limits)` as the decoding stage of a request: in the decoding threads, unless it is so quick
    that handing it over would cost more."""
    service = request.received.service
    started = time.monotonic()
    if quick:
        decoded = function(*arguments, service.limits)
    else:
        decoded = await service.decoders.decode(request.received.client, request.deadline, function, *arguments)
    seconds = time.monotonic() - started
    request.stages["decode"] = started, seconds
    service.metrics.seconds.labels("decode").observe(seconds)
    return decoded


def _read_item(
    body: bytes, headers: Mapping[str, str], query: Mapping[str, str], kind: type[Planning], limits: ImageLimits
) -> tuple[Observation, Planning]:
    """`headers` must look names up in any case."""
    observation, options = read_with_options(body, headers, query, kind, limits, clouds=True)
    check_observation(observation, options.region, options.point)
    return observation, options


def read_with_options(
    body: bytes,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    kind: type[Options],
    limits: ImageLimits,
    options_bytes: int = OPTIONS_BYTES,
    clouds: bool = False,
) -> tuple[Observation, Options]:
    """The observation of a body and its options, a model that has `depth_scale`; not yet checked. clouds: may be sent too."""
    content_type = headers.get("content-type", "")
    media_type = content_type.split(";")[0].strip().lower()
    if media_type == MULTIPART:
        _only_here(query, headers, query_allowed=False, header_allowed=False)
        parts = parts_of(body, content_type)
        options = parse_options(_text(parts.pop("request", None)), kind, most_bytes=options_bytes)
        if isinstance(options, PlanRequest) and clouds:
            return _several(parts, options, limits), options
        return observation_of(parts, _scale(options), limits, clouds), options
    if not body:
        raise ServerError(400, "empty_body", "the body is empty: send an image (see /docs for the three ways)")
    if media_type == RAW:
        _only_here(query, headers, query_allowed=False, header_allowed=True)
        options = parse_options(headers.get(OPTIONS_HEADER), kind)
        return Observation(depth=_raw_depth(body, headers, _scale(options), limits)), options
    _only_here(query, headers, query_allowed=True, header_allowed=False)
    options = parse_options(query.get("request"), kind)
    name, image = decode_image(body, content_type or None, _scale(options), limits)
    return (Observation(depth=image) if name == "depth" else Observation(rgb=image)), options


def parse_options(
    text: str | bytes | None, kind: type[Options], where: str = "request", most_bytes: int = OPTIONS_BYTES
) -> Options:
    """Options from JSON; all defaults when there is none. Raises ServerError 413, or 422 that names the wrong fields."""
    data = (text.encode() if isinstance(text, str) else text) or b"{}"
    if len(data) > most_bytes:
        raise json_too_large(len(data), most_bytes, where)
    # Cheaper than to parse it, and than to explain each of thousands of fields that are wrong.
    if data.count(b",") + data.count(b":") > most_bytes // BYTES_PER_MARK:
        raise ServerError(413, "json_too_large", f"{where}: more fields and items than all that there are can have")
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise invalid_fields(where, error, kind) from None


def observation_of(parts: Mapping[str, Part], depth_scale: float, limits: ImageLimits, clouds: bool = False) -> Observation:
    """The images of a multipart body, or its cloud. Raises ServerError 422 for parts that nobody reads, or ImageError."""
    known = (*IMAGE_PARTS, *(CLOUD_PARTS if clouds else ()))
    unknown = set(parts) - set(known)
    if unknown:
        names = ", ".join(repr(name[:40]) for name in sorted(unknown)[:5])
        raise ServerError(422, "unknown_part", f"unknown part {names}; expected {', '.join(known)} and request")
    depth, rgb, segmask, goal, points, around = (parts.get(name) for name in (*IMAGE_PARTS, *CLOUD_PARTS))
    if depth is None and rgb is None and points is None and around is None:
        raise ServerError(422, "no_image", "no image was sent: at least one of the parts `depth` and `rgb` is needed")
    return Observation(
        depth=None if depth is None else decode_part(depth, lambda data, kind: decode_depth(data, kind, depth_scale, limits)),
        rgb=None if rgb is None else decode_part(rgb, lambda data, kind: decode_rgb(data, kind, limits)),
        segmask=None if segmask is None else decode_part(segmask, lambda data, kind: decode_segmask(data, kind, limits)),
        goal=None if goal is None else decode_part(goal, lambda data, kind: decode_segmask(data, kind, limits, "goal")),
        points=None if points is None else decode_part(points, lambda data, kind: decode_points(data, kind, limits)),
        scene_points=None if around is None else decode_part(around, lambda data, kind: decode_points(data, kind, limits)),
    )


def decode_part(part: Part, decode: Callable[[bytes, str | None], Decoded]) -> Decoded:
    """An image part; a part sent as plain text (`curl -F depth=PATH`) is the usual slip."""
    plain = part.media_type is None or part.media_type.startswith("text/")
    if plain and len(part.data) < 4096 and part.data.isascii() and part.data.strip():
        raise ServerError(
            400,
            "undecodable_image",
            f"part `{part.name[:40]}` is text, not an image: with curl, write -F {part.name[:40]}=@FILE",
        )
    return decode(part.data, part.media_type)


def _several(parts: dict[str, Part], options: PlanRequest, limits: ImageLimits) -> Observation:
    """The observation of a form that may have several depth images, depth_0 and on."""
    others = [parts.pop(name) for name in VIEW_PARTS if name in parts]
    check_views(len(others), options.views)
    if not others or not options.views:
        return observation_of(parts, options.depth_scale, limits, clouds=True)
    if "depth" in parts:
        raise ServerError(422, "views_mismatch", "the part depth came beside depth_0, depth_1, ...: leave it out")
    first, *rest = others
    observation = observation_of({**parts, "depth": first}, options.depth_scale, limits)
    depths = [observation_of({"depth": part}, options.depth_scale, limits) for part in rest]
    for each in depths:
        check_observation(each)
    return replace(observation, views=views_of([each.depth for each in depths], options.views))


def _raw_depth(body: bytes, headers: Mapping[str, str], scale: float, limits: ImageLimits) -> np.ndarray:
    if "x-shape" not in headers and body[:6] in (b"\x89PNG\r\n", b"\x93NUMPY"):
        raise ServerError(
            415, "unsupported_media_type",
            "the body is a PNG or npy file: send it as image/png or application/x-npy; octet-stream is for raw depth",
        )  # fmt: skip
    return decode_raw_depth(body, headers.get("x-shape"), headers.get("x-dtype"), scale, limits)


def _scale(options: BaseModel) -> float:
    return getattr(options, "depth_scale", 0.001)


def _text(part: Part | None) -> bytes | None:
    return part.data if part else None


def _only_here(query: Mapping[str, str], headers: Mapping[str, str], *, query_allowed: bool, header_allowed: bool) -> None:
    """Options in the wrong place would be ignored in silence: refuse them."""
    where = "the part `request`" if not (query_allowed or header_allowed) else (
        "the query parameter `request`" if query_allowed else "the header X-Request"
    )  # fmt: skip
    if ("request" in query and not query_allowed) or (OPTIONS_HEADER in headers and not header_allowed):
        raise ServerError(422, "misplaced_options", f"with this Content-Type the options belong in {where}")
    unknown = set(query) - {"request"}
    if unknown:
        raise ServerError(
            422, "unknown_parameter", f"unknown query parameter {sorted(unknown)[0][:40]!r}; options go, as JSON, in {where}"
        )
