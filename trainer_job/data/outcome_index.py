"""What has been learned from and what has been held back: one record per stored outcome, without its images."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grasp_client.contract import EpisodeEnd, OutcomeMeta, SceneRef
from shared.shards import ShardReader, digest, shard_folders, shard_number

log = logging.getLogger(__name__)

HELD_OUT_SHARE = 0.1
AB_TEST_PREFIX = "judge-"
"""Ids of scene requests of A/B tests begin with this: their outcomes decide between versions and are never learned from."""

REVISIT_PREFIX = "revisit-"
"""Ids of scene requests of scenes that failed before begin with this."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One outcome: where it is stored (shard and row) and what it says. success_label, quality, rank: None of a kind of action
    that has no such thing. quality_after: of the goal's best grasp, after a push. source: who reported it. served: the server
    itself recorded the plan."""

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
    source: str = ""
    served: bool = False
    request_id: str = ""
    quality_after: float | None = None
    episode: EpisodeEnd | None = None

    @property
    def label(self) -> float:
        """What is learned: 1 for a success, 0 for a failure, of a push the quality after it."""
        return float(self.success) if self.quality_after is None else self.quality_after

    @property
    def shard_number(self) -> int:
        return shard_number(self.shard)

    @property
    def success(self) -> bool:
        return self.success_label is True

    def told_of(self, model: str) -> int | None:
        """The version of a model of whose service this outcome tells: of the model that proposed the action, or of the one that
        chose the pushes of the episode that ended with it. None for none."""
        if self.episode and self.episode.model and self.episode.model.name == model:
            return None if self.ab_test else self.episode.model.version
        return self.version if self.model == model and self.on_policy else None

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
        graded = self.success_label is not None and self.quality is not None and self.rank == 0
        return graded and not self.exploration and not self.ab_test


def scene_key(meta: OutcomeMeta, image_key: Callable[[], str]) -> str:
    """Equal for all attempts that saw the same scene: nothing of a held-out scene may be learned from.

    Of a robot's attempts the group that it names keeps together; else the plan that they are from, else the image.
    """
    if scene := meta.scene:
        return f"{scene.object_set}/{scene.kind}/{scene.seed}"
    if meta.group:
        return f"group/{meta.group}"
    return f"plan/{meta.request_id}" if meta.request_id else f"image/{image_key()}"


def is_held_out(key: str, share: float = HELD_OUT_SHARE) -> bool:
    """The same answer for ever, on every machine: a hash of the scene decides."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") < share * 2**64


class OutcomeIndex:
    """Records of all shards in `directory`, in the order in which they were stored. Shards are the truth; this only reads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.records: list[IndexEntry] = []
        self.shards: dict[str, list[IndexEntry]] = {}

    def refresh(self) -> list[IndexEntry]:
        """Reads shards that are new and returns their records. Raises ShardError at a damaged one; the next call goes on."""
        known = len(self.records)
        for folder in shard_folders(self.directory):
            if folder.name not in self.shards:
                self.shards[folder.name] = read_records(folder)
                self.records += self.shards[folder.name]
        return self.records[known:]

    def __len__(self) -> int:
        return len(self.records)


def read_records(folder: Path) -> list[IndexEntry]:
    """Records of a shard's outcomes, but for those that do not fit their kind."""
    reader = ShardReader(folder)
    metas = ((row, reader.meta(row)) for row in range(len(reader)))
    return [_record(reader, row, meta) for row, meta in metas if meta is not None]


def _record(reader: ShardReader, row: int, meta: OutcomeMeta) -> IndexEntry:
    model = meta.model
    rank, success, quality, after = (getattr(meta, name, None) for name in ("rank", "success", "quality", "quality_after"))
    return IndexEntry(
        id=reader.rows[row].id,
        shard=reader.folder.name,
        row=row,
        # Of a kind that is not known here these may be anything.
        success_label=success if isinstance(success, bool) else None,
        time=meta.time,
        scene=meta.scene,
        planner=meta.planner,
        model=model.name if model else None,
        version=model.version if model else None,
        quality=float(quality) if isinstance(quality, int | float) else None,
        rank=rank if isinstance(rank, int) else None,
        exploration=meta.exploration,
        held_out=is_held_out(scene_key(meta, lambda: _image_key(reader, row))),
        kind=reader.kinds[row],
        # Where nothing is said of `served`, the outcome is older than sources that the server stamps: anybody's word.
        source=meta.source if "served" in meta.model_fields_set else "",
        served=meta.served,
        request_id=meta.request_id or "",
        quality_after=float(after) if isinstance(after, int | float) else None,
        episode=meta.episode,
    )


def _image_key(reader: ShardReader, i: int) -> str:
    row = reader.rows[i]
    digests = row.digests or {name: digest(reader.image(i, name).tobytes()) for name in row.at}  # none in older shards
    return "+".join(digests[name] for name in sorted(digests))
