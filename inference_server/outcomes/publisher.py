"""From the server into the queue."""

import redis

from grasp_client.contract import GraspMeta, Outcome
from inference_server.errors import ServerError
from shared.outcome_codec import encode_outcome
from shared.streams import OutcomeStream, connect

RETRY_AFTER = 5


class OutcomePublisher:
    """Puts outcomes into the queue and registry commands into their list; connects when first needed."""

    def __init__(self, redis_url: str | None):
        self._client = connect(redis_url) if redis_url else None
        self._stream = OutcomeStream(self._client) if self._client else None

    @property
    def configured(self) -> bool:
        return self._client is not None

    def publish(self, outcome: Outcome[GraspMeta]) -> None:
        """Blocks. Raises ServerError 503 while the queue is away or full, or when there is none."""
        if self._stream is None:
            raise ServerError(503, "no_queue", "this server has no outcome queue: set REDIS_URL", retry_after=RETRY_AFTER)
        try:
            self._stream.publish(encode_outcome(outcome))
        except (redis.RedisError, OSError) as error:
            raise _queue_unavailable(error) from error

    def command(self, name: str, payload: str) -> None:
        """Append to a list that another service reads. Blocks; raises as `publish`."""
        if self._client is None:
            raise ServerError(
                503, "no_queue", "this server has no queue to send the command through: set REDIS_URL", retry_after=RETRY_AFTER
            )
        try:
            self._client.rpush(name, payload)
        except (redis.RedisError, OSError) as error:
            raise _queue_unavailable(error) from error

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _queue_unavailable(error: Exception) -> ServerError:
    return ServerError(
        503,
        "queue_unavailable",
        f"the queue does not take it now ({type(error).__name__}); keep it and send it again",
        retry_after=RETRY_AFTER,
    )
