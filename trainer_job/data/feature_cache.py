"""What the network sees of each outcome, computed once per shard and kept on disk as memory-mappable arrays."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from shared.shards import ShardReader

log = logging.getLogger(__name__)

KIND = "kind"
"""Reason of outcomes of another kind of action."""
UNREADABLE = "unreadable"
"""Reason of outcomes whose image cannot be used."""


@dataclass(frozen=True)
class FeatureSpec:
    """Arrays of features: `name` is another one whenever they mean something else; aux: numbers beside each of them.

    Half precision keeps heights within 0.25 m to 0.1 mm.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float16"
    aux: int = 0


class FeatureExtractor(Protocol):
    """What the cache needs of a training task: see `TrainingTask`."""

    @property
    def outcome_kind(self) -> str: ...

    @property
    def image(self) -> str: ...

    @property
    def spec(self) -> FeatureSpec: ...

    def refusal(self, meta: Mapping[str, Any]) -> str | None: ...

    def features(self, outcomes: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]: ...


class CachedFeatures(NamedTuple):
    """Of one shard: features (N, ...), aux (N, F) float32, rows (N,) of the shard that they belong to, and how many others were
    refused for which reason."""

    features: np.ndarray
    aux: np.ndarray
    rows: np.ndarray
    refused: Counter[str]


class FeatureCache:
    """One folder per shard: features.npy, aux.npy, rows.npy. One whose shard has changed is computed again."""

    def __init__(self, directory: Path, task: FeatureExtractor) -> None:
        self.directory = directory / task.spec.name
        self.task = task
        self.directory.mkdir(parents=True, exist_ok=True)

    def load(self, shard: Path) -> CachedFeatures:
        """Features of a shard, memory-mapped; outcomes that this task cannot use have no row."""
        folder = self.directory / shard.name
        reader = ShardReader(shard)
        digest = hashlib.sha256("\n".join(reader.ids()).encode()).hexdigest()
        if (source := _source(folder)).get("ids") != digest:
            source = self._compute(reader, folder, digest)
        features = np.load(folder / "features.npy", mmap_mode="r")
        aux, rows = np.load(folder / "aux.npy"), np.load(folder / "rows.npy")
        return CachedFeatures(features, aux, rows, Counter(source["refused"]))

    def _compute(self, reader: ShardReader, folder: Path, digest: str) -> dict[str, Any]:
        mine = [kind == self.task.outcome_kind for kind in reader.kinds]
        refusals = [self.task.refusal(row["meta"]) if its else KIND for its, row in zip(mine, reader.rows, strict=True)]
        refused = Counter(reason for reason in refusals if reason)
        rows = np.array([row for row, reason in enumerate(refusals) if reason is None], np.int64)
        spec = self.task.spec
        features = np.zeros((len(rows), *spec.shape), spec.dtype)
        aux = np.zeros((len(rows), spec.aux), np.float32)
        usable = np.zeros(len(rows), bool)
        for members in _by_image(reader, rows, self.task.image):
            outcomes: list[Any] = [reader[int(row)] for row in rows[members]]
            try:
                features[members], aux[members] = self.task.features(outcomes)
                usable[members] = True
            except Exception as error:  # whatever is odd about one image must not end the trainer, now and at each start
                refused[UNREADABLE] += len(members)
                log.warning("outcomes without features", extra={"shard": reader.folder.name, "error": repr(error)})
        source = {"ids": digest, "refused": dict(refused)}
        self._write(folder, {"features": features[usable], "aux": aux[usable], "rows": rows[usable]}, source)
        return source

    def _write(self, folder: Path, arrays: dict[str, np.ndarray], source: dict[str, Any]) -> None:
        temporary = self.directory / f".{uuid.uuid4().hex}"
        temporary.mkdir()
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        (temporary / "source.json").write_text(json.dumps(source))
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(temporary, folder)


def _source(folder: Path) -> dict[str, Any]:
    """What was computed there, if anything."""
    try:
        source: dict[str, Any] = json.loads((folder / "source.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return source


def _by_image(reader: ShardReader, rows: np.ndarray, image: str) -> list[list[int]]:
    """Places in `rows` grouped by image, camera and gripper: one height map serves all attempts on an image."""
    groups: dict[tuple[int, str], list[int]] = {}
    for place, row in enumerate(rows):
        meta = reader.rows[row]["meta"]
        circumstances = json.dumps([meta["camera"], meta["camera_pose"], meta["gripper"], meta["images"][image]])
        key = (reader.image_offset(int(row), image), circumstances)
        groups.setdefault(key, []).append(place)
    return list(groups.values())
