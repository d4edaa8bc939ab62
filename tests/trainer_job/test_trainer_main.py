"""The trainer through its real command line, with a real queue and tiny numbers."""

from __future__ import annotations

import errno
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from block_world import block_outcome
from commands import run_module
from forked import Forked
from places import ROOT
from records import send, store
from waiting import PATIENCE, wait_until

from shared.registry import Registry
from shared.settings import TrainerSettings
from shared.shards import ShardReader, shard_folders
from shared.streams import TRAINERS, OutcomeStream, SceneRequestStream, WorkerStatusStore, connect
from trainer_job.service import trainer
from trainer_job.training.distributed import DistContext

TINY = [
    "--outcomes-per-round", "40", "--shard-outcomes", "16", "--shard-seconds", "0.2", "--outstanding-requests", "4",
    "--epochs", "1", "--min-steps", "12", "--max-ab-pairs", "0",
]  # fmt: skip


def command(url: str, folder: Path, *more: str) -> list[str]:
    paths = ["--data-dir", str(folder), "--models-dir", str(folder / "models"), "--shipped-models-dir", str(folder / "none")]
    return ["--redis-url", url, "--log-format", "json", "--torch-threads", "1", *paths, *TINY, *more]


class Process:
    """A trainer of its own process, with its log."""

    started: ClassVar[list[Forked]] = []

    def __init__(self, folder: Path, arguments: list[str], module: str = "trainer_job") -> None:
        folder.mkdir(exist_ok=True)
        self.log = folder / f"{time.time_ns()}.log"
        self.process = Forked(module, arguments, self.log, ROOT, OMP_NUM_THREADS="1")
        self.started.append(self.process)

    def wait_until(self, condition: Callable[[], object]) -> None:
        wait_until(lambda: condition() or self.process.poll() is not None, self.log.read_text)
        assert condition(), f"the trainer has ended: {self.log.read_text()}"

    def says(self, message: str) -> bool:
        return self.log.exists() and f'"{message}"' in self.log.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As an orderly shutdown does."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()


@pytest.fixture(autouse=True)
def none_outlives_its_test() -> Iterator[None]:
    yield
    while Process.started:
        process = Process.started.pop()
        process.kill()
        process.wait()


def publish(url: str, episodes: range) -> None:
    stream = OutcomeStream(connect(url))
    for episode in episodes:
        send(stream, block_outcome(episode), "w", episode + 1)


def stored(folder: Path) -> list[str]:
    return [name for shard in shard_folders(folder / "shards") for name in ShardReader(shard).ids()]


