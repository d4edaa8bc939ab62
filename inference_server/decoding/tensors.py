"""Tensors of the Open Inference Protocol v2: JSON with numbers, or JSON followed by raw bytes."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.imaging import ImageLimits, metres_of
from grasp_client.observation import Observation
from inference_server.decoding.json_limits import JSON_BYTES, PIECE_BYTES, json_too_large
from inference_server.decoding.observations import OPTIONS_BYTES, parse_options
from inference_server.errors import ServerError, invalid_fields

LENGTH_HEADER = "inference-header-content-length"
DTYPES = {"BOOL": np.dtype(bool), "UINT8": np.dtype("u1"), "UINT16": np.dtype("<u2"), "FP32": np.dtype("<f4")}
INPUTS: tuple[dict[str, Any], ...] = (
    {"name": "depth", "datatype": "FP32", "shape": [-1, -1]},
    {"name": "rgb", "datatype": "UINT8", "shape": [-1, -1, 3]},
    {"name": "segmask", "datatype": "UINT8", "shape": [-1, -1]},
    {"name": "goal", "datatype": "UINT8", "shape": [-1, -1]},
)
OUTPUTS: tuple[dict[str, Any], ...] = (
    {"name": "quality", "datatype": "FP32", "shape": [-1]},
    {"name": "center_px", "datatype": "FP32", "shape": [-1, 2]},
    {"name": "angle", "datatype": "FP32", "shape": [-1]},
    {"name": "width", "datatype": "FP32", "shape": [-1]},
    {"name": "pose_camera", "datatype": "FP32", "shape": [-1, 4, 4]},
)
_IMAGE_TYPES = {"depth": ("UINT16", "FP32"), "rgb": ("UINT8",), "segmask": ("UINT8", "BOOL"), "goal": ("UINT8", "BOOL")}


class _Protocol(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class InferInput(_Protocol):
    """`data`: flat or nested numbers; without it `parameters.binary_data_size` bytes follow the JSON.

    Within the server `data` counts which of the body's arrays of numbers it was: they are read apart from the JSON.
    """

    name: Literal["depth", "rgb", "segmask", "goal"]
    shape: list[int] = Field(min_length=2, max_length=4)
    datatype: Literal["BOOL", "UINT8", "UINT16", "FP32"]
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: Annotated[Any, WithJsonSchema({"type": "array", "items": {}})] = None


class InferOutput(_Protocol):
    """An output that is asked for; `parameters.binary_data` true: as raw bytes."""

    name: Literal["quality", "center_px", "angle", "width", "pose_camera"]
    parameters: dict[str, Any] = Field(default_factory=dict)


class InferRequest(_Protocol):
    """`parameters.request`: the options of /predict_grasp as a JSON string."""

    id: str | None = Field(None, max_length=128)
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: list[InferInput] = Field(min_length=1, max_length=4)
    outputs: list[InferOutput] = Field(default_factory=list, max_length=16)


class OutputTensor(_Protocol):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, int] = Field(default_factory=dict)
    data: list[float] | None = None


class InferReply(_Protocol):
    """`model_version` is empty for a planner without a model."""

    model_name: str
    model_version: str = ""
    id: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    outputs: list[OutputTensor]


def read(body: bytes, length: str | None, limits: ImageLimits) -> tuple[InferRequest, dict[str, np.ndarray]]:
    """The request and its tensors by name. Raises ServerError 400, 413 or 422."""
    size = len(body) if length is None else int(length) if length.isdigit() and len(length) < 12 else -1
    if not 0 <= size <= len(body):
        raise ServerError(422, "invalid_field", f"header {LENGTH_HEADER}: expected the bytes of the JSON, 0 to {len(body)}")
    if size > JSON_BYTES:
        raise json_too_large(size, JSON_BYTES, "JSON with numbers")
    document, lists = _without_numbers(body[:size])
    if len(document) > OPTIONS_BYTES:
        raise json_too_large(len(document), OPTIONS_BYTES, "JSON without its numbers")
    try:
        asked = InferRequest.model_validate_json(document)
    except ValidationError as error:
        raise invalid_fields("body", error, InferRequest) from None
    arrays: dict[str, np.ndarray] = {}
    rest = memoryview(body)[size:]
    for each in asked.inputs:
        if each.name in arrays:
            raise ServerError(422, "repeated_input", f"input {each.name!r} was sent twice")
        array, used = _array(each, body, lists, rest, limits)
        arrays[each.name], rest = array, rest[used:]
    if len(rest):
        raise ServerError(422, "wrong_shape", f"{len(rest)} bytes follow the last binary tensor")
    return asked, arrays


def _array(
    each: InferInput, body: bytes, lists: list[tuple[int, int]], rest: memoryview, limits: ImageLimits
) -> tuple[np.ndarray, int]:
    """One tensor, of numbers in the body or of the bytes behind it, and how many of these it took."""
    shape = each.shape[1:] if len(each.shape) > (3 if each.name == "rgb" else 2) and each.shape[0] == 1 else each.shape
    if len(shape) != (3 if each.name == "rgb" else 2) or (each.name == "rgb" and shape[2] != 3) or min(shape) < 0:
        raise ServerError(422, "wrong_shape", f"input {each.name}: expected {_expected(each.name)}, got shape {each.shape[:8]}")
    if each.datatype not in _IMAGE_TYPES[each.name]:
        raise ServerError(422, "wrong_dtype", f"input {each.name}: expected {_expected(each.name)}, got {each.datatype}")
    limits.check_pixels(shape[0], shape[1])
    dtype, count = DTYPES[each.datatype], int(np.prod(shape))
    if each.data is None:
        size = each.parameters.get("binary_data_size")
        if size != count * dtype.itemsize or size > len(rest):
            raise ServerError(
                422, "wrong_shape",
                f"input {each.name}: shape {shape} of {each.datatype} needs {count * dtype.itemsize} bytes, "
                f"binary_data_size says {str(size)[:20]}, and {len(rest)} bytes are left",
            )  # fmt: skip
        return np.frombuffer(rest[:size], dtype).reshape(shape), size
    if not (isinstance(each.data, int) and 0 <= each.data < len(lists)):
        raise ServerError(422, "invalid_field", f"input {each.name}: data: expected {count} numbers for shape {shape}")
    array = _numbers(body, *lists[each.data], each.name)
    if array.size != count:
        raise ServerError(422, "wrong_shape", f"input {each.name}: shape {shape} needs {count} numbers, data has {array.size}")
    with np.errstate(all="ignore"):
        return array.reshape(shape).astype(dtype), 0


def _without_numbers(body: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """The JSON with the lists of each `data` counted instead, and where in the body these lists begin and end.

    A JSON parser would build an object for every number and every bracket. Raises ServerError 422.
    """
    document: list[bytes] = []
    lists: list[tuple[int, int]] = []
    end, key = 0, body.find(b'"data"')
    while key >= 0:
        start, stop = _list_behind(body, key + 6)
        if stop:
            if len(lists) == len(_IMAGE_TYPES):
                raise ServerError(422, "invalid_field", f"body: expected `data` of at most {len(lists)} inputs")
            document += [body[end:start], b"%d" % len(lists)]
            lists.append((start, stop))
            end = stop
        key = body.find(b'"data"', max(key + 6, stop))
    return b"".join((*document, body[end:])), lists


def _list_behind(body: bytes, place: int) -> tuple[int, int]:
    """Where the list begins and ends that is the value of the key which ends here; (0, 0) where that is no list."""
    after = body[place : place + 40].lstrip()
    if after[:1] != b":" or after[1:].lstrip()[:1] != b"[":
        return 0, 0
    start = body.index(b"[", place)
    # Neither a quote nor a brace is in a list of numbers, so the list's last bracket is the last before them.
    ends = [found for found in (body.find(b'"', start), body.find(b"}", start)) if found >= 0]
    stop = body.rfind(b"]", start, min(ends, default=len(body))) + 1
    return (start, stop) if stop else (0, 0)


def _numbers(body: bytes, start: int, end: int, name: str) -> np.ndarray:
    """(N,) float64 of the nested lists of numbers that are in a body as JSON. Raises ServerError 422 for anything else in them,
    as soon as it comes to it."""
    pieces: list[np.ndarray] = []
    while start < end:
        stop = body.find(b",", start + PIECE_BYTES, min(end, start + 2 * PIECE_BYTES))
        if stop < 0:
            stop = end
        if stop - start > 2 * PIECE_BYTES:
            raise ServerError(
                422, "invalid_field", f"input {name}: data: expected numbers, got {PIECE_BYTES} bytes without one"
            )
        piece = body[start:stop].replace(b"true", b"1").replace(b"false", b"0").translate(None, b"[] \t\r\n")
        if piece.translate(None, b"0123456789+-.eE,"):
            raise ServerError(422, "invalid_field", f"input {name}: data: expected nothing but numbers in its lists")
        try:
            pieces.append(np.array(piece.split(b","), "S").astype(np.float64) if piece or pieces or stop < end else np.zeros(0))
        except ValueError as error:
            raise ServerError(422, "invalid_field", f"input {name}: data: {str(error)[:80]}") from None
        start = stop + 1
    return np.concatenate(pieces)


def _expected(name: str) -> str:
    return f"{' or '.join(_IMAGE_TYPES[name])} of shape {'[H, W, 3]' if name == 'rgb' else '[H, W]'}"


def options(asked: InferRequest, fixed: dict[str, Any]) -> PlanRequest:
    """Options from `parameters.request`; the address decides planner and version. Raises ServerError 422."""
    text = asked.parameters.get("request", "{}")
    if isinstance(text, str):
        sent = parse_options(text, PlanRequest, "parameters.request")
    else:
        try:
            sent = PlanRequest.model_validate(text)
        except ValidationError as error:
            raise invalid_fields("parameters.request", error, PlanRequest) from None
    return sent.model_copy(update=fixed)


def observation(arrays: dict[str, np.ndarray], depth_scale: float) -> Observation:
    """Images as planners take them. Raises ServerError 422 when there is none."""
    if not {"depth", "rgb"} & set(arrays):
        raise ServerError(422, "no_image", "expected at least one of the inputs depth and rgb")
    depth, segmask, goal = arrays.get("depth"), arrays.get("segmask"), arrays.get("goal")
    return Observation(
        depth=None if depth is None else metres_of(depth, depth_scale),
        rgb=arrays.get("rgb"),
        segmask=None if segmask is None else segmask != 0,
        goal=None if goal is None else goal != 0,
    )


def reply(asked: InferRequest, plan: GraspPlan, name: str) -> tuple[bytes, int | None]:
    """Body of the reply, and the length of its JSON when tensors follow it."""
    wanted = {each.name: bool(each.parameters.get("binary_data")) for each in asked.outputs}
    everything = bool(asked.parameters.get("binary_data_output"))
    arrays = _outputs(plan)
    names = list(wanted) or [spec["name"] for spec in OUTPUTS if spec["name"] in arrays]
    outputs, raw = [], []
    for each in names:
        array = arrays.get(each, np.zeros((0, 4, 4), "<f4"))  # poses need a camera: without one there are none
        output = OutputTensor(name=each, shape=list(array.shape), datatype="FP32")
        if wanted.get(each, False) or everything:
            raw.append(array.tobytes())
            output.parameters = {"binary_data_size": array.nbytes}
        else:
            output.data = array.reshape(-1).tolist()
        outputs.append(output)
    parameters = {"rejections": plan.rejections, "timings_ms": plan.timings_ms, "request_id": plan.request_id}
    version = str(plan.model.version) if plan.model else ""
    answer = InferReply(
        model_name=name, model_version=version, id=asked.id or plan.request_id, parameters=parameters, outputs=outputs
    )
    head = answer.model_dump_json(exclude_none=True).encode()
    return head + b"".join(raw), len(head) if raw else None


def _outputs(plan: GraspPlan) -> dict[str, np.ndarray]:
    grasps = plan.grasps
    arrays = {
        "quality": np.array([grasp.quality for grasp in grasps], "<f4"),
        "center_px": np.array([grasp.center_px for grasp in grasps], "<f4").reshape(-1, 2),
        "angle": np.array([grasp.angle for grasp in grasps], "<f4"),
        "width": np.array([np.nan if grasp.width is None else grasp.width for grasp in grasps], "<f4"),
    }
    poses = [grasp.pose_camera for grasp in grasps if grasp.pose_camera is not None]
    if len(poses) == len(grasps):
        arrays["pose_camera"] = np.array(poses, "<f4").reshape(-1, 4, 4)
    return arrays
