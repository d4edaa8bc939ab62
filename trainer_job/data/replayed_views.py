"""Images of simulated attempts that are kept without them: rendered again, and checked to be what was seen."""

import logging
from collections.abc import Sequence

import numpy as np

from grasp_client.contract import Meta, Outcome, ViewReplay
from shared.outcome_codec import image_bytes, is_replay
from shared.shards import digest
from trainer_job.rl.world_process import WorldProcess

log = logging.getLogger(__name__)

ENTRY_POINT = "views"
NO_SIMULATOR = "no_simulator"
"""Reason of outcomes whose images nobody here can render."""
OTHERWISE = "renders_otherwise"
"""Reason of outcomes whose images come out in another way here, as of another version of the simulator."""


class ReplayError(Exception):
    """Images that cannot be had again. reason: for counting."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ReplayedViews:
    """Has images rendered in a process of the simulator, which starts when it is first needed.

    missing: no simulator was found.
    """

    def __init__(self) -> None:
        self.missing = False
        self._process: WorldProcess | None = None
        self._last: tuple[ViewReplay, dict[str, np.ndarray]] | None = None

    def complete(self, outcome: Outcome[Meta]) -> Outcome[Meta]:
        """The outcome with its images. Raises ReplayError where they cannot be had, or are not what was seen."""
        replay = outcome.meta.replay
        if replay is None or not is_replay(outcome):
            return outcome
        if self._last is None or self._last[0] != replay:
            self._last = replay, self._rendered(replay)
        return outcome.model_copy(update={"images": self._last[1]})

    def close(self) -> None:
        if self._process is not None:
            self._process.close()
        self._process = self._last = None

    def _rendered(self, replay: ViewReplay) -> dict[str, np.ndarray]:
        images = self._ask(replay)
        found = {name: digest(image_bytes(image)) for name, image in images.items()}
        if found != replay.checksums:
            raise ReplayError(OTHERWISE, f"{replay.scene} of {replay.simulator} renders otherwise here")
        return images

    def _ask(self, replay: ViewReplay) -> dict[str, np.ndarray]:
        if self.missing:
            raise ReplayError(NO_SIMULATOR, "no simulator is installed")
        try:
            if self._process is None:
                self._process = WorldProcess(ENTRY_POINT, 1)
            images: dict[str, np.ndarray] = self._process.ask("render", replay.scene, list(replay.checksums))
            return images
        except RuntimeError as error:
            if any(name in str(error) for name in ("ModuleNotFoundError", "no environment")):
                self.missing = True
                log.error(
                    "attempts without images are not learned from: no simulator is installed to render them; "
                    "pip install 'grasploop[sim]', or let workers keep images (OUTCOME_RECORDS=images)"
                )
                raise ReplayError(NO_SIMULATOR, str(error)) from None
            if "ended unexpectedly" in str(error):
                self._process = None
            raise ReplayError(OTHERWISE, str(error)) from None


VIEWS = ReplayedViews()
"""One process renders for everybody."""


def complete(outcomes: Sequence[Outcome[Meta]]) -> list[Outcome[Meta]]:
    """Outcomes with their images. Raises as `ReplayedViews.complete`."""
    return [VIEWS.complete(outcome) for outcome in outcomes]
