"""What the network sees of each outcome, computed once per shard and kept on disk as memory-mappable arrays."""

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
from pydantic import NonNegativeInt, TypeAdapter

from shared.durable import array_bytes, unfinished_folder
from shared.shards import DAMAGED_KIND, ShardReader
from trainer_job.data.replayed_views import NO_SIMULATOR, VIEWS, ReplayError, complete

log = logging.getLogger(__name__)

KIND = "kind"
"""Reason of outcomes of another kind of action."""
UNREADABLE = "unreadable"
"""Reason of outcomes whose image cannot be used."""
INVALID = "invalid"
"""Reason of outcomes that do not fit their kind."""
NOT_FINITE = "not_finite"
"""Reason of outcomes of which the network would see what is no number."""
UNFINISHED = ".unfinished-"
ARRAYS = ("features", "aux", "rows")
CACHE_FORMAT = "2"
"""Another one whenever features may be kept that would not have been before."""
_COUNTS = TypeAdapter(dict[str, NonNegativeInt])


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
        """Features of a shard, memory-mapped; outcomes that this task cannot use have no row, and nor has a shard that is gone.

        Raises ShardError for one that is damaged, and OSError where the disk is full.
        """
        spec = self.task.spec
        if not shard.exists():
            return CachedFeatures(np.zeros((0, *spec.shape)), np.zeros((0, spec.aux)), np.zeros(0, np.int64), Counter())
        folder = self.directory / shard.name
        reader = ShardReader(shard)
        digest = _digest(reader)
        cached = self._read(folder, digest, len(reader))
        if cached is None or (cached.refused[NO_SIMULATOR] and not VIEWS.missing):
            self._compute(reader, folder, digest)
            cached = self._read(folder, digest, len(reader))
        assert cached is not None  # it has just been written
        return cached

    def carry_over(self, shards: Sequence[ShardReader], kept: Sequence[Sequence[int]], new: ShardReader, name: str) -> None:
        """Features of a shard of this name that is written in place of others, of the rows that are kept, from theirs; nothing
        where those were not computed."""
        found = [self._read(self.directory / shard.folder.name, _digest(shard), len(shard)) for shard in shards]
        cached = [each for each in found if each is not None]
        if len(cached) < len(shards):
            return
        features, aux, rows, begin = [], [], [], 0
        for old, its in zip(cached, kept, strict=True):
            place = {row: k for k, row in enumerate(old.rows.tolist())}
            mine = [k for k, row in enumerate(its) if row in place]
            chosen = [place[its[k]] for k in mine]
            features.append(old.features[chosen])
            aux.append(old.aux[chosen])
            rows += [begin + k for k in mine]
            begin += len(its)
        usable = set(rows)
        refused = Counter(self._refusal(new, row) or UNREADABLE for row in range(len(new)) if row not in usable)
        arrays = np.concatenate(features), np.concatenate(aux), np.array(rows, np.int64)
        self._write(self.directory / name, arrays, {"ids": _digest(new), "refused": dict(refused)})

    def _read(self, folder: Path, digest: str, count: int) -> CachedFeatures | None:
        """What was computed of the shard with this digest and so many outcomes, if it is there and whole."""
        spec = self.task.spec
        try:
            source = json.loads((folder / "source.json").read_bytes())
            # Of npy files alone: `np.load` takes whatever begins as a zip file for one, with errors of its own.
            features, aux, rows = (np.lib.format.open_memmap(folder / f"{name}.npy", mode="r") for name in ARRAYS)
            found = CachedFeatures(features, np.array(aux), np.array(rows), Counter(_COUNTS.validate_python(source["refused"])))
            fits = source["ids"] == digest and features.shape == (len(rows), *spec.shape) and features.dtype == spec.dtype
            whole = aux.shape == (len(rows), spec.aux) and rows.dtype == np.int64 and set(rows.tolist()) <= set(range(count))
        except (OSError, ValueError, EOFError, KeyError, TypeError):
            return None
        return found if fits and whole else None

    def _refusal(self, reader: ShardReader, row: int) -> str | None:
        if (kind := reader.kinds[row]) != self.task.outcome_kind:
            return DAMAGED_KIND if kind == DAMAGED_KIND else KIND
        meta = reader.meta(row)
        return INVALID if meta is None else self.task.refusal(meta.model_dump(mode="json"))

    def _compute(self, reader: ShardReader, folder: Path, digest: str) -> None:
        refusals = [self._refusal(reader, row) for row in range(len(reader))]
        refused = Counter(reason for reason in refusals if reason)
        rows = np.array([row for row, reason in enumerate(refusals) if reason is None], np.int64)
        spec = self.task.spec
        features = np.zeros((len(rows), *spec.shape), spec.dtype)
        aux = np.zeros((len(rows), spec.aux), np.float32)
        usable = np.zeros(len(rows), bool)
        for members in _by_image(reader, rows, self.task.image):
            try:
                outcomes: list[Any] = complete([reader[int(row)] for row in rows[members]])
            except ReplayError as error:
                refused[error.reason] += len(members)
                log.warning("outcomes without images", extra={"shard": reader.folder.name, "error": str(error)})
                continue
            try:
                with np.errstate(all="ignore"):  # what is too large for half precision is not finite
                    features[members], aux[members] = self.task.features(outcomes)
            except Exception as error:  # whatever is odd about one image must not end the trainer, now and at each start
                refused[UNREADABLE] += len(members)
                log.warning("outcomes without features", extra={"shard": reader.folder.name, "error": repr(error)})
                continue
            finite = np.array([np.isfinite(features[member]).all() and np.isfinite(aux[member]).all() for member in members])
            usable[members] = finite
            if not finite.all():
                refused[NOT_FINITE] += int((~finite).sum())
        source = {"ids": digest, "refused": dict(refused)}
        self._write(folder, (features[usable], aux[usable], rows[usable]), source)

    def _write(self, folder: Path, arrays: Sequence[np.ndarray], source: dict[str, Any]) -> None:
        with unfinished_folder(self.directory / f"{UNFINISHED}{uuid.uuid4().hex}") as temporary:
            for name, array in zip(ARRAYS, arrays, strict=True):
                (temporary / f"{name}.npy").write_bytes(array_bytes(array))
            (temporary / "source.json").write_text(json.dumps(source))
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(temporary, folder)


def _digest(reader: ShardReader) -> str:
    return hashlib.sha256("\n".join([CACHE_FORMAT, *reader.ids()]).encode()).hexdigest()


def _by_image(reader: ShardReader, rows: np.ndarray, image: str) -> list[list[int]]:
    """Places in `rows` grouped by image, camera and gripper: one height map serves all attempts on an image."""
    groups: dict[tuple[int | str, str], list[int]] = {}
    for place, row in enumerate(rows):
        meta = reader.rows[row].meta
        circumstances = json.dumps([meta.get(name) for name in ("camera", "camera_pose", "gripper", "images", "replay")])
        key = (reader.image_key(int(row), image), circumstances)
        groups.setdefault(key, []).append(place)
    return list(groups.values())
