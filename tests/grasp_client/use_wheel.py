"""Run by check_wheel.sh where the client's wheel alone is installed: `python use_wheel.py WHEEL SOURCE`."""

import importlib
import pkgutil
import re
import socket
import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import numpy as np

import grasp_client
from grasp_client import observe
from grasp_client.contract import PlanRequest

BIN = Path(sys.prefix) / "bin"
OF_AN_EXTRA = "grasp_client.cli.mcp_server"
"""What needs more than the wheel alone brings."""


def grasploop(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run([BIN / "grasploop", *arguments], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def check_contents(wheel: Path, source: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    package = {name for name in names if ".dist-info/" not in name}
    modules = {f"grasp_client/{path.relative_to(source)}" for path in source.rglob("*.py") if "build" not in path.parts}
    viewer = {f"grasp_client/{path.relative_to(source)}" for path in (source / "viewer").rglob("*") if path.is_file()}
    modules |= {name for name in viewer if not name.endswith(".pyc")} | {"grasp_client/py.typed"}
    assert package == modules, package ^ modules
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names), names
    told = [requirement for requirement in requires("grasploop-client") or [] if "extra ==" not in requirement]
    needed = {re.split(r"\W", requirement)[0] for requirement in told}
    assert needed == {"numpy", "httpx", "pydantic", "pillow"}, needed


def check_library() -> None:
    assert Path(grasp_client.__file__).is_relative_to(sys.prefix), grasp_client.__file__
    for module in pkgutil.walk_packages(grasp_client.__path__, "grasp_client."):
        if module.name != OF_AN_EXTRA:
            importlib.import_module(module.name)
    assert not {"shared", "services", "planning"} & set(sys.modules)
    request = PlanRequest.model_validate({"camera": {"fx": 525, "fy": 525, "cx": 39.5, "cy": 29.5}, "n_grasps": 3})
    assert request.gripper.max_width == 0.08
    assert observe(np.full((60, 80), 0.7, np.float32)).size == (60, 80)


def check_commands() -> None:
    status, out, err = grasploop("--help")
    assert (status, err) == (0, ""), err
    assert "  predict " in out.split("not installed here:")[0], out
    assert "  train " in out.split("not installed here:")[1], out
    status, out, err = grasploop("train", "--recipe", "dense")
    assert (status, out, 'pip install "grasploop[trainer]"' in err) == (2, "", True), err
    status, out, err = grasploop("mcp")
    assert (status, out, 'pip install "grasploop[mcp]"' in err, err.count("\n")) == (2, "", True, 1), err
    np.save("depth.npy", np.full((60, 80), 0.7, np.float32))
    with socket.socket() as closed:  # bound but not listening: nobody else takes the port, and connections are refused
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        status, out, err = grasploop("predict", "depth.npy", "--url", url)
    assert (status, out, f"no server answers at {url}" in err, err.count("\n")) == (1, "", True, 1), err


if __name__ == "__main__":
    check_contents(Path(sys.argv[1]), Path(sys.argv[2]))
    check_library()
    check_commands()
