"""Making the shipped models: the plan names each of them once, and a run goes on where it stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from running_loop import runs
from waiting import wait_until

from services import pretrain
from services.pretrain_plan import Step, plan


def test_every_model_is_trained_before_it_ships_and_collects_only_learnable_objects(tmp_path: Path) -> None:
    steps = plan(tmp_path, tmp_path / "shipped", quick=False, workers=2)
    *making, shipping, asking = steps
    assert asking.arguments == ("--models", str(tmp_path / "shipped"), *shipping.arguments[-8:])
    named = set(shipping.arguments[shipping.arguments.index("--names") + 1 :])
    trained = [step for step in making if step.module == "trainer_job.train"]
    assert named == frozenset().union(*(step.models for step in trained))
    for step in making:
        assert not any("test" in word or "validation" in word for word in step.arguments if word.startswith("--object"))
    seeds = [word for step in making for word in step.arguments if word.startswith("--seed=")]
    assert len(seeds) == len(set(seeds))


def test_one_model_alone_needs_only_its_own_steps(tmp_path: Path) -> None:
    alone = plan(tmp_path, None, quick=True, workers=1, only=["suction-dense"])
    assert {step.name for step in alone} < {step.name for step in plan(tmp_path, None, quick=True, workers=1)}
    assert all("suction-dense" in step.models for step in alone)
    with pytest.raises(ValueError, match="no model tense"):
        plan(tmp_path, None, quick=True, workers=1, only=["tense"])


def test_promises_are_fitted_to_grasps_of_the_weights_that_ship(tmp_path: Path) -> None:
    steps = plan(tmp_path, None, quick=False, workers=1, only=["dense"])
    trained = max(number for number, step in enumerate(steps) if step.module == "trainer_job.train")
    [fitted] = [number for number, step in enumerate(steps) if step.module == "trainer_job.promise"]
    collected = [step for step in steps[trained + 1 : fitted] if step.module == "sim_worker.collect"]
    folders = [folder for step in collected for folder in step.arguments[1:2]]
    assert folders == [word for word in steps[fitted].arguments if "attempts" in word]
    assert all("--clear" in step.arguments for step in collected)


def test_photographic_looks_have_pictures_that_are_fetched_before(tmp_path: Path) -> None:
    names = [step.name for step in plan(tmp_path, None, quick=False, workers=1, only=["heatmap"])]
    looks = [step for step in plan(tmp_path, None, quick=False, workers=1) if "--looks=photographic" in step.arguments]
    assert {step.module for step in looks} == {"sim_worker.collect", "sim_worker.collect.rgb_windows"}
    for step in looks:
        assert f"--textures={tmp_path / 'textures'}" in step.arguments
        assert names.index("get textures") < names.index(step.name)


def writing(name: str, text: str, path: Path) -> Step:
    """A step that appends `text` to a file; `this` prints to standard output and is of no interest."""
    code = path.parent / f"append_{name}.py"
    code.write_text(f"import sys; open({str(path)!r}, 'a').write(sys.argv[1])")
    return Step(name, frozenset({name[0]}), f"append_{name}", (text,), {"PYTHONPATH": str(path.parent)})


def test_a_run_skips_what_is_done_and_repeats_what_follows_from_a_change(tmp_path: Path) -> None:
    log = tmp_path / "log"
    steps = [writing("a1", "a", log), writing("b1", "b", log), writing("a2", "c", log)]
    assert pretrain.run(steps, tmp_path) == 0
    assert pretrain.run(steps, tmp_path) == 0
    assert log.read_text() == "abc"
    changed = [writing("a1", "A", log), *steps[1:]]
    assert pretrain.run(changed, tmp_path) == 0
    assert log.read_text() == "abcAc"


def test_a_failing_step_stops_the_run_and_is_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    broken = Step("b", frozenset({"b"}), "no_such_module_here")
    assert pretrain.run([writing("a1", "a", log), broken, writing("c1", "c", log)], tmp_path) != 0
    assert log.read_text() == "a"
    assert "goes on from here" in capsys.readouterr().err
    assert pretrain.run([writing("a1", "a", log), writing("b1", "b", log), writing("c1", "c", log)], tmp_path) == 0
    assert log.read_text() == "abc"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_a_step_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "slow_step.py").write_text("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    code = f"""
from pathlib import Path
from services import pretrain
from services.pretrain_plan import Step
pretrain.run([Step("slow", frozenset("s"), "slow_step", (), {{"PYTHONPATH": {str(tmp_path)!r}}})], Path({str(tmp_path)!r}))
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = next(int(line) for line in parent.stdout if line.strip().isdigit())
    parent.kill()
    parent.wait()
    wait_until(lambda: not runs(child))
