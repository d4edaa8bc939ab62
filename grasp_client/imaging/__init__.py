"""Image wire formats: decode what users send, check it, encode what we send.

Depth is (H, W) float32 metres along the optical axis with 0 for "no reading"; colour is (H, W, 3) uint8; a segmask is
(H, W) bool. Whatever the bytes, the only exception is `ImageError`, which carries the HTTP status to answer with.
"""

from grasp_client.imaging.checks import check_depth, check_observation, check_views
from grasp_client.imaging.cloud_files import read_pcd, read_ply
from grasp_client.imaging.clouds import MOST_POINTS, decode_points, points_of
from grasp_client.imaging.containers import read_npy
from grasp_client.imaging.decode import decode_depth, decode_image, decode_raw_depth, decode_rgb, decode_segmask, metres_of
from grasp_client.imaging.encode import encode_npy, encode_png_depth, encode_png_rgb, encode_raw_depth
from grasp_client.imaging.limits import ImageError, ImageLimits

__all__ = [
    "MOST_POINTS",
    "ImageError",
    "ImageLimits",
    "check_depth",
    "check_observation",
    "check_views",
    "decode_depth",
    "decode_image",
    "decode_points",
    "decode_raw_depth",
    "decode_rgb",
    "decode_segmask",
    "encode_npy",
    "encode_png_depth",
    "encode_png_rgb",
    "encode_raw_depth",
    "metres_of",
    "points_of",
    "read_npy",
    "read_pcd",
    "read_ply",
]
