"""An outcome as the fields of a stream entry."""

from __future__ import annotations

import numpy as np

from grasp_client.contract import SCHEMA_VERSION, Outcome, OutcomeMeta

_IMAGE_FIELDS_RESERVED = frozenset({"v", "id", "meta"})


def encode_outcome(outcome: Outcome) -> dict[str, bytes]:
    """Stream fields of an outcome. Raises ValueError when images and `meta.images` do not agree."""
    if set(outcome.images) != set(outcome.meta.images) or _IMAGE_FIELDS_RESERVED & set(outcome.images):
        raise ValueError(f"images {sorted(outcome.images)} do not match meta.images {sorted(outcome.meta.images)}")
    fields = {"v": SCHEMA_VERSION.encode(), "id": outcome.id.encode(), "meta": outcome.meta.model_dump_json().encode()}
    for name, image in outcome.images.items():
        spec = outcome.meta.images[name]
        if list(image.shape) != spec.shape or image.dtype != np.dtype(spec.dtype):
            raise ValueError(f"image {name!r} is {image.dtype} {list(image.shape)}, meta.images says {spec.dtype} {spec.shape}")
        fields[name] = np.ascontiguousarray(image).astype(np.dtype(spec.dtype).newbyteorder("<"), copy=False).tobytes()
    return fields


def decode_outcome(fields: dict[bytes, bytes]) -> Outcome:
    """The outcome of stream fields. Raises ValueError with the reason when they cannot be read."""
    version = fields.get(b"v", b"").decode(errors="replace")
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema version is {version or 'missing'}, this reader knows {SCHEMA_VERSION}")
    missing = {b"id", b"meta"} - set(fields)
    if missing:
        raise ValueError(f"missing fields: {', '.join(sorted(name.decode() for name in missing))}")
    meta = OutcomeMeta.model_validate_json(fields[b"meta"])
    images = {}
    for name, spec in meta.images.items():
        data = fields.get(name.encode())
        if data is None:
            raise ValueError(f"meta.images names {name!r}, but the entry has no such field")
        dtype = np.dtype(spec.dtype).newbyteorder("<")
        expected = int(np.prod(spec.shape)) * dtype.itemsize
        if len(data) != expected:
            raise ValueError(f"image {name!r} has {len(data)} bytes, shape {spec.shape} of {spec.dtype} needs {expected}")
        images[name] = np.frombuffer(data, dtype=dtype).reshape(spec.shape)
    return Outcome(id=fields[b"id"].decode(), meta=meta, images=images)
