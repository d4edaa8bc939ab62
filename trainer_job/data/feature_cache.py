"""What the network sees of each outcome, computed once per shard and kept on disk as memory-mappable arrays."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from shared.shards import ShardReader
from trainer_job.tasks.base import Learner

log = logging.getLogger(__name__)


class FeatureCache:
    """Views of a learner, one folder per shard: views.npy (N, ...), facts.npy (N, F) float32 and rows.npy (N,), the shard's
    rows they belong to.

    Half precision keeps heights within 0.25 m to 0.1 mm. A folder whose shard has changed is computed again.
    """

    def __init__(self, directory: Path, learner: Learner) -> None:
        self.directory = directory / learner.view_name
        self.learner = learner
        self.directory.mkdir(parents=True, exist_ok=True)

    def load(self, shard: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(views, facts, rows) of a shard; outcomes that this learner cannot use have no row."""
        folder = self.directory / shard.name
        reader = ShardReader(shard)
        digest = hashlib.sha256("\n".join(reader.ids()).encode()).hexdigest()
        if not self._holds(folder, digest):
            self._compute(reader, folder, digest)
        return np.load(folder / "views.npy", mmap_mode="r"), np.load(folder / "facts.npy"), np.load(folder / "rows.npy")

    def _holds(self, folder: Path, digest: str) -> bool:
        try:
            whole = (folder / "facts.npy").exists()
            return whole and json.loads((folder / "source.json").read_bytes())["ids"] == digest
        except (OSError, ValueError, KeyError):
            return False

    def _compute(self, reader: ShardReader, folder: Path, digest: str) -> None:
        mine = (row for row, kind in enumerate(reader.kinds) if kind == self.learner.outcome_kind)
        rows = np.array([row for row in mine if self.learner.learnable(reader.rows[row]["meta"])], np.int64)
        views = np.zeros((len(rows), *self.learner.view_shape), self.learner.view_dtype)
        facts = np.zeros((len(rows), self.learner.facts), np.float32)
        usable = np.zeros(len(rows), bool)
        for members in _by_image(reader, rows, self.learner.image):
            outcomes = [reader[int(row)] for row in rows[members]]
            try:
                views[members], facts[members] = self.learner.views(outcomes)
                usable[members] = True
            except Exception as error:  # whatever is odd about one image must not end the trainer, now and at each start
                log.warning("outcomes without a view", extra={"shard": reader.folder.name, "error": repr(error)})
        self._write(folder, {"views": views[usable], "facts": facts[usable], "rows": rows[usable]}, digest)

    def _write(self, folder: Path, arrays: dict[str, np.ndarray], digest: str) -> None:
        temporary = self.directory / f".{uuid.uuid4().hex}"
        temporary.mkdir()
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        (temporary / "source.json").write_text(json.dumps({"ids": digest}))
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(temporary, folder)


def _by_image(reader: ShardReader, rows: np.ndarray, image: str) -> list[list[int]]:
    """Places in `rows` grouped by image, camera and gripper: one height map serves all attempts on an image."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, row in enumerate(rows):
        meta = reader.rows[row]["meta"]
        circumstances = json.dumps([meta["camera"], meta["camera_pose"], meta["gripper"], meta["images"][image]])
        key = (reader.image_offset(int(row), image), circumstances)
        groups.setdefault(key, []).append(place)
    return list(groups.values())
