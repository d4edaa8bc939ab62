"""Learning where a teacher would grasp: from mirrored pictures too, and on exactly from any kill."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from grasp_client.geometry import invert, project, transform
from sim_worker.envs.closed_loop_any import BEHIND, BESIDE, FIELD, ClosedLoopAny
from sim_worker.envs.eye import intrinsics, mount
from sim_worker.envs.guide import Guide
from trainer_job.rl.demonstrations import Episode
from trainer_job.rl.episodes import Actor
from trainer_job.rl.grasp_learner import GraspLearner, _half_mirrored
from trainer_job.rl.progress import Recipe
from trainer_job.rl.worlds import RemoteWorlds

TINY = Recipe(
    steps=64, worlds=2, random_steps=16, buffer=40, batch=8, evaluate_every=32, save_every=12, averaging=0.9, teacher=True
)


@pytest.fixture(autouse=True)
def _nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guide, "grasps", lambda self, scene, hand, body, otherwise: [invert(body) @ otherwise])
    monkeypatch.setattr(ClosedLoopAny, "_surveyed", {})


class Killed(Exception):
    pass


def learned(folder: Path, kill: int = 0) -> GraspLearner:
    """A run, or what is left of one that is killed after so many steps."""
    with closing(RemoteWorlds("closed-loop-any", TINY.worlds, privileged=True, taught=True)) as worlds:
        learner = GraspLearner(worlds, TINY, folder)

        def look(actor: Actor, step: int) -> tuple[int, int]:
            if step == kill:
                raise Killed
            return 4, step // 32

        learner.learn(look)
        return learner


def test_a_kill_changes_nothing_but_time(tmp_path: Path) -> None:
    whole = learned(tmp_path / "whole")
    with pytest.raises(Killed):
        learned(tmp_path / "killed", kill=32)
    resumed = learned(tmp_path / "killed")
    assert resumed.progress.evaluations == whole.progress.evaluations
    for one, other in ((resumed.newest(), whole.newest()), (resumed.averaged, whole.averaged)):
        assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
    assert whole.auxiliary.param_groups[0]["lr"] == pytest.approx(TINY.learning_rate * 2 / 64)  # nothing is learned last
    assert not torch.equal(whole.averaged.state_dict()["means.bias"], whole.newest().state_dict()["means.bias"])


def test_a_mirror_shows_the_same_hand_at_a_mirrored_object() -> None:
    place = np.array([[0.02, -0.03, 0.08], [-0.02, -0.03, 0.08]])
    seen = project(transform(invert(mount(BESIDE, BEHIND)), place), intrinsics(FIELD))
    column, row = np.rint(seen[0]).astype(int)
    picture = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    picture[:, 0, row, column] = 255
    told = torch.tensor([0.2, -0.3, 0.8, 0.5, 0.866, 0.1]).repeat(2, 1)
    pictures, advice = _half_mirrored(picture, told)
    assert torch.equal(pictures[0], picture[0])
    assert np.argwhere(pictures[1, 0].numpy()).tolist() == [np.rint(seen[1][::-1]).astype(int).tolist()]
    assert advice[0].tolist() == told[0].tolist()
    assert advice[1].tolist() == pytest.approx([-0.2, -0.3, 0.8, 0.5, -0.866, 0.1])


def test_actions_of_a_person_tell_no_grasps(tmp_path: Path) -> None:
    with (
        closing(RemoteWorlds("closed-loop-any", 1, privileged=True, taught=True)) as worlds,
        pytest.raises(ValueError, match="leave out --demonstrations or --teacher"),
    ):
        GraspLearner(worlds, TINY, tmp_path, [Episode({}, *np.zeros((3, 1)))])
