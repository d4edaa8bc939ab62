"""Outcomes on disk: shards that are written whole, never changed, and read through memory maps.

A shard is a folder `shard-<n>/`:
    outcomes.jsonl   one outcome per line: {"id", "kind", "at": {image name: byte offset in images.bin}, "digests", "meta"}
    images.bin       raw little-endian pixels in C order, each distinct image once, 64-byte aligned
    index.json       {"v", "ids", "kinds", "digests", "numbers"}: what is in it, without parsing every line. numbers: ranges of
                     those that each worker gave its outcomes; "unnumbered": rows of outcomes without one (where missing: all)
Meta and images are the bytes that the outcome was encoded into where it was made. Version 1 knew no kinds: all are grasps.
It is written in a hidden folder, flushed to the disk and then renamed, so a reader never sees half a shard.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from grasp_client.contract import ImageSpec, Meta, Outcome, OutcomeMeta, meta_model
from shared.durable import sync_folder, unfinished_folder, write_synced
from shared.outcome_codec import DEFAULT_KIND, EncodedOutcome, image_of

PREFIX = "shard-"
UNFINISHED = ".unfinished-"
INDEX_VERSION = 2
READABLE_VERSIONS = (1, 2)
ALIGNMENT = 64
DAMAGED_KIND = "damaged"
"""Kind of a row that stands where a damaged one was, so that the others keep their places."""
_SPECS, _TEXTS = TypeAdapter(dict[str, ImageSpec]), TypeAdapter(list[str])
_RANGES, _ROWS = TypeAdapter(dict[str, list[tuple[int, int]]]), TypeAdapter(list[int])
Sender = tuple[str, int]
"""The worker that numbers an outcome, and the number."""


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
        if self.images.keys() != self.at.keys():
            raise ValueError(f"meta describes images {sorted(self.images)}, there are {sorted(self.at)}")
        return self


def shard_folders(directory: Path) -> list[Path]:
    """Finished shards in the order in which they were written."""
    if not directory.is_dir():
        return []
    found = (path for path in directory.iterdir() if path.name.startswith(PREFIX) and path.name[len(PREFIX) :].isdigit())
    return sorted(found, key=lambda path: shard_number(path.name))


def shard_number(name: str) -> int:
    """The number of a shard by its folder's name: a later shard has a larger one."""
    return int(name[len(PREFIX) :])


class ShardWriter:
    """Writes shards into `directory`; several processes may write into the same one. owner: tells them apart, if need be."""

    def __init__(self, directory: Path, owner: str = "") -> None:
        self.directory, self.owner = directory, f"{owner}-" if owner else ""
        directory.mkdir(parents=True, exist_ok=True)

    def write(self, outcomes: Sequence[EncodedOutcome], senders: Sequence[Sender | None] = ()) -> Path:
        """Writes one shard and returns its folder once it is on the disk. senders: who numbers each outcome, if anybody does.

        Raises ValueError for no outcomes and for an id given twice.
        """
        ids = [outcome.id for outcome in outcomes]
        if not ids:
            raise ValueError("expected at least one outcome for a shard, got none")
        if len(set(ids)) < len(ids):
            raise ValueError(f"expected distinct outcome ids, got {len(ids) - len(set(ids))} repeated ones")
        with unfinished_folder(self.directory / f"{UNFINISHED}{self.owner}{uuid.uuid4().hex}") as folder:
            _write_files(folder, outcomes, numbering(senders or [None] * len(outcomes)))
            return self._publish(folder)

    def _publish(self, folder: Path) -> Path:
        folders = shard_folders(self.directory)
        number = shard_number(folders[-1].name) + 1 if folders else 1
        while True:
            shard = self.directory / f"{PREFIX}{number:06d}"
            try:
                os.rename(folder, shard)  # refuses a folder that holds files: another writer was first
            except OSError:
                if not shard.exists():
                    raise
                number += 1
                continue
            sync_folder(self.directory)
            return shard

    def remove_unfinished(self) -> int:
        """Removes what a killed writer of this owner left behind; it must not write into the directory just now."""
        mine = re.compile(re.escape(f"{UNFINISHED}{self.owner}") + "[0-9a-f]{32}")
        leftovers = [path for path in self.directory.iterdir() if mine.fullmatch(path.name)]
        for path in leftovers:
            shutil.rmtree(path, ignore_errors=True)
        return len(leftovers)


