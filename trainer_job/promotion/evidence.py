"""Which outcomes may move a champion: of scenes that this trainer asked for, and of plans that the server itself recorded.

Anybody may send outcomes to be learned from. What decides between versions must be proven: a scene request carries a nonce,
made with a secret that only the trainer has, and an outcome counts when it brings back the nonce of the very request that the
trainer would issue. Nothing is remembered for it, so a restart decides the same.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from grasp_client.contract import SceneRef, SceneRequest
from shared.durable import replace_file
from trainer_job.data.outcome_index import IndexEntry
from trainer_job.data.sources import Sources

log = logging.getLogger(__name__)

KEY_FILE, KEY_BYTES = "scene_requests.key", 32
PROOF_CHARACTERS = 32
"""Of each half of a nonce: the first proves the whole request, the second what an outcome tells of it."""


class RequestSigner:
    """Makes and checks the nonces of scene requests."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def of(cls, data_dir: Path) -> RequestSigner:
        """With the key of a data folder, which is made there once, readable by its owner alone."""
        path = data_dir / KEY_FILE
        key = path.read_bytes() if path.exists() else b""
        if len(key) != KEY_BYTES:
            if path.exists():
                log.error("key of scene requests replaced: what was asked for before proves nothing", extra={"bytes": len(key)})
            data_dir.mkdir(parents=True, exist_ok=True)
            key = secrets.token_bytes(KEY_BYTES)
            replace_file(path, key, mode=0o600)
        return cls(key)

    def sign(self, request: SceneRequest) -> SceneRequest:
        """The request with its nonce."""
        return request.model_copy(update={"nonce": self._nonce(request)})

    def proves(self, scene: SceneRef | None, request: SceneRequest) -> bool:
        """Whether an outcome's scene is that of a request that this has signed: the same scene, and its nonce."""
        if scene is None or not scene.nonce or scene.ticket != request.id:
            return False
        asked = (request.seed, request.kind, request.object_set, request.profile, request.vary)
        if (scene.seed, scene.kind, scene.object_set, scene.profile, scene.vary) != asked:
            return False
        return hmac.compare_digest(scene.nonce.encode(), request.nonce.encode())

    def issued(self, scene: SceneRef) -> bool:
        """Whether a scene is of any request of this trainer, which need not be known any more."""
        proof = self._proof_of_scene(scene.ticket or "", scene)
        return scene.nonce is not None and hmac.compare_digest(scene.nonce[PROOF_CHARACTERS:].encode(), proof.encode())

    def key_for(self, what: str) -> str:
        """A secret for a purpose, the same after a restart."""
        return hmac.new(self._key, what.encode(), hashlib.sha256).hexdigest()

    def _nonce(self, request: SceneRequest) -> str:
        fields = request.model_dump(mode="json", exclude={"nonce"})
        return self._proof(fields) + self._proof_of_scene(request.id, request)

    def _proof_of_scene(self, ticket: str, where: SceneRef | SceneRequest) -> str:
        return self._proof([ticket, where.seed, where.kind, where.object_set, where.profile, where.vary])

    def _proof(self, what: object) -> str:
        canonical = json.dumps(what, sort_keys=True, separators=(",", ":"))
        return self.key_for(canonical)[:PROOF_CHARACTERS]


class ServiceRecord:
    """How the versions of a model do in service: their best grasps, in simulation and as robots report them, kept apart.

    In simulation those count that were made in scenes which the trainer asked for to collect in, and not to revisit a failure;
    of robots, the first of each plan that the server recorded, from sources that are trusted.
    request_of: the request to collect whose id an outcome gives, or None.
    """

    def __init__(
        self, model: str, signer: RequestSigner, request_of: Callable[[str], SceneRequest | None], sources: Sources
    ) -> None:
        self.model, self.sources = model, sources
        self.simulated: defaultdict[int, list[IndexEntry]] = defaultdict(list)
        self.served: defaultdict[int, list[IndexEntry]] = defaultdict(list)
        self._signer, self._request_of = signer, request_of
        self._attempts: Counter[str] = Counter()
        self._plans: set[tuple[str, str]] = set()

    def learn(self, records: Iterable[IndexEntry]) -> None:
        """Takes in outcomes; each may be given once."""
        for record in records:
            version = record.told_of(self.model)
            if version is None:
                continue
            if record.scene is None:
                plan = (record.source, record.request_id)
                if record.served and self.sources.trusts(record) and plan not in self._plans:
                    self._plans.add(plan)
                    self.served[version].append(record)
            elif self._is_own(record.scene):
                self.simulated[version].append(record)

    def _is_own(self, scene: SceneRef) -> bool:
        """Whether the trainer asked for this attempt. Who knows one nonce has not more attempts by it than were asked for."""
        request = self._request_of(scene.ticket or "")
        if request is None or not self._signer.proves(scene, request):
            return False
        self._attempts[request.id] += 1
        return self._attempts[request.id] <= request.attempts
