"""Reads shards: through memory maps, with every byte checked against what was written."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError, model_validator

from grasp_client.contract import ImageSpec, Meta, Outcome, OutcomeMeta, first_problem, meta_model
from shared.outcome_codec import DEFAULT_KIND, EncodedOutcome, image_of
from shared.shards.names import shard_number

READABLE_VERSIONS = (1, 2)
LINES = "outcomes.jsonl"
DAMAGED_KIND = "damaged"
"""Kind of a row that stands where a damaged one was, so that the others keep their places."""
_SPECS, _TEXTS = TypeAdapter(dict[str, ImageSpec]), TypeAdapter(list[str])
_RANGES, _ROWS = TypeAdapter(dict[str, list[tuple[int, int]]]), TypeAdapter(list[int])
_COUNT: TypeAdapter[int] = TypeAdapter(NonNegativeInt)
_RUNS = TypeAdapter(list[tuple[NonNegativeInt, NonNegativeInt]])


class ShardError(ValueError):
    """A shard whose files are missing, damaged or do not fit each other."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"{folder}: {reason}")
        self.folder, self.reason = folder, reason


class ShardRow(BaseModel):
    """A line of outcomes.jsonl. at: byte offset of each image; digests: of their bytes (unknown in shards of before)."""

    model_config = ConfigDict(extra="ignore")

    id: str
    kind: str = DEFAULT_KIND
    at: dict[str, Annotated[int, Field(ge=0)]]
    digests: dict[str, str] = Field(default_factory=dict)
    meta: dict[str, Any]

    @cached_property
    def images(self) -> dict[str, ImageSpec]:
        """How to read each image."""
        return _SPECS.validate_python(self.meta.get("images", {}))

    @model_validator(mode="after")
    def _images_are_described(self) -> ShardRow:
        replayed = bool(self.meta.get("replay")) and not self.at
        if self.images.keys() != self.at.keys() and not replayed:
            raise ValueError(f"meta describes images {sorted(self.images)}, there are {sorted(self.at)}")
        return self