def test_the_command_line_explains_itself() -> None:
    shown = run_module("trainer_job", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "--outcomes-per-round" in shown.stdout


def test_a_round_goes_from_the_queue_to_a_new_champion(redis_url: str, tmp_path: Path) -> None:
    publish(redis_url, range(60))
    done = run_module("trainer_job", *command(redis_url, tmp_path, "--rounds", "1"))
    assert done.returncode == 0, done.stderr
    registry = Registry(tmp_path / "models")
    assert registry.champion("dense") == 2
    card = registry.card("dense", 2)
    assert card.parent == 1
    assert card.outcomes["count"] + card.outcomes["held_out"] == card.outcomes["total"] >= 40
    assert card.decisions[0]["action"] == "promoted"
    assert sorted(stored(tmp_path)) == sorted(f"w:{i}:0" for i in range(60))
    assert SceneRequestStream(connect(redis_url)).outstanding() == 4
    runs = {path.name.split(".")[0] for path in (tmp_path / "runs" / "dense-0002").iterdir()}
    assert runs >= {"loss", "reliability", "events"}


def test_a_second_trainer_is_refused_and_sigterm_stores_what_is_in_hand(redis_url: str, tmp_path: Path) -> None:
    stream, data = OutcomeStream(connect(redis_url)), tmp_path / "data"
    trainer = Process(tmp_path, command(redis_url, data, "--shard-seconds", "1000", "--shard-outcomes", "1000"))
    publish(redis_url, range(5))
    trainer.wait_until(lambda: stream.pending() == 5)
    second = run_module("trainer_job", *command(redis_url, data))
    assert second.returncode == 1
    assert "another trainer works on" in second.stderr
    trainer.stop()
    assert (len(stored(data)), stream.pending()) == (5, 0)


def test_kills_at_any_point_end_in_the_same_dataset_and_a_new_version(redis_url: str, tmp_path: Path) -> None:
    """Killed while it starts, takes outcomes in, trains and publishes; then a start that is left alone."""
    stream, data = OutcomeStream(connect(redis_url)), tmp_path / "data"
    registry = Registry(data / "models")
    points: list[Callable[[Process], object]] = [
        lambda trainer: trainer.says("trainer starts"),
        lambda trainer: stream.pending() or stored(data),
        lambda trainer: trainer.says("round begins"),
        lambda trainer: len(registry.versions("dense")) > 1,
    ]
    for kill, reached in enumerate(points):
        publish(redis_url, range(20 * kill, 20 * kill + 20))
        trainer = Process(tmp_path, command(redis_url, data, "--rounds", "1"))
        trainer.wait_until(lambda reached=reached, trainer=trainer: reached(trainer))  # type: ignore[misc]
        trainer.kill()
    publish(redis_url, range(80, 120))  # enough for a round, whatever the killed ones have already learned from
    done = run_module("trainer_job", *command(redis_url, data, "--rounds", "1"))
    assert done.returncode == 0, done.stderr
    assert sorted(stored(data)) == sorted(f"w:{i}:0" for i in range(120))
    assert (registry.champion("dense") or 0) >= 2
    for version in registry.versions("dense"):
        assert registry.read_weights("dense", version)
        assert version == 1 or registry.card("dense", version).decisions


def test_the_trainer_goes_on_after_the_queue_was_away(own_queue_server: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    trainer = Process(tmp_path, command(own_queue_server.url, data))
    publish(own_queue_server.url, range(20))
    trainer.wait_until(lambda: len(stored(data)) == 20)
    own_queue_server.kill()
    trainer.wait_until(lambda: trainer.says("coordinator waits") and trainer.says("ingest waits"))
    own_queue_server.start()
    publish(own_queue_server.url, range(20, 60))
    registry = Registry(data / "models")
    trainer.wait_until(lambda: registry.champion("dense") == 2)
    trainer.stop()
    assert sorted(stored(data)) == sorted(f"w:{i}:0" for i in range(60))


def test_its_data_is_its_users_alone_and_outdated_folders_go(redis_url: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    outdated = [data / "views", data / "features" / "some" / ".unfinished-1"]
    for folder in outdated:
        (folder / "old").mkdir(parents=True)
    for folder in (data / "features", data / "features" / "some"):
        folder.chmod(0o700)
    data.chmod(0o755)
    trainer = Process(tmp_path, command(redis_url, data))
    publish(redis_url, range(8))
    trainer.wait_until(lambda: len(stored(data)) == 8 and (data / "scene_requests.json").exists())
    trainer.stop()
    assert trainer.says("folder of an earlier version removed")
    assert not any(folder.exists() for folder in outdated)
    open_to_others = [path for path in (data, *data.rglob("*")) if path.stat().st_mode & 0o077]
    assert open_to_others == []


def test_a_disk_that_is_full_at_the_start_is_told_on_the_board(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, said = WorkerStatusStore(connect(redis_url), TRAINERS), []
    stopping = threading.Event()

    def make(*_: Any) -> None:
        said.extend(board.read().values())
        if said:
            stopping.set()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trainer, "Trainer", make)
    settings = TrainerSettings(_env_file=None, data_dir=tmp_path, redis_url=redis_url)
    with pytest.raises(OSError, match="No space"):
        trainer.run(settings, DistContext(), stopping)
    assert (said[0]["state"], said[0]["trouble"]) == ("starting", "disk full: [Errno 28] No space left on device")


def test_without_a_queue_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    shown = run_module("trainer_job", "--data-dir", str(tmp_path))
    assert shown.returncode == 1
    assert "--redis-url" in shown.stderr


def test_train_publishes_from_shards_alone(tmp_path: Path) -> None:
    store(tmp_path / "a", [block_outcome(i) for i in range(40)])
    store(tmp_path / "b", [block_outcome(i) for i in range(40, 60)])
    arguments = ["--name", "dense", "--shards", str(tmp_path / "a"), str(tmp_path / "b"), "--models", str(tmp_path / "models")]
    arguments += ["--cache", str(tmp_path / "cache"), "--epochs", "1", "--batch", "16", "--torch-threads", "1"]
    for more in ([], ["--warm", "--test-shards", str(tmp_path / "b")]):
        done = run_module("trainer_job.train", *arguments, *more)
        assert done.returncode == 0, done.stderr
    registry = Registry(tmp_path / "models")
    assert registry.versions("dense") == [1, 2]
    first, second = (registry.card("dense", version) for version in (1, 2))
    assert first.outcomes["count"] + first.outcomes["held_out"] == 60
    assert first.metrics["auc"] > 0.5
    assert (second.parent, second.outcomes["held_out"]) == (1, 20)
    assert second.decisions


def test_train_says_when_there_is_nothing_to_learn_from(tmp_path: Path) -> None:
    where = ["--shards", str(tmp_path), "--models", str(tmp_path / "models"), "--cache", str(tmp_path / "c")]
    shown = run_module("trainer_job.train", "--name", "dense", *where)
    assert shown.returncode == 1
    assert "no outcomes to learn from" in shown.stderr


def test_reports_of_nobody_who_is_trusted_teach_nothing_and_the_trainer_says_what_to_set(
    redis_url: str, tmp_path: Path
) -> None:
    stream, board = OutcomeStream(connect(redis_url)), WorkerStatusStore(connect(redis_url), TRAINERS)
    for episode in range(60):
        send(stream, block_outcome(episode, scene=None, source="local", request_id=f"plan-{episode}"))
    data = tmp_path / "data"
    trainer = Process(tmp_path, command(redis_url, data))
    trainer.wait_until(lambda: any(row.get("untrusted") == {"local": 60} for row in board.read().values()))
    [row] = board.read().values()
    assert (
        row["note"]
        == "nothing is learned: all reports are of local, which may not teach alone; if they may, set TRUSTED_SOURCES=local"
    )
    assert (row["new"], row["untrusted"], row["held_out"], row["held_out_needed"]) == (0, {"local": 60}, 0, 30)
    assert row["note"] in trainer.log.read_text()
    trainer.stop()
    assert Registry(data / "models").versions("dense") == [1]
    trusting = run_module("trainer_job", *command(redis_url, data, "--rounds", "1", "--trusted-sources", "local"))
    assert trusting.returncode == 0, trusting.stderr
    card = Registry(data / "models").card("dense", 2)
    assert card.outcomes["sources"] == {"simulation": 0.0, "robots": {"local": 1.0}}
    assert 0 < card.outcomes["held_out"] < 20


@pytest.mark.slow
def test_two_processes_under_torchrun_train_one_version(redis_url: str, tmp_path: Path) -> None:
    publish(redis_url, range(60))
    launcher = ["--standalone", "--nproc-per-node=2", "-m", "trainer_job"]
    trainers = Process(tmp_path, [*launcher, *command(redis_url, tmp_path, "--rounds", "1")], "torch.distributed.run")
    assert trainers.process.wait(2 * PATIENCE) == 0, trainers.log.read_text()
    card = Registry(tmp_path / "models").card("dense", 2)
    assert card.model_dump()["training"]["world"] == 2
    assert card.decisions[0]["action"] == "promoted"
    assert len(stored(tmp_path)) == 60
