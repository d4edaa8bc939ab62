"""What has been learned from and what has been held back: one record per stored outcome, without its images."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grasp_client.contract import SceneRef
from shared.shards import ShardReader, shard_folders

log = logging.getLogger(__name__)

HELD_OUT_SHARE = 0.1
AB_TEST_PREFIX = "judge-"
"""Ids of scene requests of A/B tests begin with this: their outcomes decide between versions and are never learned from."""

REVISIT_PREFIX = "revisit-"
"""Ids of scene requests of scenes that failed before begin with this."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One outcome: where it is stored (shard number and row) and what it says. success_label, quality, rank: None of a kind of
    action that has no such thing."""

    id: str
    shard: str
    row: int
    success_label: bool | None
    time: float
    scene: SceneRef | None
    planner: str
    model: str | None
    version: int | None
    quality: float | None
    rank: int | None
    exploration: bool
    held_out: bool
    kind: str

    @property
    def success(self) -> bool:
        return self.success_label is True

    @property
    def ab_test(self) -> bool:
        return bool(self.scene and self.scene.ticket and self.scene.ticket.startswith(AB_TEST_PREFIX))

    @property
    def revisit(self) -> bool:
        """A scene to which the trainer came back because the best grasp had failed in it: harder than most."""
        return bool(self.scene and self.scene.ticket and self.scene.ticket.startswith(REVISIT_PREFIX))

    @property
    def on_policy(self) -> bool:
        """The best grasp of a plan was executed, as in service: these attempts tell how well a version does."""
        return self.success_label is not None and self.rank == 0 and not self.exploration and not self.ab_test


def scene_key(outcome_id: str, scene: SceneRef | None) -> str:
    """Equal for all attempts that saw the same scene: nothing of a held-out scene may be learned from."""
    if scene is None:
        return outcome_id.rsplit(":", 1)[0]
    return f"{scene.object_set}/{scene.kind}/{scene.seed}"


def is_held_out(key: str, share: float = HELD_OUT_SHARE) -> bool:
    """The same answer for ever, on every machine: a hash of the scene decides."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") < share * 2**64


class OutcomeIndex:
    """Records of all shards in `directory`, in the order in which they were stored. Shards are the truth; this only reads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.records: list[IndexEntry] = []
        self._read: set[str] = set()

    def refresh(self) -> list[IndexEntry]:
        """Reads shards that are new and returns their records."""
        new: list[IndexEntry] = []
        for folder in shard_folders(self.directory):
            if folder.name not in self._read:
                new += read_records(folder)
                self._read.add(folder.name)
        self.records += new
        return new

    def __len__(self) -> int:
        return len(self.records)


def read_records(folder: Path) -> list[IndexEntry]:
    reader = ShardReader(folder)
    lines = zip(reader.kinds, reader.rows, strict=True)
    return [_record(folder.name, row, kind, line) for row, (kind, line) in enumerate(lines)]


def _record(shard: str, row: int, kind: str, line: dict[str, Any]) -> IndexEntry:
    meta = line["meta"]
    scene = SceneRef.model_validate(meta["scene"]) if meta.get("scene") else None
    model = meta.get("model") or {}
    return IndexEntry(
        id=line["id"],
        shard=shard,
        row=row,
        success_label=meta.get("success"),
        time=meta["time"],
        scene=scene,
        planner=meta["planner"],
        model=model.get("name"),
        version=model.get("version"),
        quality=meta.get("quality"),
        rank=meta.get("rank"),
        exploration=meta["exploration"],
        held_out=is_held_out(scene_key(line["id"], scene)),
        kind=kind,
    )


def in_service(records: Iterable[IndexEntry], model: str, version: int) -> list[IndexEntry]:
    """Attempts that tell how well a version does: its best grasps in simulated scenes that are not revisited."""
    mine = (r for r in records if r.model == model and r.version == version)
    return [r for r in mine if r.on_policy and r.scene and not r.revisit]
