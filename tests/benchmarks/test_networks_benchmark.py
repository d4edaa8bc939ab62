import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_cost_of_networks_is_measured(tmp_path):
    out = tmp_path / "networks.json"
    command = [sys.executable, "-m", "benchmarks.networks", "--batches", "1", "2", "--seconds", "0.01", "--threads", "1"]
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert {row["network"] for row in report["crops"]} == {"gqcnn", "gqcnn4", "efficientnet"}
    assert [row["windows"] for row in report["dense"]] == [400, 1521] * 2
    assert all(row["ratio"] > 0 for row in report["dense"] + report["policy"])
