"""How a candidate is tested, as the trainer tells the server and people."""

import hmac
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class AbTestState(BaseModel):
    """How a candidate is being compared with the champion: in simulated trials, or by the grasps that robots report."""

    model_config = ConfigDict(extra="ignore")

    champion: int
    candidate: int
    how: Literal["simulated", "served"]
    share: float = Field(0.0, ge=0, le=1, description="of the requests, that the candidate shall answer")
    key: str = Field("", max_length=128, description="secret: with a request's id it decides which version answers")
    after: int = Field(0, ge=0, description="number of the newest shard of outcomes when the test began")
    text: str = Field("", description="how far it is, for people")


def asks_candidate(request_id: str, share: float, key: str) -> bool:
    """Whether a request is of the share that the candidate answers: always the same for one id and one key, so a repeated
    request meets the same version. Clients choose ids: without the secret key nobody can choose a version by them."""
    digest = hmac.digest(key.encode(), request_id.encode(errors="replace"), "sha256")
    return int.from_bytes(digest[:4], "big") < share * 2**32
