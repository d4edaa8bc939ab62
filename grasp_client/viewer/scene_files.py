"""A scene as a file for other programs: PLY (CloudCompare, MeshLab, Open3D) and GLB (glTF 2.0 viewers, Blender)."""

import json
import struct
from typing import Any

import numpy as np

from grasp_client.viewer.scene_geometry import Scene3D

_FLOAT, _UBYTE, _UINT = 5126, 5121, 5125
_POINTS, _TRIANGLES = 0, 4


def ply_bytes(scene: Scene3D) -> bytes:
    """Binary PLY: the cloud's points first, then the hands' corners, with faces of the hands alone. Camera frame, m."""
    vertex = np.dtype([("place", "<f4", 3), ("colour", "u1", 3)])
    face = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
    places, colours = np.concatenate([scene.points, scene.vertices]), np.concatenate([scene.colours, scene.tints])
    vertices, faces = np.zeros(len(places), vertex), np.zeros(len(scene.faces), face)
    vertices["place"], vertices["colour"] = places, colours
    faces["count"], faces["corners"] = 3, scene.faces + len(scene.points)
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [f"property float {axis}" for axis in "xyz"] + [f"property uchar {name}" for name in ("red", "green", "blue")]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(header).encode() + vertices.tobytes() + faces.tobytes()


def glb_bytes(scene: Scene3D) -> bytes:
    """Binary glTF 2.0: cloud and hands as two meshes, turned so that up in the picture is up (+y)."""
    blobs: list[bytes] = []
    accessors: list[dict[str, Any]] = []
    views: list[dict[str, Any]] = []

    def add(values: np.ndarray, component: int, kind: str, **more: Any) -> int:
        data = values.tobytes()
        views.append({"buffer": 0, "byteOffset": sum(map(len, blobs)), "byteLength": len(data)})
        blobs.append(data + bytes(-len(data) % 4))
        accessors.append({"bufferView": len(views) - 1, "componentType": component, "count": len(values), "type": kind, **more})
        return len(accessors) - 1

    def mesh(name: str, places: np.ndarray, colours: np.ndarray, mode: int, faces: np.ndarray | None = None) -> dict[str, Any]:
        ends = {"min": places.min(0).tolist(), "max": places.max(0).tolist()}
        # Colours of four bytes: a vertex attribute must begin at a multiple of four.
        rgba = np.concatenate([colours, np.full((len(colours), 1), 255, np.uint8)], axis=1)
        attributes = {"POSITION": add(places, _FLOAT, "VEC3", **ends), "COLOR_0": add(rgba, _UBYTE, "VEC4", normalized=True)}
        indices = {} if faces is None else {"indices": add(faces.astype("<u4").ravel(), _UINT, "SCALAR")}
        return {"name": name, "primitives": [{"attributes": attributes, "mode": mode, **indices}]}

    parts = [
        ("cloud", scene.points, scene.colours, _POINTS, None),
        ("hands", scene.vertices, scene.tints, _TRIANGLES, scene.faces),
    ]
    meshes = [mesh(*part) for part in parts if len(part[1])]
    nodes = [{"mesh": number, "name": each["name"], "rotation": [1, 0, 0, 0]} for number, each in enumerate(meshes)]
    document = {
        "asset": {"version": "2.0", "generator": "GraspLoop"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": nodes,
        "meshes": meshes,
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": sum(map(len, blobs))}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary = b"".join(blobs)
    total = 12 + 8 + len(text) + 8 + len(binary)
    return (
        struct.pack("<4sII", b"glTF", 2, total)
        + struct.pack("<I4s", len(text), b"JSON") + text
        + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    )  # fmt: skip
