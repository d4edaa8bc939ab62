"""An outcome as bytes: encoded once where it is made, then carried, stored and compared without being looked into.

The fields of a stream entry are `v`, `id`, `kind`, `meta` (JSON) and one binary field per image. An entry without `kind` is a
grasp, as before there were kinds. What a kind's meta says is known to its model alone (`grasp_client.contract.OUTCOME_KINDS`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ValidationError

from grasp_client.contract import (
    OUTCOME_KINDS,
    SCHEMA_VERSION,
    GraspMeta,
    ImageSpec,
    Meta,
    Outcome,
    OutcomeMeta,
    first_problem,
    meta_model,
)
from grasp_client.imaging import metres_of

DEFAULT_KIND = GraspMeta.kind
DEPTH_UNIT = 1e-4
"""Metres per unit of a depth image that is sent and stored as uint16: up to 6.5 m, finer than any depth camera."""
RESERVED = frozenset({"v", "id", "kind", "meta"})
"""Fields of an entry that are no images."""
NO_MASKS: Mapping[str, np.ndarray] = MappingProxyType({})


class UnreadableOutcome(ValueError):
    """Bytes that are no outcome, and why."""


@dataclass(frozen=True)
class EncodedOutcome:
    """meta: JSON. images: little-endian pixels in C order, as `meta.images` describes them."""

    id: str
    kind: str
    meta: bytes
    images: dict[str, bytes]

    def fields(self) -> dict[str, bytes]:
        """The fields of a stream entry."""
        return {
            "v": SCHEMA_VERSION.encode(),
            "id": self.id.encode(),
            "kind": self.kind.encode(),
            "meta": self.meta,
            **self.images,
        }


def depth_in_units(depth: np.ndarray) -> np.ndarray:
    """Depth (H, W), m, as uint16 in DEPTH_UNIT; 0 where there is no reading or it is out of range."""
    units = np.rint(depth.astype(np.float64) / DEPTH_UNIT)
    return np.where(np.isfinite(units) & (units > 0) & (units <= 65535), units, 0).astype(np.uint16)


class StoredDepth(NamedTuple):
    """Depth (H, W) as it is sent and stored: pixels times scale are metres."""

    pixels: np.ndarray
    scale: float


def stored_depth(depth: np.ndarray) -> StoredDepth:
    """Depth (H, W), m, in DEPTH_UNIT where that reaches."""
    fine = float(np.where(np.isfinite(depth), depth, 0).max()) < 65535 * DEPTH_UNIT
    return StoredDepth(depth_in_units(depth), DEPTH_UNIT) if fine else StoredDepth(depth, 1.0)


def image_bytes(image: np.ndarray) -> bytes:
    """Pixels as they are sent and stored: little-endian, in C order."""
    return image.astype(image.dtype.newbyteorder("<"), copy=False).tobytes()


def depth_metres(outcome: Outcome[Meta]) -> np.ndarray:
    """Depth (H, W) of an outcome, float32 metres, 0 where there is no reading. Raises ImageError where that cannot be."""
    image, scale = outcome.images["depth"], float(outcome.meta.images["depth"].scale)
    return metres_of(image if image.dtype.kind == "u" else image * np.float32(scale), scale)


def build_outcome(
    model: type[Meta],
    outcome_id: str,
    depth: np.ndarray | StoredDepth | None,
    rgb: np.ndarray | None,
    fields: Mapping[str, Any],
    masks: Mapping[str, np.ndarray] = NO_MASKS,
) -> Outcome[Meta]:
    """An outcome of a kind: the images as they are stored, with their descriptions, and the meta made of `fields`.

    depth: m, or as it is stored already (of many outcomes on one view). masks: images (H, W) bool by name. Raises
    pydantic.ValidationError for fields that do not fit the kind.
    """
    images: dict[str, np.ndarray] = {}
    specs: dict[str, ImageSpec] = {}
    if depth is not None:
        images["depth"], scale = depth if isinstance(depth, StoredDepth) else stored_depth(depth)
        described = {"shape": list(images["depth"].shape), "dtype": images["depth"].dtype.name, "scale": scale}
        specs["depth"] = ImageSpec.model_validate(described)
    if rgb is not None:
        images["rgb"] = rgb
        specs["rgb"] = ImageSpec(shape=list(rgb.shape), dtype="uint8")
    for name, mask in masks.items():
        images[name] = mask.astype(np.uint8)
        specs[name] = ImageSpec(shape=list(mask.shape), dtype="uint8")
    return Outcome(id=outcome_id, meta=model.model_validate({**fields, "images": specs}), images=images)


def encode_outcomes(outcomes: Sequence[Outcome[Meta]]) -> list[EncodedOutcome]:
    """Each as `encode_outcome` does; an image that outcomes share is made bytes once, and they share these."""
    shared = dict[int, bytes]()
    return [encode_outcome(outcome, shared) for outcome in outcomes]


def encode_outcome(outcome: Outcome[Meta], shared: dict[int, bytes] | None = None) -> EncodedOutcome:
    """The outcome as bytes. shared: of images that are encoded already, by the id of their array.

    Raises ValueError for a kind that is not registered, and when images and `meta.images` do not agree.
    """
    specs = outcome.meta.images
    if OUTCOME_KINDS.get(outcome.meta.kind) is not type(outcome.meta):
        raise ValueError(f"outcome {outcome.id}: {type(outcome.meta).__name__} is no kind of outcome")
    if (set(outcome.images) != set(specs) and not is_replay(outcome)) or RESERVED & set(outcome.images):
        raise ValueError(f"outcome {outcome.id}: images {sorted(outcome.images)} do not match meta.images {sorted(specs)}")
    images = {}
    for name, image in outcome.images.items():
        spec = specs[name]
        if list(image.shape) != spec.shape or image.dtype != np.dtype(spec.dtype):
            raise ValueError(
                f"outcome {outcome.id}, image {name!r}: meta.images says {spec.dtype} {spec.shape}, "
                f"got {image.dtype} {list(image.shape)}"
            )
        known = shared.get(id(image)) if shared is not None else None
        images[name] = image_bytes(image) if known is None else known
        if shared is not None:
            shared[id(image)] = images[name]
    return EncodedOutcome(outcome.id, outcome.meta.kind, outcome.meta.model_dump_json().encode(), images)


def is_replay(outcome: Outcome[Meta]) -> bool:
    """Whether an outcome has what its images are rendered from in place of them."""
    return outcome.meta.replay is not None and not outcome.images


def decode_outcome(encoded: EncodedOutcome) -> Outcome[OutcomeMeta]:
    """The outcome, its images as views of the bytes. Raises UnreadableOutcome.

    Of a kind that is not registered only what all kinds share is checked; the rest comes as it is.
    """
    try:
        meta = meta_model(encoded.kind).model_validate_json(encoded.meta)
    except ValidationError as error:
        raise UnreadableOutcome(first_problem(error, "meta")) from error
    there = {} if meta.replay and not encoded.images else meta.images
    images = {name: image_of(encoded.images.get(name), name, spec) for name, spec in there.items()}
    try:
        return Outcome(id=encoded.id, meta=meta, images=images)
    except ValidationError as error:
        raise UnreadableOutcome(first_problem(error)) from error


def image_of(data: bytes | np.ndarray | None, name: str, spec: ImageSpec) -> np.ndarray:
    """A view of an image's bytes as `spec` says. Raises UnreadableOutcome when they are missing or do not fit."""
    if data is None:
        raise UnreadableOutcome(f"meta.images names {name!r}, but the outcome has no such image")
    if len(data) != spec.size_bytes:
        raise UnreadableOutcome(
            f"image {name!r} has {len(data)} bytes, shape {spec.shape} of {spec.dtype} needs {spec.size_bytes}"
        )
    return np.frombuffer(data, np.dtype(spec.dtype).newbyteorder("<")).reshape(spec.shape)


