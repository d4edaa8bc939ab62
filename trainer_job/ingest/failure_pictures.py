"""Pictures of failed grasps, a few of the many that are stored, for the dashboard."""

import base64
import hashlib
import io
import logging
import time
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from grasp_client.contract import GraspMeta
from grasp_client.drawing import depth_picture, draw_grasps
from shared.outcome_codec import EncodedOutcome, decode_outcome, depth_metres
from shared.streams import FailureStore, PicturedFailure

log = logging.getLogger(__name__)

PERIOD_SECONDS = 5.0
"""At most one picture in so long: drawing takes some milliseconds of the ingest thread."""
SIDE = 160
"""Pixels of the image around the grasp that are shown."""
LARGEST_PIXELS = 4_000_000


class FailurePictures:
    """Of each batch of stored outcomes, now and then, the failed grasp that was promised most. clock: monotonic seconds."""

    def __init__(self, store: FailureStore, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self.clock = store, clock
        self._next = -np.inf

    def look(self, outcomes: Sequence[EncodedOutcome]) -> None:
        """Raises nothing, whatever an outcome holds and wherever the queue is: these are pictures, the outcomes are stored."""
        if self.clock() < self._next:
            return
        failed = [(each, meta) for each in outcomes if (meta := _failed(each))]
        if not failed:
            return
        self._next = self.clock() + PERIOD_SECONDS
        try:
            self.store.put(picture_of(*max(failed, key=lambda pair: pair[1].quality)))
        except Exception as error:  # what robots send takes shapes that no drawing foresees, and ingest must go on
            log.debug("no picture of a failed grasp", extra={"error": str(error)})


def _failed(outcome: EncodedOutcome) -> GraspMeta | None:
    """Its meta where it is a grasp that failed, though it was not drawn at random, and an image was kept."""
    if outcome.kind != GraspMeta.kind or not outcome.images:
        return None
    try:
        meta = GraspMeta.model_validate_json(outcome.meta)
    except ValueError:
        return None
    return None if meta.success or meta.exploration else meta


def picture_of(outcome: EncodedOutcome, meta: GraspMeta) -> PicturedFailure:
    """The grasp drawn on SIDE pixels around it. Raises ValueError for what cannot be drawn."""
    shape = next(iter(meta.images.values())).shape
    if shape[0] * shape[1] > LARGEST_PIXELS:
        raise ValueError(f"an image of {shape[1]} x {shape[0]} pixels is too large for a picture of a failure")
    images = decode_outcome(outcome)
    whole = images.images["rgb"] if "rgb" in images.images else depth_picture(depth_metres(images))
    height, width = whole.shape[:2]
    u, v = meta.grasp.center_px
    left, top = (int(np.clip(round(at) - SIDE // 2, 0, max(side - SIDE, 0))) for at, side in ((u, width), (v, height)))
    here = whole[top : top + SIDE, left : left + SIDE]
    moved = meta.grasp.model_copy(update={"center_px": (u - left, v - top)})
    buffer = io.BytesIO()
    Image.fromarray(draw_grasps(here, [moved], meta.gripper, meta.camera)).save(buffer, "JPEG", quality=80)
    return PicturedFailure(
        id=hashlib.sha256(outcome.id.encode()).hexdigest()[:16],
        time=meta.time,
        failure=meta.failure or "missed",
        quality=meta.quality,
        simulated=meta.scene is not None,
        source=meta.source,
        planner=meta.planner,
        model=meta.model.name if meta.model else "",
        version=meta.model.version if meta.model else None,
        picture=base64.b64encode(buffer.getvalue()).decode(),
    )
