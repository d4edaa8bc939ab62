"""The script for a GPU machine, on the CPU with small numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import Settings, crops, main, parity
from planning.networks.device import Execution


def test_its_parts_run_on_a_cpu() -> None:
    cpu = torch.device("cpu")
    with torch.inference_mode():
        [row] = crops(Execution(cpu), [8], 0.01)
        assert all(each["holds"] for each in parity(cpu) if each["precision"] == "float32")
    assert row["crops_per_second"] > 0


@pytest.mark.slow
def test_the_whole_script_says_all(tmp_path: Path) -> None:
    small = Settings(
        device="cpu", seconds=0.5, batches=[8], clients=2, reloads=2, steps=2, planners=["dense"], out=tmp_path / "gpu.json"
    )
    main(small)
    report = json.loads((tmp_path / "gpu.json").read_bytes())
    assert report["where"] == "CPU"
    assert report["plans"][0]["per_second"] > 0
    assert report["training"]["steps_per_second"] > 0
    assert set(report["reloads"]["statuses"]) == {"200"}
    assert report["seconds"] < 360
