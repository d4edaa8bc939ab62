"""Outcomes on disk: shards that are written whole, never changed, and read through memory maps.

A shard is a folder `shard-<n>/`:
    outcomes.jsonl   one outcome per line: {"id", "kind", "at": {image name: byte offset in images.bin}, "meta"}
    images.bin       raw little-endian pixels in C order, each distinct image once, 64-byte aligned
    index.json       {"v", "ids", "kinds"}: what is in it, without parsing every line
Meta and images are the bytes that the outcome was encoded into where it was made. Version 1 knew no kinds: all are grasps.
It is written in a hidden folder, flushed to the disk and then renamed, so a reader never sees half a shard.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json

from grasp_client.contract import ImageSpec, Meta, Outcome, OutcomeMeta, meta_model
from shared.durable import sync_folder, unfinished_folder, write_synced
from shared.outcome_codec import DEFAULT_KIND, EncodedOutcome, image_of

PREFIX = "shard-"
UNFINISHED = ".unfinished-"
INDEX_VERSION = 2
READABLE_VERSIONS = (1, 2)
ALIGNMENT = 64


class ShardError(ValueError):
    """A shard whose files are missing or do not fit each other."""


def shard_folders(directory: Path) -> list[Path]:
    """Finished shards in the order in which they were written."""
    if not directory.is_dir():
        return []
    found = (path for path in directory.iterdir() if path.name.startswith(PREFIX) and path.name[len(PREFIX) :].isdigit())
    return sorted(found, key=lambda path: int(path.name[len(PREFIX) :]))


class ShardWriter:
    """Writes shards into `directory`; several processes may write into the same one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def write(self, outcomes: Sequence[EncodedOutcome]) -> Path:
        """Writes one shard and returns its folder once it is on the disk.

        Raises ValueError for no outcomes and for an id given twice.
        """
        ids = [outcome.id for outcome in outcomes]
        if not ids:
            raise ValueError("expected at least one outcome for a shard, got none")
        if len(set(ids)) < len(ids):
            raise ValueError(f"expected distinct outcome ids, got {len(ids) - len(set(ids))} repeated ones")
        with unfinished_folder(self.directory / f"{UNFINISHED}{uuid.uuid4().hex}") as folder:
            _write_files(folder, outcomes)
            return self._publish(folder)

    def _publish(self, folder: Path) -> Path:
        folders = shard_folders(self.directory)
        number = int(folders[-1].name[len(PREFIX) :]) + 1 if folders else 1
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
        """Removes what a killed writer left behind; only for a directory that nobody else writes into just now."""
        leftovers = [path for path in self.directory.iterdir() if path.name.startswith(UNFINISHED)]
        for path in leftovers:
            shutil.rmtree(path, ignore_errors=True)
        return len(leftovers)


def _write_files(folder: Path, outcomes: Sequence[EncodedOutcome]) -> None:
    lines, offsets, position = [], dict[bytes, int](), 0
    with open(folder / "images.bin", "wb") as images:
        for outcome in outcomes:
            at = {}
            for name, data in outcome.images.items():
                key = hashlib.blake2b(data, digest_size=16).digest()
                if key not in offsets:
                    images.write(b"\0" * (-position % ALIGNMENT))
                    position += -position % ALIGNMENT
                    offsets[key] = position
                    images.write(data)
                    position += len(data)
                at[name] = offsets[key]
            lines.append(_line(outcome, at))
        images.flush()
        os.fsync(images.fileno())
    write_synced(folder / "outcomes.jsonl", b"".join(lines))
    index = {
        "v": INDEX_VERSION,
        "ids": [outcome.id for outcome in outcomes],
        "kinds": [outcome.kind for outcome in outcomes],
    }
    write_synced(folder / "index.json", json.dumps(index).encode())
    sync_folder(folder)


def _line(outcome: EncodedOutcome, at: dict[str, int]) -> bytes:
    head = json.dumps({"id": outcome.id, "kind": outcome.kind, "at": at}).encode()
    # JSON has line breaks only between its tokens, where a space says the same.
    return head[:-1] + b', "meta": ' + b" ".join(outcome.meta.splitlines()) + b"}\n"


class ShardReader:
    """One finished shard. Images come as read-only views of the file: nothing is read before it is used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.index: dict[str, Any] = json.loads((folder / "index.json").read_bytes())
        except (OSError, ValueError) as error:
            raise ShardError(f"{folder}: cannot read index.json: {error}") from None
        if self.index.get("v") not in READABLE_VERSIONS:
            raise ShardError(f"{folder}: index version {self.index.get('v')!r}, this program reads {READABLE_VERSIONS}")
        self.kinds: list[str] = self.index.get("kinds") or [DEFAULT_KIND] * len(self)

    def ids(self) -> list[str]:
        return list(self.index["ids"])

    def __len__(self) -> int:
        return len(self.index["ids"])

    def __iter__(self) -> Iterator[Outcome[OutcomeMeta]]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Outcome[OutcomeMeta]:
        return self._read(i, meta_model(self.kinds[i]))

    def of_kind(self, model: type[Meta]) -> Iterator[tuple[int, Outcome[Meta]]]:
        """The outcomes of one kind, each with its row."""
        return ((i, self._read(i, model)) for i, kind in enumerate(self.kinds) if kind == model.kind)

    def _read(self, i: int, model: type[Meta]) -> Outcome[Meta]:
        row = self.rows[i]
        try:
            meta = model.model_validate(row["meta"])
            images = {name: self._image(name, meta.images[name], at) for name, at in row["at"].items()}
        except ValueError as error:
            raise ShardError(f"{self.folder}: outcome {row['id']} cannot be read: {error}") from error
        return Outcome(id=row["id"], meta=meta, images=images)

    def image_offset(self, i: int, name: str) -> int:
        """Where the image lies in the file: equal for outcomes that share it."""
        return int(self.rows[i]["at"][name])

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The lines as they are stored, {id, meta, at}: plain JSON, cheaper than `Outcome` where no image is needed."""
        try:
            with open(self.folder / "outcomes.jsonl", "rb") as file:
                rows = [from_json(line) for line in file]
        except (OSError, ValueError) as error:
            raise ShardError(f"{self.folder}: cannot read outcomes.jsonl: {error}") from None
        if [row["id"] for row in rows] != self.ids():
            raise ShardError(f"{self.folder}: outcomes.jsonl and index.json list different outcomes")
        return rows

    @cached_property
    def _bytes(self) -> np.ndarray:
        path = self.folder / "images.bin"
        if not path.exists() or path.stat().st_size == 0:  # an empty file cannot be mapped
            return np.zeros(0, np.uint8)
        return np.memmap(path, np.uint8, mode="r")

    def _image(self, name: str, spec: ImageSpec, at: int) -> np.ndarray:
        return image_of(self._bytes[at : at + spec.size_bytes], name, spec)
