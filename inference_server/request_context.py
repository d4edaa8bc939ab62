"""One request, or a part of one, on its way to a planner."""

from dataclasses import dataclass, field

from inference_server.batching.batcher import QueueSlot


@dataclass(frozen=True)
class RequestContext:
    """A request, or a part of one, that has a place in the queue. Times are time.monotonic().

    stages: name to start and seconds of what has been done for it. owner: whose plan it will be.
    """

    id: str
    slot: QueueSlot
    started: float
    deadline: float
    owner: str = field(default="", kw_only=True)
    stages: dict[str, tuple[float, float]] = field(default_factory=dict, kw_only=True)
