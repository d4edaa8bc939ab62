"""Layers of a network as pictures: one per layer, one sheet of all, or an animation."""

import io
import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from grasp_client.imaging import encode_png_rgb
from planning.networks.activations import LayerActivation

CELL = 96
"""Side that a map is enlarged to at most, pixels."""
SHEET_WIDTH = 1200
GAP, LINE = 2, 18
FRAME_MS = 700


def layer_picture(layer: LayerActivation) -> np.ndarray:
    """(H, W, 3) uint8: its maps beside each other, dark is low and bright is high over the layer."""
    maps = layer.maps
    if maps.shape[1] == 1:  # a vector: folded to lines
        length = maps.size
        columns = min(32, length)
        maps = np.pad(maps.ravel(), (0, -length % columns), constant_values=np.nan).reshape(1, -1, columns)
    low, high = (float(each) for each in np.nanpercentile(maps, (1, 99)))
    scaled = np.nan_to_num(np.clip((maps - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)
    enlarge = max(1, (CELL if len(maps) > 1 else 8 * CELL) // max(maps.shape[1:]))
    tiles = [cv2.resize(each, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_NEAREST) for each in scaled]
    height, width = tiles[0].shape
    columns = max(1, min(len(tiles), (SHEET_WIDTH - GAP) // (width + GAP)))
    sheet = np.zeros((math.ceil(len(tiles) / columns) * (height + GAP), columns * (width + GAP)), np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + GAP), number % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = tile
    coloured: np.ndarray = cv2.applyColorMap(sheet, cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return coloured


def _titled(layer: LayerActivation) -> Image.Image:
    picture = Image.fromarray(layer_picture(layer))
    titled = Image.new("RGB", (SHEET_WIDTH, picture.height + LINE), (16, 16, 20))
    titled.paste(picture, (0, LINE))
    ImageDraw.Draw(titled).text(
        (4, 3), f"{layer.name}  {layer.kind}  {' x '.join(map(str, layer.maps.shape))}", (230, 230, 230)
    )
    return titled


def sheet_png(layers: Sequence[LayerActivation]) -> bytes:
    """PNG of all layers, one below the other."""
    parts = [_titled(layer) for layer in layers]
    sheet = Image.new("RGB", (SHEET_WIDTH, sum(part.height for part in parts)))
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    return encode_png_rgb(np.asarray(sheet))


def animation_gif(layers: Sequence[LayerActivation]) -> bytes:
    """GIF that shows the layers one after the other."""
    parts = [_titled(layer) for layer in layers]
    height = max(part.height for part in parts)
    frames = [Image.new("RGB", (SHEET_WIDTH, height)) for _ in parts]
    for frame, part in zip(frames, parts, strict=True):
        frame.paste(part, (0, 0))
    data = io.BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)
    return data.getvalue()
