"""The bridge with the real rclpy, beside a real server: service, action, topics, outcomes, and what it costs over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from serving import serving, settings
from waiting import wait_until

pytestmark = [pytest.mark.ros, pytest.mark.timeout(600)]
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENT = Path(os.environ.get("ROS_ENVIRONMENT", ROOT / ".venv" / "ros"))


def test_a_robot_plans_and_reports_through_ros(redis_url: str, tmp_path: Path) -> None:
    if not (ENVIRONMENT / "messages").is_dir():
        pytest.skip("needs ROS 2 and grasploop_msgs: `make test-ros` installs them")
    shutil.copytree(ROOT / "models", tmp_path / "models")
    messages = ENVIRONMENT / "messages"
    paths = [ROOT / "ros" / "grasploop_bridge", messages / "lib" / "python3.11" / "site-packages"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "LD_LIBRARY_PATH": str(messages / "lib"),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(tmp_path),
    }
    with serving(settings(tmp_path / "models", redis_url=redis_url)) as server:
        command = [str(ENVIRONMENT / "bin" / "python"), str(HERE / "use_bridge.py"), server.url]
        with subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(tmp_path / "err", "wb"),
            text=True,
        ) as robot:
            line = robot.stdout.readline()
            assert line, (tmp_path / "err").read_text()[-3000:]
            found = json.loads(line)
            reported = 'reporter="robot",success="false"'
            wait_until(lambda: reported in server.client.get("/metrics").text, lambda: (tmp_path / "err").read_text()[-2000:])
            robot.stdin.write("\n")
            robot.stdin.close()
            robot.wait(60)
    assert {name: result for name, result in found["checks"].items() if result != "ok"} == {}
    assert found["answers"] == found["images"]
    print(f"service p50 {found['service_p50_ms']:.1f} ms, HTTP alone {found['http_p50_ms']:.1f} ms, {found['answers']} answers")
