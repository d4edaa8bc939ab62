"""Scene requests: which scenes the workers run next, repeatable from the trainer's seed and a counter."""

import json
import logging
import secrets
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from grasp_client.contract import SceneRef, SceneRequest
from shared.durable import replace_file
from shared.settings import TrainerSettings
from shared.streams import SceneRequestStream, WorkerStatusStore
from shared.streams.scene_mix import SceneMix
from trainer_job.data.outcome_index import REVISIT_PREFIX, IndexEntry
from trainer_job.promotion.evidence import RequestSigner
from trainer_job.training.recipe import recipe_of_model

log = logging.getLogger(__name__)

ATTEMPTS = {"single": 2, "pile": 3, "packed": 3, "bin": 4, "enclosed": 15, "scattered": 15}
"""Attempts per request: building and settling a scene costs more than one more attempt in it."""
REVISIT_SHARE = 0.1
REVISIT = 1
"""Makes the draw whether to revisit another one than that of the scene."""
COLLECT_PREFIX = "collect-"
MOST_DIGITS = 18
"""Of a request's number."""
MAX_FAILED = 500
BACKLOG_ROUNDS = 3
"""No scene requests while outcomes of this many rounds wait to be learned from: the trainer is behind."""

FAR_NUMBERS = 2**50
"""Half of the numbers that requests can have: no trainer gets there by counting."""

COUNTER_0_1 = "tickets.json"
"""Name of the counter in data folders of version 0.1.0: its numbers must not be used again."""


class SceneRequestIssuer:
    """Keeps `outstanding_requests` scene requests waiting. The counter is on disk: a number is never used twice."""

    def __init__(self, stream: SceneRequestStream, counter: Path, settings: TrainerSettings, signer: RequestSigner) -> None:
        self.stream, self.counter, self.settings, self.signer = stream, counter, settings, signer
        self.workers, self.refusal = WorkerStatusStore(stream.client), ""
        if (before := counter.with_name(COUNTER_0_1)).exists() and not counter.exists():
            before.rename(counter)
        self.issued = _issued(counter)
        self._failed: deque[SceneRef] = deque(maxlen=MAX_FAILED)
        # `auto` is `dense` wherever that can plan: another model must be asked for to gain experience of its own.
        serving = settings.planner == "auto" and settings.model != "dense"
        self.planner = (recipe_of_model(settings.model).planner if serving else None) or settings.planner
        self.mix = SceneMix(settings.scene_kind, settings.profile, settings.vary).for_planner(self.planner)

    def learn(self, records: Iterable[IndexEntry]) -> None:
        """Remembers scenes that it asked for and in which the best grasp failed, to come back to a share of them."""
        for record in records:
            failed = record.on_policy and not record.success and not record.held_out
            if failed and record.scene and self._is_own(record.scene):
                self._failed.append(record.scene)

    def top_up(self, waiting_to_be_learned: int, testing: bool = False) -> int:
        """Issues as many requests to collect as are missing and returns how many; none while the trainer is behind, or while
        all workers say that their plans are refused.

        While a candidate is being tested the workers run trials, and collect only when none wait: a decision comes sooner, and
        what is then collected shows the better version.
        """
        self.refusal = self.workers.refusal(self.planner)
        if self.refusal:
            self.stream.withdraw(COLLECT_PREFIX, REVISIT_PREFIX)
            return 0
        outstanding = self.stream.outstanding()
        if waiting_to_be_learned > BACKLOG_ROUNDS * self.settings.outcomes_per_round or (testing and outstanding):
            return 0
        missing = self.settings.outstanding_requests - outstanding
        for number in self.reserve(missing):
            self.stream.issue(self.next_request(number))
        return max(missing, 0)

    def reserve(self, count: int) -> range:
        """Numbers that nobody has had. They are written down first: a kill may skip some, but repeats none."""
        first = self.issued
        if count > 0:
            replace_file(self.counter, json.dumps({"issued": first + count}).encode())
            self.issued = first + count
        return range(first, self.issued)

    def next_request(self, number: int) -> SceneRequest:
        """Request `number`, or in its place one of a share that comes back to scenes in which the best grasp failed."""
        rng = np.random.default_rng([self.settings.seed, number, REVISIT])
        request = self.collect_request(number)
        if not self._failed or rng.random() >= REVISIT_SHARE:
            return request
        scene = self._failed[int(rng.integers(len(self._failed)))]
        changes = {"id": f"{REVISIT_PREFIX}{number}", "attempts": ATTEMPTS.get(scene.kind, 1)}
        where = {name: getattr(scene, name) for name in ("seed", "kind", "object_set", "profile", "vary")}
        return self.signer.sign(request.model_copy(update={**changes, **where}))

    def collect_request(self, number: int) -> SceneRequest:
        """Request `number`: the same for the same settings, so that an outcome of it can be told from one that only says so."""
        rng = np.random.default_rng([self.settings.seed, number])
        settings = self.settings
        where = self.mix.draw(rng)
        objects = settings.object_set
        if objects == "folder" and rng.random() < settings.replay_ratio:
            objects = "train"
        request = SceneRequest(
            id=f"{COLLECT_PREFIX}{number}",
            seed=int(rng.integers(2**31)),
            **where,
            object_set=objects,
            planner=self.planner,
            exploration=max(settings.exploration, settings.exploration_start * settings.exploration_decay**number),
            attempts=ATTEMPTS.get(where["kind"], 1),
        )
        return self.signer.sign(request)

    def request_of(self, request_id: str) -> SceneRequest | None:
        """The request to collect of this id, if there was one."""
        number = request_id.removeprefix(COLLECT_PREFIX)
        if number == request_id or not number.isdecimal() or len(number) > MOST_DIGITS:
            return None
        return self.collect_request(int(number))

    def _is_own(self, scene: SceneRef) -> bool:
        request = self.request_of(scene.ticket or "")
        return request is not None and self.signer.proves(scene, request)


def _issued(counter: Path) -> int:
    """How many numbers were used. Where the counter cannot be read, one beyond all that can have been."""
    if not counter.exists():
        return 0
    try:
        issued = json.loads(counter.read_bytes())["issued"]
        if isinstance(issued, int) and 0 <= issued < 2 * FAR_NUMBERS:
            return issued
        reason = f"expected a count below {2 * FAR_NUMBERS}, got {issued!r:.50}"
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = repr(error)
    log.error("the counter of scene requests cannot be read: numbers go on far beyond", extra={"reason": reason})
    return FAR_NUMBERS + secrets.randbelow(FAR_NUMBERS // 2)
