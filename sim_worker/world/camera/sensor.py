"""What a depth camera makes of the truth: noise, quantisation, holes and shadows."""

import cv2
import numpy as np

from sim_worker.world.simulation.profiles import SensorName

EDGE_STEP = 0.008
"""m between neighbouring pixels that counts as a depth edge."""


def sense(depth: np.ndarray, sensor: SensorName, random: np.random.Generator, focal: float) -> np.ndarray:
    """Depth (H, W) float32 m as the sensor reports it; 0 where it has no reading. `focal`: pixels."""
    if sensor == "none":
        return depth
    return _realsense(depth, random, focal) if sensor == "realsense" else _structured_light(depth, random, focal)


def _edges(depth: np.ndarray, size: int) -> np.ndarray:
    """Pixels (H, W) bool within size // 2 of a depth step."""
    kernel = np.ones((size, size), np.uint8)
    return cv2.dilate(depth, kernel) - cv2.erode(depth, kernel) > EDGE_STEP


def _smooth_noise(shape: tuple[int, int], cell: float, random: np.random.Generator) -> np.ndarray:
    """Unit-variance Gaussian noise (H, W) float32, correlated over about `cell` pixels."""
    small = random.standard_normal((int(shape[0] / cell) + 2, int(shape[1] / cell) + 2)).astype(np.float32)
    noise = cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return noise / max(float(noise.std()), 1e-6)


def _realsense(depth: np.ndarray, random: np.random.Generator, focal: float) -> np.ndarray:
    """Active stereo at close range: disparity noise that grows with z squared, smeared edges, some holes at edges.

    0.08 px of correlated disparity noise at a 50 mm baseline and 640 px focal length; readings are whole tenths of mm.
    """
    # z = f b / d: an error of the disparity d grows to z^2 / (f b) times itself in depth.
    sigma = 0.08 * depth**2 / (0.05 * 640)
    noisy = depth + sigma * (0.8 * _smooth_noise(depth.shape, 4, random) + 0.6 * _smooth_noise(depth.shape, 1, random))
    edge = _edges(depth, 3)
    smeared = cv2.GaussianBlur(depth, (5, 5), 1.2)
    pick = random.random(depth.shape)
    noisy = np.where(edge & (pick < 0.5), smeared, noisy)
    holes = edge & (pick > 0.8)
    reading = np.round(noisy / 1e-4).astype(np.float32) * np.float32(1e-4)
    return np.where((depth > 0) & ~holes, reading, 0).astype(np.float32)


def _structured_light(depth: np.ndarray, random: np.random.Generator, focal: float) -> np.ndarray:
    """A pattern projector beside the camera. About a third of the image is missing, as on a real scanner: most of it a
    frame that the pattern does not reach, then occlusion shadows, edges, and a few patches that are too dark or too bright.

    Noise as in Dex-Net 2.0: a gain Gamma(1000, 0.001) on the whole image, here kept within 0.15 %, as a calibrated scanner
    would; Gaussian, 0.5 mm correlated over 4 px.
    """
    gain = float(np.clip(random.gamma(1000.0, 0.001) - 1, -0.0015, 0.0015))
    noisy = depth * (1 + gain) + 0.0005 * _smooth_noise(depth.shape, 4, random) + 0.0002 * _smooth_noise(depth.shape, 1, random)
    missing = _unlit_frame(depth.shape, random) | _shadow(depth, random, focal)
    missing |= _edges(depth, 3) & (random.random(depth.shape) < 0.7)
    missing |= random.random(depth.shape) < 0.005
    patches = _smooth_noise(depth.shape, depth.shape[1] / 24, random)
    missing |= patches > np.quantile(patches, 1 - random.uniform(0.03, 0.10))
    return np.where((depth > 0) & ~missing, noisy, 0).astype(np.float32)


def _unlit_frame(shape: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Pixels (H, W) bool at the image's sides, 3 to 9 % of its size each, with a ragged border."""
    v, u = np.linspace(0, 1, shape[0])[:, None], np.linspace(0, 1, shape[1])[None, :]
    ragged = 0.008 * _smooth_noise(shape, shape[1] / 40, random)
    left, right, top, bottom = random.uniform(0.03, 0.09, 4)
    result: np.ndarray = (u < left + ragged) | (1 - u < right + ragged) | (v < top + ragged) | (1 - v < bottom + ragged)
    return result


def _shadow(depth: np.ndarray, random: np.random.Generator, focal: float, baseline: float = 0.10) -> np.ndarray:
    """Pixels (H, W) bool that a projector `baseline` m to the left or right of the camera cannot light."""
    side = 1 if random.random() < 0.5 else -1
    rows = depth[:, ::side]
    with np.errstate(divide="ignore"):
        shift = np.where(rows > 0, focal * baseline / rows, 0.0)
    column = np.arange(rows.shape[1]) + shift
    # A pixel is in shadow where a nearer surface before it already casts its shadow further along the row.
    highest = np.maximum.accumulate(column, axis=1)
    return ((highest - column) > 1.0)[:, ::side]
