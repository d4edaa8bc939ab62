"""What is kept: small shards become one, and where the disk shall hold no more, the oldest ordinary outcomes go first.

Every step writes one shard in place of others (`shared.shards.rewrite`), so that a kill loses nothing that is kept.
"""

import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from shared.shards import ShardReader, finish_removals, rewrite, shard_folders, shard_number
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import IndexEntry, OutcomeIndex

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
SETTLED_SECONDS = 60.0
"""Nobody writes beside a shard of this age any more, nor has a reader just found it."""
COMPACTED = 32
"""So many small shards become one."""
MOST_BYTES = 64 * 2**20
MOST_OUTCOMES = 4096
"""Of the shards that become one, together."""
SPARE = 0.05
"""Share of what may be kept that goes besides, so that not every new outcome makes one go."""
PROMISED = 0.7
"""A grasp that was promised to succeed at least so likely, and failed, is a hard one."""
ORDINARY, HARD, ROBOTS = range(3)
"""What goes first, and what last."""


class Retention:
    """Keeps the shards of `dataset`, and what is computed of them in `features`, few and within `keep_bytes`.

    Used by the thread that reads the dataset. decided_after: number of the newest shard whose outcomes decide nothing now.
    """

    def __init__(
        self,
        dataset: OutcomeIndex,
        cache: FeatureCache,
        features: Path,
        keep_bytes: float | None,
        decided_after: Callable[[], float] = lambda: float("inf"),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.dataset, self.cache, self.features = dataset, cache, features
        self.keep_bytes, self.decided_after, self.clock = keep_bytes, decided_after, clock
        self.bytes = 0
        self._sizes: dict[str, tuple[int, int]] = {}
        self._rows: dict[str, int] = {}
        self._looked = float("-inf")
        finish_removals(dataset.directory)
        there = {folder.name for folder in shard_folders(dataset.directory)}
        for folder in features.glob("*/shard-*"):
            if folder.name not in there:
                shutil.rmtree(folder, ignore_errors=True)

    def turn(self) -> Path | None:
        """At most one step; the shard that it wrote. Raises OSError where the disk refuses, ShardError at a damaged shard."""
        now = self.clock()
        if now - self._looked < LOOK_SECONDS:
            return None
        self._looked = now
        folders = [folder for folder in shard_folders(self.dataset.directory) if folder.name in self.dataset.shards]
        self._measure(folders)
        settled = [folder for folder in folders[:-1] if folder.stat().st_mtime < now - SETTLED_SECONDS]
        run, least, going = self._excess(settled) or (self._small(settled), ORDINARY, 0)
        if not run:
            return None
        self._looked = float("-inf")  # there may be more to do
        return self._rewrite(run, least, going)

    def _excess(self, settled: Sequence[Path]) -> tuple[list[Path], int, int] | None:
        """Where more is kept than may be: shards to write anew, without so many of their outcomes below a class."""
        if self.keep_bytes is None or self.bytes <= self.keep_bytes:
            return None
        wanted, until = self.bytes - (1 - SPARE) * self.keep_bytes, self.decided_after()
        may_go = [folder for folder in settled if shard_number(folder.name) <= until]
        for least in (HARD, ROBOTS, ROBOTS + 1):
            run, going, freed, left = list[Path](), 0, 0.0, 0.0
            for folder in may_go:
                classes = self._classes(folder)
                below, size = sum(each < least for each in classes), sum(self._sizes[folder.name])
                if not below and not freed:
                    run = [] if classes else [folder]  # what is empty joins what follows
                    continue
                each = size / max(len(classes), 1)
                if run and (left + size - below * each > MOST_BYTES or len(run) >= COMPACTED):
                    break
                run.append(folder)
                going += min(below, math.ceil((wanted - freed) / each))
                freed, left = freed + below * each, left + size - below * each
                if freed >= wanted:
                    break
            if going:
                return run, least, going
        return None

    def _small(self, settled: Sequence[Path]) -> list[Path]:
        """The first consecutive shards that are to become one."""
        run, size, rows = list[Path](), 0, 0
        for folder in settled:
            its, count = self._sizes[folder.name][0], self._rows[folder.name]
            if run and (size + its > MOST_BYTES or rows + count > MOST_OUTCOMES):
                if len(run) >= COMPACTED:
                    return run
                run, size, rows = [], 0, 0
            run.append(folder)
            size, rows = size + its, rows + count
        return run if len(run) >= COMPACTED else []

    def _classes(self, folder: Path) -> list[int]:
        """How long each row of a shard is kept."""
        classes = [ORDINARY] * self._rows[folder.name]
        for record in self.dataset.shards[folder.name]:
            classes[record.row] = class_of(record)
        return classes

    def _rewrite(self, run: Sequence[Path], least: int, going: int) -> Path:
        shards = [ShardReader(folder) for folder in run]
        gone, kept = 0, list[list[int]]()
        for folder in run:
            kept.append([])
            for row, each in enumerate(self._classes(folder)):
                if each < least and gone < going:
                    gone += 1
                else:
                    kept[-1].append(row)
        new = rewrite(shards, kept, lambda shard, name: self.cache.carry_over(shards, kept, shard, name))
        for folder in run:
            for features in self.features.glob(f"*/{folder.name}"):
                shutil.rmtree(features, ignore_errors=True)
        log.info("shards written anew", extra={"shards": len(run), "as": new.name, "outcomes_removed": gone})
        return new

    def _measure(self, folders: Sequence[Path]) -> None:
        """Bytes of each shard and of its features, which may be computed later, and of all."""
        sizes = dict[str, tuple[int, int]]()
        for folder in folders:
            shard, features = self._sizes.get(folder.name, (0, 0))
            features = features or sum(map(_size, self.features.glob(f"*/{folder.name}")))
            sizes[folder.name] = shard or _size(folder), features
        self._rows = {folder.name: self._rows.get(folder.name) or len(ShardReader(folder)) for folder in folders}
        self._sizes, self.bytes = sizes, sum(map(sum, sizes.values()))


def class_of(record: IndexEntry) -> int:
    """How long an outcome is kept: robots' and hard ones longer than others."""
    if record.scene is None:
        return ROBOTS
    promised = record.quality is not None and record.quality >= PROMISED
    return HARD if record.success_label is False and promised else ORDINARY


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
