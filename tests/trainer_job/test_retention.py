"""Small shards become one, and the oldest ordinary outcomes go first; nothing that is kept is lost by a kill at any step."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from block_world import Means, block_outcome

from grasp_client.contract import Outcome, SceneRef
from shared.outcome_codec import encode_outcome
from shared.registry import ModelCard, Registry
from shared.shards import ShardReader, ShardWriter, shard_folders
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.data.replay_buffer import ReplayBuffer
from trainer_job.history import table
from trainer_job.ingest import retention
from trainer_job.ingest.marks import stored
from trainer_job.ingest.quarantine import check_shards
from trainer_job.ingest.retention import Retention
from trainer_job.training.round import trained_on

LATER = 10**10
"""When everything is settled."""


@pytest.fixture(autouse=True)
def _a_few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "COMPACTED", 6)


class Loop:
    """What of a trainer keeps outcomes, as it starts."""

    def __init__(self, folder: Path, keep_bytes: float | None = None, decided_after: float = float("inf")) -> None:
        self.shards = folder / "shards"
        self.replay = ReplayBuffer(OutcomeIndex(self.shards), FeatureCache(folder / "features", Means()))
        self.now: float = LATER
        self.retention = Retention(
            self.replay.dataset, self.replay.cache, folder / "features", keep_bytes, lambda: decided_after, lambda: self.now
        )
        self.replay.refresh()

    def turn(self) -> Path | None:
        written = self.retention.turn()
        self.replay.refresh()
        return written

    def settle(self) -> int:
        steps = 0
        while self.turn():
            steps += 1
            assert steps < 200
        return steps

    def ids(self) -> list[str]:
        return [record.id for record in self.replay.dataset.records]


def write(folder: Path, outcomes: list[Outcome], worker: str = "w", first: int = 1) -> None:
    """A shard for each outcome, numbered by a worker."""
    for number, outcome in enumerate(outcomes, first):
        ShardWriter(folder / "shards").write([encode_outcome(outcome)], [(worker, number)])


def hard(episode: int) -> Outcome:
    return block_outcome(episode, success=False, quality=0.9)


def robot(episode: int) -> Outcome:
    return block_outcome(episode, scene=None, source="arm", served=True)


def contents(folder: Path) -> dict[str, tuple[bytes, bytes]]:
    readers = map(ShardReader, shard_folders(folder / "shards"))
    return {o.id: (o.images["depth"].tobytes(), o.meta.model_dump_json().encode()) for reader in readers for o in reader}


def test_small_shards_become_one_and_everything_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, [block_outcome(k) for k in range(7)])
    before = contents(tmp_path)
    loop = Loop(tmp_path)
    replay = loop.replay
    records, known, end = replay.dataset.records, len(replay), replay.dataset.end
    chosen, held_out = replay.training(1_000, seen=0, seed=0), replay.held_out()
    features = replay.examples(chosen).features
    registry = Registry(tmp_path / "models")
    card = ModelCard(name="dense", architecture="dense", outcomes={"total": 4, "shard": 4})
    monkeypatch.setattr(Registry, "cards", lambda self, name: iter([card]))
    assert trained_on(registry, "dense", replay) == 4
    monkeypatch.setattr(FeatureCache, "_compute", lambda *_: pytest.fail("features are computed again"))
    written = loop.turn()
    assert written
    assert written.name == "shard-000001-000006-1", "the newest stays as it is"
    assert [folder.name for folder in shard_folders(loop.shards)] == [written.name, "shard-000007"]
    assert len(list(loop.shards.iterdir())) == 2
    assert sorted(path.name for path in (tmp_path / "features" / Means.spec.name).iterdir()) == [written.name, "shard-000007"]
    assert contents(tmp_path) == before
    assert [(r.id, r.shard_number, r.held_out) for r in replay.dataset.records] == [
        (r.id, r.shard_number, r.held_out) for r in records
    ]
    assert (len(replay), replay.dataset.end, replay.dataset.since(end), replay.dataset.removed) == (known, end, [], 0)
    assert trained_on(registry, "dense", replay) == 4
    np.testing.assert_array_equal(replay.training(1_000, seen=0, seed=0), chosen)
    np.testing.assert_array_equal(replay.held_out(), held_out)
    np.testing.assert_array_equal(replay.examples(chosen).features, features)
    assert all(stored(loop.shards).knows("", ("w", number)) for number in range(1, 8))
    assert loop.settle() == 0
    write(tmp_path, [block_outcome(7)], first=8)
    assert [record.id for record in replay.dataset.refresh()] == ["w:7:0"]
    monkeypatch.undo()
    assert Loop(tmp_path).ids() == loop.ids()


def test_shards_that_others_may_still_write_beside_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, [block_outcome(k) for k in range(8)])
    loop = Loop(tmp_path)
    loop.now = max(folder.stat().st_mtime for folder in shard_folders(loop.shards)) + 30
    assert loop.turn() is None


def mixed(count: int) -> list[Outcome]:
    return [robot(k) if k % 8 == 0 else hard(k) if k % 8 == 1 else block_outcome(k, success=True) for k in range(count)]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def of_48(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 shards, and their features."""
    folder = tmp_path_factory.mktemp("of_48")
    write(folder, mixed(48))
    Loop(folder)
    return folder


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.6, "the oldest ordinary ones go"),
        (0.2, "all ordinary ones and the oldest hard ones go"),
        (0.08, "robots' outcomes go too"),
    ],
)
def test_ordinary_outcomes_go_first_then_hard_ones_robots_last(
    of_48: Path, tmp_path: Path, share: float, expected: str
) -> None:
    outcomes = mixed(48)
    shutil.copytree(of_48, tmp_path, dirs_exist_ok=True)
    total = size_of(tmp_path)
    kinds = {o.id: "robot" if o.meta.scene is None else "hard" if not o.meta.success else "plain" for o in outcomes}
    loop = Loop(tmp_path, keep_bytes=share * total)
    loop.settle()
    left = loop.ids()
    count = {kind: sum(kinds[name] == kind for name in left) for kind in ("plain", "hard", "robot")}
    if share == 0.6:
        assert 0 < count["plain"] < 36, expected
        assert (count["hard"], count["robot"]) == (6, 6)
        plain = [name for name, kind in kinds.items() if kind == "plain"]
        assert [name for name in left if kinds[name] == "plain"] == plain[-count["plain"] :], "the oldest went"
    elif share == 0.2:
        assert count["plain"] <= 2, expected
        assert 0 < count["hard"] < 6
        assert count["robot"] == 6
    else:
        assert (count["plain"], count["hard"]) == (1, 0), expected  # the newest shard stays
        assert 0 < count["robot"] < 6
    assert left[-1] == outcomes[-1].id
    assert size_of(tmp_path / "shards") + size_of(tmp_path / "features") < share * total + 20_000
    assert loop.replay.dataset.removed == 48 - len(left) == Loop(tmp_path).replay.dataset.removed
    marks = stored(loop.shards)
    assert all(marks.knows("", ("w", number)) for number in range(1, 49)), "what went is not stored again"
    assert Loop(tmp_path).ids() == left


