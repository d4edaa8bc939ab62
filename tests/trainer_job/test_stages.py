"""Models learn in turn: first each for its rounds, then one round each, whatever was done before a restart."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import pytest
from block_world import block_outcome
from records import send
from test_controller import Bench
from test_trainer_main import command

from shared.registry import ModelCard, Registry
from shared.settings import TrainerSettings
from shared.streams import OutcomeStream, connect
from trainer_job.promotion.ab_test import AbTest
from trainer_job.service.stages import next_model, rounds_of, stages_of, turns
from trainer_job.service.trainer import run
from trainer_job.training.distributed import SINGLE

STAGES = [("dense", 2), ("push-value", 1)]


def test_stages_follow_each_other_and_then_alternate() -> None:
    done = {"dense": 0, "push-value": 0}
    order = []
    for _ in range(7):
        order.append(next_model(STAGES, done))
        done[order[-1]] += 1
    assert order == ["dense", "dense", "push-value", "dense", "push-value", "dense", "push-value"]


@pytest.mark.parametrize("text", ["dense", "dense:x", "nobody:3", "dense:1,dense:2"])
def test_stages_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|nobody"):
        stages_of(text)
    with pytest.raises(SystemExit, match="STAGES"):
        list(turns(TrainerSettings(stages=text), threading.Event()))


def test_without_stages_one_model_learns_for_ever() -> None:
    settings = TrainerSettings(model="push-value")
    assert stages_of("") == []
    assert list(turns(settings, threading.Event())) == [settings]


def test_what_was_learned_before_a_restart_counts(tmp_path: Path) -> None:
    registry, settings = Registry(tmp_path), TrainerSettings(models_dir=tmp_path, stages="dense:2,push-value:1", rounds=2)
    weights = b"x"
    for total in (0, 500, 1000):  # what ships comes of no round
        card = ModelCard(name="dense", architecture="dense", outcomes={"total": total} if total else {})
        registry.publish("dense", weights, card)
    assert rounds_of(registry, "dense") == 2
    turn = next(turns(settings, threading.Event()))
    assert (turn.model, turn.rounds) == ("push-value", 1)
    assert [each.model for each in islice(turns(settings, threading.Event()), 9)] == 2 * ["push-value"]


@pytest.mark.slow
def test_a_stage_ends_with_a_version_and_the_next_model_learns(redis_url: str, tmp_path: Path) -> None:
    stream = OutcomeStream(connect(redis_url))
    for episode in range(100):
        send(stream, block_outcome(episode), "w", episode + 1)
    settings = TrainerSettings(
        _cli_parse_args=command(redis_url, tmp_path, "--stages", "dense:2,push-value:1", "--rounds", "1")
    )
    run(settings, SINGLE, threading.Event())
    registry = Registry(tmp_path / "models")
    assert (rounds_of(registry, "dense"), rounds_of(registry, "push-value")) == (1, 0)


def test_grasps_are_judged_where_they_come_first(redis_url: str, tmp_path: Path) -> None:
    bench = Bench(redis_url, tmp_path, max_ab_pairs=10)
    bench.settings.scene_kind = "enclosed"
    bench.workers.report("w", {})
    bench.decisions.decide(bench.candidate())
    bench.turn()
    trial = bench.decisions.trial
    assert isinstance(trial, AbTest)
    assert trial.mix.kind == "mixed"
