"""The commands, with tiny numbers: learn, publish, decide, play."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from shared.networks.picture_actor import PictureActor
from shared.registry import ModelCard, Registry
from trainer_job.promotion.publish import weights_of
from trainer_job.rl import coordinates, evaluate
from trainer_job.rl import train as learn
from trainer_job.rl.episodes import Episode
from trainer_job.rl.learner import CHECKPOINT
from trainer_job.train import main as train

QUICK = ["--steps", "120", "--worlds", "2", "--evaluate-every", "60", "--evaluate-episodes", "2", "--final-episodes", "2"]


def test_a_policy_is_learned_published_and_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--models-dir", str(tmp_path / "models")]
    run = tmp_path / "run"
    shaken = ["--nudge", "0.02", "--mount-shift", "0.004", "--mount-turn", "2"]
    assert train(["closed-loop", *QUICK, *where, *shaken, "--out", str(run)]) == 0
    registry = Registry(tmp_path / "models")
    card = registry.card("closed-loop-depth", 1)
    assert registry.champion("closed-loop-depth") == 1
    assert card.architecture == "picture-actor"
    assert card.simulated is not None
    assert card.simulated["attempts"] == 2
    assert "box shifted by up to 20 mm, camera off by up to 4 mm and 2 degrees" in card.simulated["protocol"]
    policy = (card.model_extra or {})["policy"]
    assert policy["observation"] == "depth"
    assert len(policy["mount"]) == 4
    assert {path.name for path in run.iterdir()} >= {CHECKPOINT, "result.json", "strips", "replay"}
    assert list(run.glob("events.out.tfevents.*"))
    assert [step for step, *_ in json.loads((run / "result.json").read_text())["evaluations"]] == [60, 120]
    with Image.open(run / "strips" / "0000060.png") as strip:
        assert strip.size == (68 * 11, 68 * 2)
    capsys.readouterr()

    recording = tmp_path / "episodes.gif"
    play = ["closed-loop", "--episodes", "3", "--worlds", "2", *where]
    assert evaluate.main([*play, "--deterministic", "--record", str(recording)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"3 of 3 episodes: \d succeed, 0\.\d+ \(0\.\d+ to [01]\.\d+\)", lines[-1])
    with Image.open(recording) as gif:
        assert getattr(gif, "n_frames", 0) > 100  # the first episode of each world; like frames in a row are one
    assert evaluate.main([*play, "--render", "--episodes", "1"]) == 0
    assert "\x1b[38;2;" in capsys.readouterr().out
    assert evaluate.main([*play, "--observation", "rgb"]) == 1
    told = capsys.readouterr().err
    assert "no policy closed-loop-rgb" in told
    assert evaluate.main(["closed-loop", "--observation", "rgb", "--episodes", "1", "--worlds", "1", *told_folder(told)]) == 0


def told_folder(told: str) -> list[str]:
    """The option that a message offers."""
    return list(re.findall(r"`(--models-dir) (\S+)`", told)[0])


def test_a_policy_for_any_object_is_taught_published_and_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--models-dir", str(tmp_path / "models")]
    taught = ["--teacher", "--buffer", "100", "--out", str(tmp_path / "run")]
    assert train(["closed-loop-any", *QUICK, *where, *taught]) == 0
    card = Registry(tmp_path / "models").card("closed-loop-any-depth", 1)
    assert card.architecture == "grasp-actor"
    assert card.parameters["channels"] == 1
    assert card.simulated is not None
    assert "validation objects" in card.simulated["protocol"]
    assert (card.model_extra or {})["policy"]["environment"] == "GraspLoop/ClosedLoopAny-v0"
    play = ["closed-loop-any", "--episodes", "2", "--worlds", "2", *where]
    assert evaluate.main([*play, "--deterministic", "--object-set", "test"]) == 0
    assert "2 of 2 episodes" in capsys.readouterr().out
    for unknown in ("--open-loop", "--nudge=0.02"):
        assert evaluate.main([*play, unknown]) == 1
        assert "closed-loop" in capsys.readouterr().err


@pytest.mark.parametrize(("asked", "level"), [([], 4), (["--level", "1"], 1)])
def test_a_policy_is_played_on_the_whole_area_unless_told(
    asked, level, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_worlds
) -> None:
    registry, name = Registry(tmp_path), "closed-loop-depth"
    made = {"name": name, "architecture": "picture-actor", "policy": make_worlds().interface}
    registry.publish(name, weights_of(PictureActor()), ModelCard.model_validate(made))
    levels: list[int] = []

    def play(worlds, *_) -> list[Episode]:
        levels.append(worlds._process.ask("snapshot")["curriculum"]["level"])
        return [Episode(True, [])]

    monkeypatch.setattr(evaluate, "play", play)
    assert evaluate.main(["closed-loop", "--version", "1", "--models-dir", str(tmp_path), *asked]) == 0
    assert levels == [level]


def test_a_policy_of_another_camera_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--models-dir", str(tmp_path / "models")]
    assert train(["closed-loop", *QUICK, *where, "--steps", "16", "--out", str(tmp_path / "run"), "--no-promote"]) == 0
    registry = Registry(tmp_path / "models")
    assert registry.champion("closed-loop-depth") is None
    policy = (registry.card("closed-loop-depth", 1).model_extra or {})["policy"]
    registry.update("closed-loop-depth", 1, policy={**policy, "camera": {**policy["camera"], "fx": 60.0}})
    assert evaluate.main(["closed-loop", "--version", "1", "--episodes", "1", *where]) == 1
    error = capsys.readouterr().err
    assert "camera" in error
    assert "60.0" in error
    assert "mount" not in error


def test_a_worse_policy_does_not_take_the_champions_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = iter([(4, 3), (4, 2), (4, 3), (4, 3), (4, 3)])
    monkeypatch.setattr(learn, "_measure", lambda *_: next(results))
    where = ["--models-dir", str(tmp_path / "models"), "--steps", "16", "--evaluate-every", "1000"]
    for number in range(3):  # 3 of 4; then 2 against the champion's 3; then 3 against 3
        assert train(["closed-loop", *QUICK[2:4], *where, "--out", str(tmp_path / str(number)), "--seed", str(number)]) == 0
    registry = Registry(tmp_path / "models")
    decisions = [registry.card("closed-loop-depth", version).decisions[0] for version in (1, 2, 3)]
    assert [each["action"] for each in decisions] == ["promoted", "rejected", "promoted"]
    assert decisions[1]["reason"] == "2 against the champion's 3 of the same episodes"
    assert registry.champion("closed-loop-depth") == 3


@pytest.mark.parametrize(
    ("learned", "good"), [(800, 8.0), pytest.param(coordinates.LEARNED, coordinates.GOOD, marks=pytest.mark.slow)]
)
def test_the_encoder_tells_where_a_dot_is(
    learned: int, good: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(coordinates, "learn", partial(coordinates.learn, learned=learned, tested=200))
    monkeypatch.setattr(coordinates, "GOOD", good)
    assert train(["coordinates", "--observation", "grey"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert float(re.findall(r"([0-9.]+) pixels off", last)[0]) < good  # a guess is 24 pixels off
    assert train(["coordinates", "--observation", "grey", "--epochs", "1"]) == 1
