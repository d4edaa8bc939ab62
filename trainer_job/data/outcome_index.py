"""What has been learned from and what has been held back: one record per stored outcome, without its images."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from grasp_client.contract import EpisodeEnd, OutcomeMeta, SceneRef
from shared.shards import ShardError, ShardReader, digest, shard_folders, shard_number

log = logging.getLogger(__name__)

HELD_OUT_SHARE = 0.1
AB_TEST_PREFIX = "judge-"
"""Ids of scene requests of A/B tests begin with this: their outcomes decide between versions and are never learned from."""

REVISIT_PREFIX = "revisit-"
"""Ids of scene requests of scenes that failed before begin with this."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One outcome: where it is stored (shard and row; shard_number: of the shard that it was first written in) and what it
    says. success_label, quality, rank: None of a kind that has no such thing. quality_after: of the goal's best grasp,
    after a push. source: who reported it. served: the server itself recorded the plan."""

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
    shard_number: int = 0

    @property
    def label(self) -> float:
        """What is learned: 1 for a success, 0 for a failure, of a push the quality after it."""
        return float(self.success) if self.quality_after is None else self.quality_after

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
    """Records of all shards in `directory`, in the order in which they were stored. Shards are the truth; this only reads.

    removed: outcomes that were stored once and are not kept.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.records: list[IndexEntry] = []
        self.shards: dict[str, list[IndexEntry]] = {}
        self._removed: dict[str, int] = {}
        self._last, self._gone = -1, 0

    @property
    def removed(self) -> int:
        return sum(self._removed.values())

    @property
    def end(self) -> int:
        """Place behind the last record, where those that went still count: it only grows."""
        return self._gone + len(self.records)

    def since(self, place: int) -> list[IndexEntry]:
        """Records from a place on that `end` told earlier."""
        return self.records[max(0, place - self._gone) :]

    def refresh(self) -> list[IndexEntry]:
        """Reads shards that are new and returns their records; what was written in place of others is not new.

        Raises ShardError at a damaged one; the next call goes on.
        """
        before = self.end
        folders = shard_folders(self.directory)
        if self.shards.keys() - {folder.name for folder in folders}:
            self._follow(folders)
        for folder in folders:
            if folder.name not in self.shards and (records := self._read(folder)) is not None:
                self._last = max(self._last, shard_number(folder.name))
                self.shards[folder.name] = records
                self.records += records
        return self.since(before)

    def _follow(self, folders: Sequence[Path]) -> None:
        """Takes what stands in place of shards that went."""
        found = dict[str, list[IndexEntry]]()
        for folder in (folder for folder in folders if shard_number(folder.name) <= self._last):
            records = self.shards.get(folder.name)
            if (records := self._read(folder) if records is None else records) is not None:
                found[folder.name] = records
        kept = [record for records in found.values() for record in records]
        self._gone += len(self.records) - len(kept)
        self.shards, self.records = found, kept
        self._removed = {name: count for name, count in self._removed.items() if name in found}

    def _read(self, folder: Path) -> list[IndexEntry] | None:
        """Records of a shard; None where another was just written in its place."""
        try:
            records, self._removed[folder.name] = read_records(folder)
            return records
        except ShardError:
            if folder.exists():
                raise
            return None

    def __len__(self) -> int:
        return len(self.records)


def read_records(folder: Path) -> tuple[list[IndexEntry], int]:
    """Records of a shard's outcomes, but for those that do not fit their kind, and how many are not kept any more."""
    reader = ShardReader(folder)
    metas = ((row, reader.meta(row)) for row in range(len(reader)))
    return [_record(reader, row, meta) for row, meta in metas if meta is not None], reader.removed


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
        shard_number=reader.numbers_of_rows[row],
    )


def _image_key(reader: ShardReader, i: int) -> str:
    row = reader.rows[i]
    digests = row.digests or {name: digest(reader.image(i, name).tobytes()) for name in row.at}  # none in older shards
    return "+".join(digests[name] for name in sorted(digests))
