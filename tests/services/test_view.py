"""The view says how the loop does, on a terminal and in a log."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
from records import send, store
from rich.console import Console

from grasp_client.contract import Grasp, GraspMeta, ImageSpec, Outcome, SceneRef
from services.process import ManagedProcess, ProcessSpec
from services.status import Status, StatusReader, last_decision
from services.view import LINE_SECONDS, LineDisplay, LiveDisplay, champions_text, choose_display, dataset_text
from shared.rates import rate_with_interval
from shared.registry import ModelCard, Registry
from shared.streams import TRAINERS, OutcomeStream, WorkerStatusStore, connect
from shared.streams.worker_status import StatusRow

URL = "http://127.0.0.1:8123"
DECIDED = "dense version 2 promoted: won 9, lost 1"
LEARNING = "collecting; held out 8 of 30 needed; what robots report"


def outcome(number: int, success: bool, exploration: bool = False, scene: SceneRef | None = SceneRef(seed=1)) -> Outcome:
    depth = np.full((2, 2), 700, np.uint16)
    grasp = Grasp(kind="parallel_jaw", quality=0.5, center_px=[1.0, 1.0], angle=0.0, depth=0.7)
    meta = GraspMeta(
        grasp=grasp,
        planner="antipodal",
        success=success,
        failure=None if success else "missed",
        exploration=exploration,
        scene=scene,
        images={"depth": ImageSpec(shape=[2, 2], dtype="uint16", scale=0.001)},
    )
    return Outcome(id=f"worker-1:{number}:0", meta=meta, images={"depth": depth})


def status(trouble: str = "") -> Status:
    row = StatusRow(time=0.0, attempts=12, successes=9, state="working", trouble=trouble)
    workers = {"sim_worker-1-abc": row.model_dump()}
    said = {"state": "collecting", "held_out": 8, "held_out_needed": 30, "note": "what robots report"}
    trainer = StatusRow(time=0, trouble=trouble and f"trainer: {trouble}", **said).model_dump()
    rates = {"simulated": rate_with_interval(8, 10), "robots": rate_with_interval(1, 4)}
    return Status(workers, sent=12, lag=3, stored=9, champions={"dense": 2}, trainer=trainer, decided=DECIDED, **rates)


def test_the_champion_of_the_model_that_is_learned_is_named() -> None:
    told = status()
    many = {"dense": 2, "heatmap": 3, "suction-dense": 4}
    assert champions_text(replace(told, champions=many)) == "dense v2, heatmap v3, suction-dense v4"
    for model, text in (("heatmap", "heatmap v3, 2 of other models"), ("push-value", "dense v2, heatmap v3, suction-dense v4")):
        assert champions_text(replace(told, champions=many, trainer={**told.trainer, "model": model})) == text


def test_what_a_trainer_says_it_keeps_is_counts_or_nothing(redis_url: str) -> None:
    board = WorkerStatusStore(connect(redis_url), TRAINERS)
    board.report("trainer", {"removed": 12, "kept_bytes": 3_200_000_000})
    (row,) = board.read().values()
    assert dataset_text(replace(status(), trainer=row)) == "9, 12 removed to keep 3.2 GB"
    assert dataset_text(status()) == "9"
    board.report("trainer", {"removed": 12, "kept_bytes": "many"})
    assert board.read() == {}


@pytest.fixture
def children(tmp_path: Path) -> list[ManagedProcess]:
    specs = [ProcessSpec(name, [], {}, lambda: True) for name in ("inference_server", "sim_worker-1")]
    return [ManagedProcess(spec, tmp_path, lock_descriptor=0) for spec in specs]


def test_status_of_a_real_queue_and_dataset(redis_url: str, tmp_path: Path) -> None:
    reader = StatusReader(redis_url, tmp_path / "models", tmp_path / "shards")
    empty = reader.read()
    assert (empty.lag, empty.stored, empty.champions) == (0, 0, {})
    client = connect(redis_url)
    WorkerStatusStore(client).report("sim_worker-1-abc", {"attempts": 3, "successes": 1})
    for number in range(3):
        send(OutcomeStream(client), outcome(number, success=True), worker="w", sequence=number + 1)
    shards = tmp_path / "shards"
    store(shards, [outcome(number, success=number < 6) for number in range(10)])
    registry = Registry(tmp_path / "models")
    registry.promote("dense", registry.publish("dense", b"weights", ModelCard(name="dense", architecture="dense")))
    first = reader.read()
    assert first.workers["sim_worker-1-abc"]["attempts"] == 3
    assert (first.sent, first.lag, first.stored, first.champions) == (3, 3, 10, {"dense": 1})
    assert (first.simulated["attempts"], first.simulated["successes"]) == (10, 6)
    assert (first.robots["attempts"], first.trainer) == (0, {})
    reported = [outcome(12, success=False, scene=None), outcome(13, success=True, scene=None)]
    store(shards, [outcome(10, success=True), outcome(11, success=False, exploration=True), *reported])
    WorkerStatusStore(client, TRAINERS).report("trainer", {"state": "training", "note": "evil \x1b[2J"})
    second = reader.read()
    assert second.stored == 14
    assert (second.simulated["attempts"], second.simulated["successes"]) == (11, 7)
    assert (second.robots["attempts"], second.robots["successes"]) == (2, 1)
    assert (second.trainer["state"], second.trainer["note"]) == ("training", "evil ?[2J")


def test_the_last_decision_is_told_with_its_reason(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert last_decision(registry) == ""
    decided = [
        ("dense", "2026-01-01T10:00:00+00:00", "rejected", "worse"),
        ("heatmap", "2026-01-01T11:00:00+00:00", "promoted", "won 9, lost 1"),
        ("dense", "2026-01-01T12:00:00+00:00", "to be tested", "not worse"),
    ]
    for name, time, action, reason in decided:
        version = registry.publish(name, b"weights", ModelCard(name=name, architecture="dense"))
        registry.record(name, version, {"time": time, "action": action, "reason": reason})
    assert last_decision(registry) == "heatmap version 1 promoted: won 9, lost 1"


def test_status_without_the_queue(tmp_path: Path) -> None:
    found = StatusReader("redis://127.0.0.1:1/0", tmp_path, tmp_path).read()
    assert found.lag is None
    assert found.workers == {}


def test_lines_for_a_log(children: list[ManagedProcess], capsys: pytest.CaptureFixture[str]) -> None:
    view = LineDisplay(URL)
    view.show(children, status())
    assert capsys.readouterr().out == ""  # not every second
    view._shown_at -= LINE_SECONDS
    view.show(children, status())
    line = capsys.readouterr().out
    for expected in (
        "attempts=12",
        "80% [49%, 94%] of the last 10 in simulation",
        "25% [5%, 70%] of the last 4 of robots",
        LEARNING,
        DECIDED,
        "dense v2",
        "3 waiting",
        "dataset=9",
        URL,
    ):
        assert expected in line


def test_what_holds_a_worker_up_is_shown(children: list[ManagedProcess], capsys: pytest.CaptureFixture[str]) -> None:
    trouble = "disk full: no room for outcomes"
    view = LineDisplay(URL)
    view._shown_at -= LINE_SECONDS
    view.show(children, status(trouble))
    line = capsys.readouterr().out
    assert f"sim_worker-1-abc: {trouble}" in line
    assert f"trainer: {trouble}" in line
    screen = io.StringIO()
    table = LiveDisplay(URL, Console(file=screen, force_terminal=True, width=120, color_system=None))
    for child in children:
        child.process, child.was_ready = MagicMock(poll=lambda: None), True
    table.show(children, status(trouble))
    table.close()
    assert trouble in screen.getvalue()


def test_table_on_a_terminal(children: list[ManagedProcess]) -> None:
    screen = io.StringIO()
    view = LiveDisplay(URL, Console(file=screen, force_terminal=True, width=100, color_system=None))
    view.say("inference_server is started again")
    view.show(children, status())
    view.close()
    shown = screen.getvalue()
    for expected in (
        URL,
        "80% [49%, 94%] of the last 10 in simulation",
        "25% [5%, 70%] of the last 4 of robots",
        LEARNING,
        DECIDED,
        "dense v2",
        "sim_worker-1",
        "75%",
        "is started again",
    ):
        assert expected in shown


def test_a_pipe_gets_lines() -> None:
    assert isinstance(choose_display(URL), LineDisplay)
