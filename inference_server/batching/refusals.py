"""Why a request is not answered: each says what to do about it."""

import math

from inference_server.batching.latency_estimator import CAUTION
from inference_server.errors import ServerError


def expired() -> ServerError:
    return ServerError(
        504, "deadline", "the deadline passed before there was an answer; send a longer X-Deadline-Ms or come back later"
    )


def draining() -> ServerError:
    return ServerError(
        503, "draining", "the server is shutting down; send the request to another one, or again later", retry_after=2
    )


def late(ahead: int, wait: float, left: float) -> ServerError:
    message = (
        f"about {ahead} requests come first, which takes {wait:.1f} to {CAUTION * wait:.1f} s, but the answer is wanted within "
        f"{left:.1f} s; send the request again after Retry-After seconds, or with a longer X-Deadline-Ms"
    )
    return ServerError(429, "deadline_unreachable", message, retry_after=_whole(CAUTION * wait - left))


def too_expensive(cost: float, most: float, left: float) -> ServerError:
    message = (
        f"this would take about {cost:.1f} s of the server's processor; {most:g} s are given to a request, and the answer is "
        f"wanted within {left:.1f} s. Send a smaller image, fewer grasps, `camera`, or ask for a quicker planner: "
        "GET /planners says what each takes"
    )
    return ServerError(422, "too_expensive", message, detail={"cpu_seconds": round(cost, 3), "most": most})


def _whole(seconds: float) -> int:
    """A Retry-After of 1 to 30."""
    return min(30, max(1, math.ceil(seconds)))


def full(size: int, wait: float) -> ServerError:
    message = f"the queue is full ({size} requests); send the request again after Retry-After seconds"
    return ServerError(429, "queue_full", message, retry_after=_whole(wait))
