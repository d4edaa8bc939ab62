"""What a camera saw and the hands that would grasp it, in three dimensions: one HTML page, PLY, GLB."""

from grasp_client.viewer.page import view_page
from grasp_client.viewer.scene_files import glb_bytes, ply_bytes
from grasp_client.viewer.scene_geometry import Scene3D, scene_of

__all__ = ["Scene3D", "glb_bytes", "ply_bytes", "scene_of", "view_page"]
