"""A scene as one HTML page that needs neither server nor network."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np

from grasp_client.viewer.scene_geometry import Scene3D

FOLDER = Path(__file__).parent
MODULES = {
    "three": "vendor/three.module.min.js",
    "three/addons/controls/OrbitControls.js": "vendor/OrbitControls.js",
    "three/addons/exporters/GLTFExporter.js": "vendor/GLTFExporter.js",
    "space": "space.js",
}
"""What the page imports, by the names that the scripts use."""


STEPS = 65535
"""Coordinates are told in these steps of the cloud's extent: 0.03 mm in a cloud of two metres, in half the bytes of floats."""


def view_page(scene: Scene3D, title: str) -> str:
    """The page: cloud, the chosen hand in full, the others as forks, refused ones in red; a click or the arrow keys choose."""
    lowest = scene.points.min(0) if len(scene.points) else np.zeros(3)
    step = np.maximum((scene.points.max(0) - lowest) / STEPS if len(scene.points) else np.ones(3), 1e-9)
    data = {
        "title": title,
        "lowest": lowest.tolist(),
        "step": step.tolist(),
        # Coordinate by coordinate, each as its difference from the point before: neighbours are alike, and deflate sees it.
        "positions": _deflated(_differences(np.rint((scene.points - lowest) / step).astype(np.uint16)).astype("<u2")),
        "colours": _deflated(_differences(scene.colours.astype(np.uint8))),
        "grasps": [grasp.model_dump(mode="json") for grasp in scene.grasps],
        "refused": [grasp.model_dump(mode="json") for grasp in scene.refused],
        "gripper": scene.gripper.model_dump(mode="json"),
    }
    imports = {name: "data:text/javascript;base64," + _base64((FOLDER / path).read_bytes()) for name, path in MODULES.items()}
    page = (FOLDER / "page.html").read_text()
    # `<` would end the script that holds the data.
    return page.replace("{{imports}}", json.dumps({"imports": imports})).replace(
        "{{data}}", json.dumps(data).replace("<", "\\u003c")
    )


def _differences(values: np.ndarray) -> np.ndarray:
    """(3, N) of values (N, 3), unsigned: each less the one before it, modulo what the type holds."""
    columns = np.ascontiguousarray(values.T)
    return np.diff(columns, axis=1, prepend=np.zeros((3, 1), columns.dtype))


def _deflated(values: np.ndarray) -> str:
    return _base64(zlib.compress(values.tobytes(), 6))


def _base64(data: bytes | np.ndarray) -> str:
    return base64.b64encode(data if isinstance(data, bytes) else data.tobytes()).decode()