def read_entry(fields: Mapping[bytes, bytes]) -> tuple[EncodedOutcome, Outcome[OutcomeMeta]]:
    """An entry's outcome, as bytes and read. Raises UnreadableOutcome with the reason.

    The bytes are those of the entry, but for meta that leaves fields to their defaults (from another program than ours): that
    is written out, so that whoever reads what is stored finds every field.
    """
    version = fields.get(b"v", b"").decode(errors="replace")
    if version != SCHEMA_VERSION:
        raise UnreadableOutcome(f"schema version is {version or 'missing'}, this reader knows {SCHEMA_VERSION}")
    if missing := {b"id", b"meta"} - set(fields):
        raise UnreadableOutcome(f"missing fields: {', '.join(sorted(name.decode() for name in missing))}")
    try:
        text = {name.decode(): value for name, value in fields.items()}
        kind, outcome_id = text.get("kind", DEFAULT_KIND.encode()).decode(), text["id"].decode()
    except UnicodeDecodeError as error:
        raise UnreadableOutcome(f"a field's name, the id or the kind is no UTF-8: {error}") from error
    images = {name: value for name, value in text.items() if name not in RESERVED}
    return completed(EncodedOutcome(outcome_id, kind, text["meta"], images))


def completed(encoded: EncodedOutcome) -> tuple[EncodedOutcome, Outcome[OutcomeMeta]]:
    """An outcome with every field of its meta written out and no other image, as bytes and read. Raises UnreadableOutcome."""
    outcome = decode_outcome(encoded)
    meta = encoded.meta if _complete(outcome.meta) else outcome.meta.model_dump_json().encode()
    return replace(encoded, meta=meta, images={name: encoded.images[name] for name in outcome.images}), outcome


def _complete(model: BaseModel) -> bool:
    """Whether every field was given."""
    if not model.model_fields_set >= _fields(type(model)):
        return False
    return all(_complete(value) for value in vars(model).values() if isinstance(value, BaseModel))


@cache
def _fields(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(model.model_fields)