class ShardReader:
    """One finished shard. Images come as read-only views of the file: nothing is read before it is used.

    Raises ShardError, here and when rows or images are read, where the files are missing, damaged or do not fit each other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            index = json.loads((folder / "index.json").read_bytes())
            if not isinstance(index, dict) or index.get("v") not in READABLE_VERSIONS:
                version = index.get("v") if isinstance(index, dict) else index
                raise ShardError(folder, f"index version {version!r:.50}, this program reads {READABLE_VERSIONS}")
            self._ids = _TEXTS.validate_python(index.get("ids"))
            self.kinds = _TEXTS.validate_python(index.get("kinds", [DEFAULT_KIND] * len(self._ids)))
            self.digests = _TEXTS.validate_python(index.get("digests", []))
            self.numbers = _RANGES.validate_python(index.get("numbers", {}))
            self.unnumbered = _ROWS.validate_python(index.get("unnumbered", list(range(len(self._ids)))))
            self.removed = _COUNT.validate_python(index.get("removed", 0))
            self.origins = _RUNS.validate_python(index.get("origins", []))
        except (OSError, ValueError, RecursionError) as error:
            raise ShardError(folder, f"cannot read index.json: {error}") from None
        odd = any(not 0 <= row < len(self._ids) for row in self.unnumbered)
        odd |= bool(self.origins) and sum(count for _, count in self.origins) != len(self._ids)
        if odd or len(self.kinds) != len(self._ids) or len(self.digests) not in (0, len(self._ids)):
            counts = f"{len(self._ids)} outcomes, {len(self.kinds)} kinds, {len(self.digests)} digests"
            raise ShardError(folder, f"index.json names {counts}")
        self._intact: set[tuple[int, int]] = set()
        self._shared: dict[tuple[int, int], bytes] = {}

    def ids(self) -> list[str]:
        return list(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Outcome[OutcomeMeta]]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Outcome[OutcomeMeta]:
        return self._read(i, meta_model(self.kinds[i]))

    def of_kind(self, model: type[Meta]) -> Iterator[tuple[int, Outcome[Meta]]]:
        """The outcomes of one kind that fit it, each with its row."""
        return ((i, self._read(i, model)) for i, kind in enumerate(self.kinds) if kind == model.kind and self.meta(i))

    @cached_property
    def numbers_of_rows(self) -> list[int]:
        """Of each row the number of the shard that it was first written in."""
        runs = self.origins or [(shard_number(self.folder.name), len(self))]
        return [number for number, count in runs for _ in range(count)]

    def encoded(self, i: int) -> EncodedOutcome:
        """An outcome as it was encoded; of outcomes that share an image the bytes are the same object."""
        row = self.rows[i]
        images = dict[str, bytes]()
        for name, at in row.at.items():
            key = at, row.images[name].size_bytes
            if key not in self._shared:
                self._shared[key] = self.image(i, name).tobytes()
            images[name] = self._shared[key]
        return EncodedOutcome(row.id, row.kind, json.dumps(row.meta).encode(), images)

    def meta(self, i: int) -> OutcomeMeta | None:
        """What an outcome tells of itself; None where that does not fit its kind: limits may have become tighter since."""
        try:
            return meta_model(self.kinds[i]).model_validate(self.rows[i].meta)
        except ValidationError:
            return None

    def _read(self, i: int, model: type[Meta]) -> Outcome[Meta]:
        row = self.rows[i]
        try:
            meta = model.model_validate(row.meta)
            images = {name: self.image(i, name) for name in row.at}
            return Outcome(id=row.id, meta=meta, images=images)
        except ValidationError as error:
            raise ShardError(self.folder, f"outcome {row.id} cannot be read: {first_problem(error)}") from error

    def image_key(self, i: int, name: str) -> int | str:
        """Equal for outcomes that share an image: where it lies in the file, or the checksum of one that is rendered again."""
        row = self.rows[i]
        return row.at[name] if row.at else str(row.meta["replay"]["checksums"][name])

    def image(self, i: int, name: str) -> np.ndarray:
        """An image of an outcome, checked against its digest when it is first read."""
        row = self.rows[i]
        spec, at = row.images[name], row.at[name]
        data = self._bytes[at : at + spec.size_bytes]
        try:
            image = image_of(data, name, spec)
        except ValueError as error:
            raise ShardError(self.folder, f"outcome {row.id} cannot be read: {error}") from error
        if name in row.digests and (at, spec.size_bytes) not in self._intact:
            if row.digests[name] != digest(data.tobytes()):
                raise ShardError(self.folder, f"image {name!r} of outcome {row.id} is not what was written")
            self._intact.add((at, spec.size_bytes))
        return image

    @cached_property
    def rows(self) -> list[ShardRow]:
        """The lines as they are stored: cheaper than `Outcome` where no image is needed."""
        try:
            lines = b"".join(text_of(self.folder)).splitlines()
            rows = [ShardRow.model_validate_json(line) for line in lines]
        except (OSError, ValueError, zlib.error) as error:
            raise ShardError(self.folder, f"cannot read outcomes.jsonl: {error}") from None
        if [row.id for row in rows] != self._ids or [row.kind for row in rows] != self.kinds:
            raise ShardError(self.folder, "outcomes.jsonl and index.json list different outcomes")
        if self.digests and (changed := [i for i, line in enumerate(lines) if digest(line) != self.digests[i]]):
            raise ShardError(self.folder, f"line {changed[0] + 1} of outcomes.jsonl is not what was written")
        return rows

    def check(self) -> None:
        """Raises ShardError where rows or the extents of images are damaged; what images show is not looked at."""
        size = len(self._bytes)
        for row in self.rows:
            if any(at + row.images[name].size_bytes > size for name, at in row.at.items()):
                raise ShardError(self.folder, f"images.bin has {size} bytes, images of outcome {row.id} lie beyond")

    @cached_property
    def _bytes(self) -> np.ndarray:
        path = self.folder / "images.bin"
        try:
            if not path.exists() or path.stat().st_size == 0:  # an empty file cannot be mapped
                return np.zeros(0, np.uint8)
            return np.memmap(path, np.uint8, mode="r")
        except OSError as error:
            raise ShardError(self.folder, f"cannot read images.bin: {error}") from None


def text_of(folder: Path) -> Iterator[bytes]:
    """Pieces of a shard's outcomes.jsonl, which may be compressed. Raises OSError, ValueError or zlib.error at what is damaged,
    after the pieces before it."""
    packed = folder / f"{LINES}.gz"
    if not packed.exists():
        yield (folder / LINES).read_bytes()
        return
    inflater = zlib.decompressobj(wbits=31)  # of gzip
    data = packed.read_bytes()
    for at in range(0, len(data), 4096):
        yield inflater.decompress(data[at : at + 4096])
    if not inflater.eof:
        raise ValueError(f"{packed.name} is cut off")


def digest(data: bytes) -> str:
    """What tells whether bytes are those that were written."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
