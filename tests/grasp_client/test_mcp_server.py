"""The tools of `grasploop mcp`, called over stdio by the protocol's own client."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from serving import CAMERA, DEPTH, PNG, publish_dense, serving, settings

PROGRAM = "import sys; from grasp_client.cli.mcp_server import main; sys.exit(main())"


def asked(url: str, calls: list[tuple[str, dict[str, Any]]]) -> tuple[set[str], list[Any]]:
    """Names of the tools, and the results of calls to them."""
    client = pytest.importorskip("mcp.client", reason="`grasploop mcp` needs it: pip install 'grasploop-client[mcp]'")
    stdio = pytest.importorskip("mcp.client.stdio")

    async def talk() -> tuple[set[str], list[Any]]:
        server = stdio.StdioServerParameters(command=sys.executable, args=["-c", PROGRAM, "--url", url])
        async with client.Client(stdio.stdio_client(server)) as connected:
            tools = await connected.list_tools()
            return {tool.name for tool in tools.tools}, [await connected.call_tool(*call) for call in calls]

    return anyio.run(talk)


@pytest.mark.slow
def test_an_assistant_plans_grasps_from_a_file_and_sees_what_it_may_ask_for(tmp_path: Path) -> None:
    publish_dense(tmp_path / "models", 0)
    (tmp_path / "depth.png").write_bytes(PNG)
    camera = ",".join(str(CAMERA[name]) for name in ("fx", "fy", "cx", "cy"))
    depth = str(tmp_path / "depth.png")
    with serving(settings(tmp_path / "models")) as running:
        names, results = asked(
            running.url,
            [
                ("plan_grasps", {"file": depth, "camera": camera, "options": {"planner": "antipodal", "n_grasps": 2}}),
                ("plan_grasps", {"file": str(tmp_path / "none.png")}),
                ("plan_grasps", {"file": depth, "options": {"plannr": "dense"}}),
                ("list_planners", {}),
                ("list_models", {}),
                ("list_grippers", {}),
            ],
        )
    assert names == {"plan_grasps", "list_planners", "list_models", "list_grippers"}
    plan, missing, misspelt, planners, models, grippers = results
    answer = json.loads(plan.content[0].text)
    assert len(answer["grasps"]) == 2
    assert abs(answer["grasps"][0]["pose_camera"][2][3] - float(DEPTH.max())) < 0.1
    assert missing.is_error
    assert "none.png" in missing.content[0].text
    assert misspelt.is_error
    assert "plannr" in misspelt.content[0].text
    assert "antipodal" in {planner["name"] for planner in planners.structured_content["result"]}
    assert models.structured_content["result"][0]["name"] == "dense"
    assert grippers.structured_content["franka_hand"]["max_width"] == 0.08
