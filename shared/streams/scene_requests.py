"""Scene requests on their way from the trainer to the workers."""

import redis
from pydantic import ValidationError

from grasp_client.contract import SceneRequest
from shared.streams.group import GroupStream, of_type

SCENE_REQUESTS = "grasp:tickets"
WITHDRAWING = "withdrawn"
"""Name of the consumer that takes requests back."""


class SceneRequestStream(GroupStream):
    """Scene requests on their way to the workers."""

    def __init__(self, client: redis.Redis, stream: str = SCENE_REQUESTS, group: str = "workers"):
        super().__init__(client, stream, group)

    def issue(self, request: SceneRequest) -> None:
        """Ask the workers for a scene."""
        self.create_group()
        self.client.xadd(self.stream, {"ticket": request.model_dump_json()})

    def take(self, consumer: str, block_ms: int = 2_000) -> tuple[str, SceneRequest] | None:
        """The next request, waiting up to `block_ms`; None when there is none."""
        return self._first(self._read(consumer, 1, block_ms))

    def claim(self, consumer: str, min_idle_ms: int) -> tuple[str, SceneRequest] | None:
        """A request that a worker took and did not finish within `min_idle_ms`, or None."""
        return self._first(self._claim(consumer, min_idle_ms, 1))

    def done(self, key: str) -> None:
        """The attempts of a request are published: it is not needed any more."""
        transaction = self.client.pipeline(transaction=True)
        transaction.xack(self.stream, self.group, key)
        transaction.xdel(self.stream, key)
        transaction.execute()

    def withdraw(self, *prefixes: str) -> None:
        """Take out the requests whose ids begin so and that no worker has taken yet; others go to the end of the line."""
        for _ in range(self.outstanding()):
            if (taken := self.take(WITHDRAWING, block_ms=1)) is None:
                return
            key, request = taken
            if not request.id.startswith(prefixes):
                self.issue(request)
            self.done(key)

    def outstanding(self) -> int:
        """Requests waiting or being worked on."""
        return int(of_type(self.client, {self.stream: "stream"}, lambda: self.client.xlen(self.stream)))

    def _first(self, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> tuple[str, SceneRequest] | None:
        for key, fields in entries:
            try:
                return key.decode(), SceneRequest.model_validate_json(fields.get(b"ticket", b""))
            except ValidationError:  # a request of another version: nobody here can run it
                self.done(key.decode())
        return None
