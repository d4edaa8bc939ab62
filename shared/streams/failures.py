"""The latest failed grasps with a picture of each, for people to look at."""

import base64
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import redis
from pydantic import BaseModel, Field, FiniteFloat, ValidationError, field_validator

from grasp_client.contract.outcomes import Failure
from shared.streams.group import of_type
from shared.streams.worker_status import ROW_BYTES, Line

FAILURES = "grasp:failures"
MOST_FAILURES = 24
JPEG = b"\xff\xd8\xff"


class RecentFailure(BaseModel):
    """A grasp that was executed and failed."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="of a hash of the outcome's")]
    time: FiniteFloat = Field(description="seconds since the epoch")
    failure: Failure
    quality: Annotated[float, Field(ge=0, le=1, description="what was promised")]
    simulated: bool
    source: Line
    planner: Line
    model: Line = Field("", description="empty where the planner has none")
    version: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class PicturedFailure(RecentFailure):
    """picture: JPEG in base64."""

    picture: Annotated[str, Field(max_length=ROW_BYTES)]

    @field_validator("picture")
    @classmethod
    def _is_a_picture(cls, value: str) -> str:
        if not base64.b64decode(value, validate=True).startswith(JPEG):
            raise ValueError("expected a JPEG in base64")
        return value


class FailureStore:
    """A list in the queue, the newest first, of at most MOST_FAILURES; older ones are forgotten."""

    def __init__(self, client: redis.Redis) -> None:
        self.client: Any = client
        self._newest = b""
        self._read: list[PicturedFailure] = []

    def put(self, failed: PicturedFailure) -> None:
        row = json.dumps(failed.model_dump())
        of_type(self.client, {FAILURES: "list"}, lambda: self.client.lpush(FAILURES, row))
        self.client.ltrim(FAILURES, 0, MOST_FAILURES - 1)

    def read(self) -> Sequence[PicturedFailure]:
        """The newest first; rows that do not fit are nobody's. Fetches all only where the newest has changed."""
        newest = of_type(self.client, {FAILURES: "list"}, lambda: self.client.lindex(FAILURES, 0)) or b""
        if newest != self._newest:
            found = []
            for row in self.client.lrange(FAILURES, 0, MOST_FAILURES - 1):
                if len(row) <= ROW_BYTES:
                    with suppress(ValidationError):
                        found.append(PicturedFailure.model_validate_json(row))
            self._newest, self._read = newest, found
        return self._read
