"""Scene requests: which scenes the workers run next, repeatable from the trainer's seed and a counter."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from grasp_client.contract import SceneRef, SceneRequest
from shared.durable import replace_file
from shared.settings import TrainerSettings
from shared.streams import SceneRequestStream
from trainer_job.data.outcome_index import REVISIT_PREFIX, IndexEntry
from trainer_job.training.recipe import recipe_of_model

log = logging.getLogger(__name__)

KIND_SHARES = {"single": 0.45, "pile": 0.45, "packed": 0.1}
ATTEMPTS = {"single": 2, "pile": 3, "packed": 3}
"""Attempts per request: building and settling a scene costs more than one more attempt in it."""
REVISIT_SHARE = 0.1
MAX_FAILED = 500
BACKLOG_ROUNDS = 3
"""No scene requests while outcomes of this many rounds wait to be learned from: the trainer is behind."""

COUNTER_0_1 = "tickets.json"
"""Name of the counter in data folders of version 0.1.0: its numbers must not be used again."""


class SceneRequestIssuer:
    """Keeps `outstanding_requests` scene requests waiting. The counter is on disk: a number is never used twice."""

    def __init__(self, stream: SceneRequestStream, counter: Path, settings: TrainerSettings) -> None:
        self.stream, self.counter, self.settings = stream, counter, settings
        if (before := counter.with_name(COUNTER_0_1)).exists() and not counter.exists():
            before.rename(counter)
        self.issued: int = json.loads(counter.read_bytes())["issued"] if counter.exists() else 0
        self._failed: deque[SceneRef] = deque(maxlen=MAX_FAILED)
        # `auto` is `dense` wherever that can plan: another model must be asked for to gain experience of its own.
        serving = settings.planner == "auto" and settings.model != "dense"
        self.planner = (recipe_of_model(settings.model).planner if serving else None) or settings.planner

    def learn(self, records: Iterable[IndexEntry]) -> None:
        """Remembers scenes in which the best grasp failed, to come back to a share of them."""
        for record in records:
            if record.scene and record.on_policy and not record.success and not record.held_out:
                self._failed.append(record.scene)

    def top_up(self, waiting_to_be_learned: int, testing: bool = False) -> int:
        """Issues as many requests to collect as are missing and returns how many; none while the trainer is behind.

        While a candidate is being tested the workers run trials, and collect only when none wait: a decision comes sooner, and
        what is then collected shows the better version.
        """
        outstanding = self.stream.outstanding()
        if waiting_to_be_learned > BACKLOG_ROUNDS * self.settings.outcomes_per_round or (testing and outstanding):
            return 0
        missing = self.settings.outstanding_requests - outstanding
        for number in self.reserve(missing):
            self.stream.issue(self.collect_request(number))
        return max(missing, 0)

    def reserve(self, count: int) -> range:
        """Numbers that nobody has had. They are written down first: a kill may skip some, but repeats none."""
        first = self.issued
        if count > 0:
            self.issued += count
            replace_file(self.counter, json.dumps({"issued": self.issued}).encode())
        return range(first, self.issued)

    def collect_request(self, number: int) -> SceneRequest:
        """Request `number`: the same scene for the same trainer seed, but for a share that revisits failures."""
        rng = np.random.default_rng([self.settings.seed, number])
        settings = self.settings
        drawn = str(rng.choice(list(KIND_SHARES), p=list(KIND_SHARES.values())))
        kind = drawn if settings.scene_kind == "mixed" else settings.scene_kind
        objects = settings.object_set
        if objects == "folder" and rng.random() < settings.replay_ratio:
            objects = "train"
        scene = SceneRef(seed=int(rng.integers(2**31)), kind=kind, object_set=objects, profile=settings.profile)
        name = f"collect-{number}"
        if self._failed and rng.random() < REVISIT_SHARE:
            name = f"{REVISIT_PREFIX}{number}"
            scene = self._failed[int(rng.integers(len(self._failed)))]
        return SceneRequest(
            id=name,
            seed=scene.seed,
            kind=scene.kind,
            object_set=scene.object_set,
            profile=scene.profile,
            planner=self.planner,
            exploration=settings.exploration,
            attempts=ATTEMPTS.get(scene.kind, 1),
        )
