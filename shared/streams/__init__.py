"""Redis streams: outcomes from the workers to the trainer, scene requests from the trainer to the workers.

Only commands that Redis 7 and Valkey both know. An outcome is delivered at least once; its id lets the reader drop
repeats. Nothing unread or unacknowledged is ever trimmed.
"""

from shared.streams.failures import FailureStore, PicturedFailure, RecentFailure
from shared.streams.group import connect, of_type, redacted
from shared.streams.outcomes import Delivered, OutcomeSender, OutcomeStream, StreamEntry, stream_names
from shared.streams.scene_requests import SceneRequestStream
from shared.streams.worker_status import TRAINERS, WorkerStatusStore

__all__ = [
    "TRAINERS",
    "Delivered",
    "FailureStore",
    "OutcomeSender",
    "OutcomeStream",
    "PicturedFailure",
    "RecentFailure",
    "SceneRequestStream",
    "StreamEntry",
    "WorkerStatusStore",
    "connect",
    "of_type",
    "redacted",
    "stream_names",
]
