"""The typed options of the clients are the fields of the requests, and a type checker refuses what is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from grasp_client.contract import ActionRequest, PlanRequest
from grasp_client.contract.actions import ActRequest
from grasp_client.options import ActionOptions, ActOptions, PlanOptions


def test_options_are_the_fields_of_the_requests() -> None:
    assert set(PlanOptions.__annotations__) == set(PlanRequest.model_fields)
    assert set(ActionOptions.__annotations__) == set(ActionRequest.model_fields)
    assert set(ActOptions.__annotations__) == set(ActRequest.model_fields)
    assert set(ActOptions.__required_keys__) == {name for name, field in ActRequest.model_fields.items() if field.is_required()}


@pytest.mark.slow
def test_mypy_refuses_a_misspelt_option(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    lines = ["from grasp_client import GraspClient", "client = GraspClient()"]
    lines += ['client.predict_grasp(gripper="franka_hand", camera={"fx": 1})', 'client.predict_grasp(grippr="franka_hand")']
    program.write_text("\n".join(lines))
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", str(program)], capture_output=True, text=True)
    wrong = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(wrong) == 1
    assert 'Unexpected keyword argument "grippr"' in wrong[0]
