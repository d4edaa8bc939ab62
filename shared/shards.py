"""Outcomes on disk: shards that are written whole, never changed, and read through memory maps.

A shard is a folder `shard-<n>/`:
    outcomes.jsonl   one outcome per line: {"id", "meta", "at": {image name: byte offset in images.bin}}
    images.bin       raw little-endian pixels in C order, each distinct image once, 64-byte aligned
    index.json       {"v", "ids", "successes", "first_time", "last_time"}: what is in it, without parsing every line
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

from grasp_client.contract import Outcome, OutcomeMeta
from shared.durable import sync_folder, write_synced

PREFIX = "shard-"
UNFINISHED = ".unfinished-"
INDEX_VERSION = 1
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

    def write(self, outcomes: Sequence[Outcome]) -> Path:
        """Writes one shard and returns its folder once it is on the disk.

        Raises ValueError for no outcomes, for an id given twice and for images that are not what `meta.images` says.
        """
        ids = [outcome.id for outcome in outcomes]
        if not ids:
            raise ValueError("expected at least one outcome for a shard, got none")
        if len(set(ids)) < len(ids):
            raise ValueError(f"expected distinct outcome ids, got {len(ids) - len(set(ids))} repeated ones")
        folder = self.directory / f"{UNFINISHED}{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            _write_files(folder, outcomes)
            return self._publish(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

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


def _write_files(folder: Path, outcomes: Sequence[Outcome]) -> None:
    lines, offsets, position = [], {}, 0
    with open(folder / "images.bin", "wb") as images:
        for outcome in outcomes:
            at = {}
            for name, pixels in _checked_images(outcome).items():
                data = pixels.tobytes()
                key = hashlib.blake2b(data, digest_size=16).digest()
                if key not in offsets:
                    images.write(b"\0" * (-position % ALIGNMENT))
                    position += -position % ALIGNMENT
                    offsets[key] = position
                    images.write(data)
                    position += len(data)
                at[name] = offsets[key]
            lines.append(json.dumps({"id": outcome.id, "meta": outcome.meta.model_dump(mode="json"), "at": at}))
        images.flush()
        os.fsync(images.fileno())
    write_synced(folder / "outcomes.jsonl", ("\n".join(lines) + "\n").encode())
    times = [outcome.meta.time for outcome in outcomes]
    index = {
        "v": INDEX_VERSION,
        "ids": [outcome.id for outcome in outcomes],
        "successes": sum(outcome.meta.success for outcome in outcomes),
        "first_time": min(times),
        "last_time": max(times),
    }
    write_synced(folder / "index.json", json.dumps(index).encode())
    sync_folder(folder)


def _checked_images(outcome: Outcome) -> dict[str, np.ndarray]:
    specs = outcome.meta.images
    if set(specs) != set(outcome.images):
        raise ValueError(
            f"outcome {outcome.id}: meta describes the images {sorted(specs)}, but it carries {sorted(outcome.images)}"
        )
    for name, spec in specs.items():
        pixels = outcome.images[name]
        if list(pixels.shape) != list(spec.shape) or pixels.dtype != np.dtype(spec.dtype):
            raise ValueError(
                f"outcome {outcome.id}, image {name}: meta says {spec.dtype} {spec.shape}, "
                f"got {pixels.dtype} {list(pixels.shape)}"
            )
    return outcome.images


class ShardReader:
    """One finished shard. Images come as read-only views of the file: nothing is read before it is used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.index: dict[str, Any] = json.loads((folder / "index.json").read_bytes())
        except (OSError, ValueError) as error:
            raise ShardError(f"{folder}: cannot read index.json: {error}") from None
        if self.index.get("v") != INDEX_VERSION:
            raise ShardError(f"{folder}: index version {self.index.get('v')!r}, this program reads {INDEX_VERSION}")

    def ids(self) -> list[str]:
        return self.index["ids"]

    def __len__(self) -> int:
        return len(self.index["ids"])

    def __iter__(self) -> Iterator[Outcome]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Outcome:
        row = self.rows[i]
        meta = OutcomeMeta.model_validate(row["meta"])
        images = {name: self._image(meta, name, at) for name, at in row["at"].items()}
        return Outcome(id=row["id"], meta=meta, images=images)

    def image_offset(self, i: int, name: str) -> int:
        """Where the image lies in the file: equal for outcomes that share it."""
        return self.rows[i]["at"][name]

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The lines as they are stored, {id, meta, at}: plain JSON, cheaper than `Outcome` where no image is needed."""
        try:
            with open(self.folder / "outcomes.jsonl", encoding="utf-8") as file:
                rows = [json.loads(line) for line in file]
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

    def _image(self, meta: OutcomeMeta, name: str, at: int) -> np.ndarray:
        spec = meta.images[name]
        dtype = np.dtype(spec.dtype)
        end = at + int(np.prod(spec.shape)) * dtype.itemsize
        if end > len(self._bytes):
            raise ShardError(f"{self.folder}: images.bin ends at byte {len(self._bytes)}, an image needs {end}")
        return self._bytes[at:end].view(dtype).reshape(spec.shape)