def test_outcomes_of_the_test_under_way_stay(tmp_path: Path) -> None:
    write(tmp_path, [block_outcome(k, scene=SceneRef(seed=k, ticket=f"judge-{k}")) for k in range(12)])
    loop = Loop(tmp_path, keep_bytes=1, decided_after=4)
    loop.settle()
    assert loop.ids() == [f"w:{k}:0" for k in range(4, 12)]


def killed_at(step: int, action: Callable[[], object]) -> bool:
    """Runs in a child that is killed before the given of its steps on the disk; whether it came so far."""
    child = os.fork()
    if not child:
        left = step

        def counted(function: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)

            return call

        os.fsync, os.rename, os.unlink = counted(os.fsync), counted(os.rename), counted(os.unlink)  # type: ignore[assignment]
        action()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("keep", [None, 0.5], ids=["compacted", "thinned"])
def test_a_kill_at_any_step_loses_nothing_that_is_kept(tmp_path: Path, keep: float | None, stride: int) -> None:
    original = tmp_path / "original"
    write(original, mixed(8))
    loop = Loop(original)
    everything = contents(original)
    loop.retention._measure(shard_folders(loop.shards))
    limit = keep and keep * loop.retention.bytes
    precious = {name for name in everything if int(name.split(":")[1]) < 2}
    steps = 0
    for step in range(0, 1_000, stride):
        folder = tmp_path / f"killed-{step}"
        shutil.copytree(original, folder)
        if not killed_at(step, lambda folder=folder: Loop(folder, limit).turn()):  # type: ignore[misc]
            break
        steps += 1
        check_shards(folder / "shards")
        left = contents(folder)
        assert left.items() <= everything.items()
        assert precious <= left.keys()
        if keep is None:
            assert left == everything
        after = Loop(folder, limit)
        assert len(after.ids()) == len(set(after.ids())) == len(left)
        names = {path.name for path in after.shards.iterdir()}
        assert names == {path.name for path in shard_folders(after.shards)}, "what was begun is finished or gone"
        after.settle()
        assert all(stored(after.shards).knows("", ("w", number)) for number in range(1, 9))
        shutil.rmtree(folder)
    assert steps > 20 / stride


def test_another_reader_finds_the_new_shard(tmp_path: Path) -> None:
    write(tmp_path, [block_outcome(k) for k in range(8)])
    reader = OutcomeIndex(tmp_path / "shards")
    assert len(reader.refresh()) == 8
    Loop(tmp_path).settle()
    assert reader.refresh() == []
    assert [record.id for record in reader.records] == [f"w:{k}:0" for k in range(8)]


def test_history_tells_of_what_was_removed() -> None:
    card = ModelCard(name="dense", version=2, architecture="dense", outcomes={"total": 900, "removed": 300})
    assert "900 (300 removed)" in table([card])
