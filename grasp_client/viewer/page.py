"""A scene as one HTML page that needs neither server nor network."""

import base64
import json
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


def view_page(scene: Scene3D, title: str) -> str:
    """The page: cloud, the chosen hand in full, the others as forks, refused ones in red; a click or the arrow keys choose."""
    data = {
        "title": title,
        "positions": _base64(scene.points.astype("<f4")),
        "colours": _base64(scene.colours),
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


def _base64(data: bytes | np.ndarray) -> str:
    return base64.b64encode(data if isinstance(data, bytes) else data.tobytes()).decode()