def _write_files(folder: Path, outcomes: Sequence[EncodedOutcome], numbers: dict[str, Any]) -> None:
    lines, offsets, position = [], dict[str, int](), 0
    known = dict[int, str]()  # of the same bytes, which the outcomes of a scene share, the digest is made once
    with open(folder / "images.bin", "wb") as images:
        for outcome in outcomes:
            digests = {name: known.get(id(data)) or digest(data) for name, data in outcome.images.items()}
            known |= {id(data): digests[name] for name, data in outcome.images.items()}
            for name, data in outcome.images.items():
                if digests[name] not in offsets:
                    images.write(b"\0" * (-position % ALIGNMENT))
                    position += -position % ALIGNMENT
                    offsets[digests[name]] = position
                    images.write(data)
                    position += len(data)
            lines.append(_line(outcome, {name: offsets[key] for name, key in digests.items()}, digests))
        images.flush()
        os.fsync(images.fileno())
    write_rows(folder, [outcome.id for outcome in outcomes], [outcome.kind for outcome in outcomes], lines, numbers)


def numbering(senders: Sequence[Sender | None]) -> dict[str, Any]:
    """What an index says of who numbered its outcomes."""
    ranges = dict[str, list[list[int]]]()
    for worker, number in (sender for sender in senders if sender):
        mine = ranges.setdefault(worker, [])
        if mine and mine[-1][1] + 1 == number:
            mine[-1][1] = number
        else:
            mine.append([number, number])
    return {"numbers": ranges, "unnumbered": [row for row, sender in enumerate(senders) if not sender]}


def write_rows(folder: Path, ids: list[str], kinds: list[str], lines: list[bytes], numbers: dict[str, Any]) -> None:
    """Writes outcomes.jsonl and index.json of a shard whose images are there already. numbers: see `numbering`."""
    write_synced(folder / "outcomes.jsonl", b"".join(line + b"\n" for line in lines))
    index = {"v": INDEX_VERSION, "ids": ids, "kinds": kinds, "digests": [digest(line) for line in lines]} | numbers
    write_synced(folder / "index.json", json.dumps(index).encode())
    sync_folder(folder)


def _line(outcome: EncodedOutcome, at: dict[str, int], digests: dict[str, str]) -> bytes:
    head = json.dumps({"id": outcome.id, "kind": outcome.kind, "at": at, "digests": digests}).encode()
    # JSON has line breaks only between its tokens, where a space says the same.
    return head[:-1] + b', "meta": ' + b" ".join(outcome.meta.splitlines()) + b"}"


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
        except (OSError, ValueError, RecursionError) as error:
            raise ShardError(folder, f"cannot read index.json: {error}") from None
        odd = any(not 0 <= row < len(self._ids) for row in self.unnumbered)
        if odd or len(self.kinds) != len(self._ids) or len(self.digests) not in (0, len(self._ids)):
            counts = f"{len(self._ids)} outcomes, {len(self.kinds)} kinds, {len(self.digests)} digests"
            raise ShardError(folder, f"index.json names {counts}")
        self._intact: set[tuple[int, int]] = set()

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
            raise ShardError(self.folder, f"outcome {row.id} cannot be read: {error}") from error

    def image_offset(self, i: int, name: str) -> int:
        """Where the image lies in the file: equal for outcomes that share it."""
        return self.rows[i].at[name]

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
            text = (self.folder / "outcomes.jsonl").read_bytes()
            lines = text.splitlines()
            rows = [ShardRow.model_validate_json(line) for line in lines]
        except (OSError, ValueError) as error:
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


def digest(data: bytes) -> str:
    """What tells whether bytes are those that were written."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
