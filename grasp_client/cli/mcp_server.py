"""`grasploop mcp`: what the client asks a server, as tools of the Model Context Protocol over standard input and output."""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from grasp_client.cli.camera_files import read_camera
from grasp_client.cli.input_files import read_image, read_rgb
from grasp_client.cli.predict import problem_of
from grasp_client.cli.scene_files import Source, read_cloud, read_scene
from grasp_client.client import DEFAULT_URL, GraspClient
from grasp_client.errors import GraspServerError
from grasp_client.input_warnings import InputWarning
from grasp_client.inputs import observe, request_of
from grasp_client.observation import Observation

INSTRUCTIONS = """\
Plans grasps for a robot's gripper from a depth image, a colour image or a point cloud in a file of this machine. Poses are 4x4
matrices in metres: x the closing axis, z the approach. `quality` is the probability that the grasp holds. Nothing here moves a
robot."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="grasploop mcp", description=__doc__)
    url = os.environ.get("SERVER_URL", DEFAULT_URL)
    parser.add_argument("--url", default=url, help=f"of the server; default: $SERVER_URL, else {DEFAULT_URL}")
    parser.add_argument("--api-key", default=os.environ.get("API_KEY"), metavar="KEY", help="default: $API_KEY")
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore", InputWarning)  # the answer has them
    with GraspClient(arguments.url, api_key=arguments.api_key, attempts=3) as client:
        tools_of(client).run("stdio")
    return 0


def tools_of(client: GraspClient) -> MCPServer:
    """A server of tools that ask through the client."""
    server = MCPServer("grasploop", instructions=INSTRUCTIONS, log_level="WARNING")

    def plan_grasps(
        file: str, camera: str | None = None, color: str | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ranked grasps for what a file shows, best first, with warnings and the reasons why others were refused.

        file: depth image (16-bit PNG in millimetres, npy), colour image (PNG, JPEG), cloud (PLY, PCD, npy N x 3) or npz with
        depth and K. camera: intrinsics "fx,fy,cx,cy" in pixels, or a file that names them; without it the answer has pixels
        only. color: colour image beside a depth image. options: any field of the server's PlanRequest, as camera_pose (4x4,
        camera to robot base, z up), table_depth (m, for colour alone), gripper (name), n_grasps, region, point, approach,
        planner.
        """
        try:
            observation, told = _seen(Path(file), color)
            asked = {"n_grasps": 5, **told, **({"camera": read_camera(camera)} if camera else {}), **(options or {})}
            plan = client.plan(observation, request_of(**asked))
        except (ValueError, GraspServerError) as error:
            raise ToolError(problem_of(error)[1]) from error
        return plan.model_dump(mode="json", exclude_none=True, exclude={"heatmap_png"})

    def list_planners() -> list[dict[str, Any]]:
        """The planners that the server can be asked for, what each needs and whether it is ready."""
        return [planner.model_dump(mode="json") for planner in client.planners()]

    def list_models() -> list[dict[str, Any]]:
        """The server's models: their versions, and which of them answers."""
        return [model.model_dump(mode="json") for model in client.models()]

    def list_grippers() -> dict[str, dict[str, Any]]:
        """The grippers that the server knows by name, with their sizes in metres."""
        return {name: gripper.model_dump(mode="json") for name, gripper in client.grippers().items()}

    for tool in (plan_grasps, list_planners, list_models, list_grippers):
        server.add_tool(tool)
    return server


def _seen(path: Path, color: str | None) -> tuple[Observation, dict[str, Any]]:
    """What a file holds, and the options that it tells. Raises ValueError for one that cannot be read."""
    rgb: dict[str, Any] = {"rgb": read_rgb(Path(color))} if color else {}
    if scene := read_scene(Source(path)):
        arrays, told = scene
        return observe(**{**arrays, **rgb}), told
    if (points := read_cloud(path)) is not None:
        return observe(points=points), {}
    kind, image = read_image(path, 0.001)
    return observe(**{kind: image, **rgb}), {}
