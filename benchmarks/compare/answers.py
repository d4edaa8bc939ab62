"""Replies as plain values, and where two of them differ."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.compare.requests import LENGTH_HEADER

TOLERANCE = 1e-6
UNCOMPARED = frozenset({"request_id", "timings_ms"})
"""Fields that differ from run to run."""
PROSE = frozenset({"message", "detail"})
"""Fields for people to read: that they are there counts, not how they are worded."""
DTYPES = {"FP32": "<f4"}


@dataclass(frozen=True)
class Difference:
    """Where (a path of keys and indices), what there is instead of what, and by how much where both are numbers."""

    where: str
    base: Any
    now: Any
    amount: float = math.inf

    def __str__(self) -> str:
        return f"{self.where}: {_short(self.base)} became {_short(self.now)}"


@dataclass(frozen=True)
class Answer:
    """A reply. value: what it says as numbers, texts, lists and dicts; arrays and pictures as numpy arrays."""

    status: int
    value: Any

    def grasps(self) -> int | None:
        """How many grasps (or qualities) it gives, None for a dense map."""
        value = self.value
        if isinstance(value, np.ndarray):
            return len(value) if value.ndim == 2 and value.shape[1] == 5 else None
        if "replies" in value:
            return sum(len(each.get("grasps", ())) for each in value["replies"])
        found = value.get("grasps", value.get("quality"))
        return None if found is None else len(found)


def read(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """The reply of any endpoint that plans."""
    headers = httpx.Headers(headers)
    media_type = headers.get("content-type", "").split(";")[0]
    if media_type == "application/x-npy":
        return Answer(status, np.load(io.BytesIO(body)))
    if media_type == "image/png":
        return Answer(status, _pixels(body))
    length = int(headers.get(LENGTH_HEADER, len(body)))
    value = json.loads(body[:length])
    if "outputs" in value:
        value |= _tensors(value.pop("outputs"), body[length:])
    elif {"shape", "dtype", "data"} == set(value):
        value = np.frombuffer(bytes.fromhex(value["data"]), value["dtype"]).reshape(value["shape"])
    elif value.get("heatmap_png"):
        value["heatmap_png"] = _pixels(base64.b64decode(value["heatmap_png"]))
    return Answer(status, value)


def differences(base: Answer, now: Answer) -> list[Difference]:
    """Where the replies differ by more than `TOLERANCE`; what only the newer one says is no difference."""
    if base.status != now.status:
        return [Difference("status", base.status, now.status)]
    return [each for each in _differences("", base.value, now.value) if each.amount > TOLERANCE]


def largest(base: Answer, now: Answer) -> float:
    """The largest difference of two numbers that stand in the same place; inf where the replies are not of one form."""
    if base.status != now.status:
        return math.inf
    return max((each.amount for each in _differences("", base.value, now.value)), default=0.0)


def _differences(where: str, base: Any, now: Any) -> Iterator[Difference]:
    if isinstance(base, dict) and isinstance(now, dict):
        for name in base:
            if name in UNCOMPARED:
                continue
            if name not in now:
                yield Difference(f"{where}.{name}".lstrip("."), base[name], "nothing")
            elif name not in PROSE:
                # Warnings are sentences: how many there are is compared.
                pair = (len(base[name]), len(now[name])) if name == "warnings" else (base[name], now[name])
                yield from _differences(f"{where}.{name}".lstrip("."), *pair)
    elif isinstance(base, list) and isinstance(now, list):
        if len(base) != len(now):
            yield Difference(where, f"{len(base)} of them", f"{len(now)} of them")
        for number, (one, other) in enumerate(zip(base, now, strict=False)):
            yield from _differences(f"{where}[{number}]", one, other)
    elif isinstance(base, np.ndarray) and isinstance(now, np.ndarray):
        yield from _array_difference(where, base, now)
    elif _is_number(base) and _is_number(now):
        if base != now:
            yield Difference(where, base, now, abs(base - now))
    elif base != now:
        yield Difference(where, base, now)


def _array_difference(where: str, base: np.ndarray, now: np.ndarray) -> Iterator[Difference]:
    """The largest one, as a single difference."""
    if base.shape != now.shape:
        yield Difference(f"{where} shape".lstrip(), base.shape, now.shape)
        return
    apart = np.abs(base.astype(float) - now.astype(float))
    apart[np.isnan(base.astype(float)) & np.isnan(now.astype(float))] = 0
    if not base.size or not apart.max():
        return
    at = np.unravel_index(np.argmax(np.nan_to_num(apart, nan=math.inf)), base.shape)
    amount = float(apart[at])
    place = f"{where}[{', '.join(map(str, at))}]"
    yield Difference(place, base[at].item(), now[at].item(), math.inf if math.isnan(amount) else amount)


def _tensors(outputs: list[dict[str, Any]], rest: bytes) -> dict[str, np.ndarray]:
    """Output tensors of the Open Inference Protocol by name, from their numbers or from the bytes that follow the JSON."""
    arrays, start = {}, 0
    for each in outputs:
        size = each.get("parameters", {}).get("binary_data_size", 0)
        dtype = DTYPES[each["datatype"]]
        values = np.frombuffer(rest[start : start + size], dtype) if size else np.array(each.get("data", []), dtype)
        arrays[each["name"]], start = values.reshape(each["shape"]), start + size
    return arrays


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = f"{value:.9g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
