"""Health check of a container: `python healthy.py inference_server|sim_worker|trainer_job`; exit status 0 means healthy.

The server is asked itself; worker and trainer are healthy when they have spoken to the queue lately.
"""

import os
import socket
import sys
import urllib.request

# Imports stand where they are needed: this runs often, and the server's check needs none of them.
SILENCE_SECONDS = 90
"""Longer than the slowest scene and the longest blocking read."""


def inference_server() -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{os.environ['PORT']}/ready", timeout=4) as reply:
        return bool(reply.status == 200)


def sim_worker() -> bool:
    from shared.settings import ServiceSettings
    from shared.streams import WorkerStatusStore, connect

    board = WorkerStatusStore(connect(ServiceSettings().redis_url or "")).read(max_age_seconds=SILENCE_SECONDS)
    return any(name.startswith(socket.gethostname()) for name in board)


def trainer_job() -> bool:
    from shared.settings import ServiceSettings
    from shared.streams import OutcomeStream, connect

    outcomes = OutcomeStream(connect(ServiceSettings().redis_url or ""))
    consumers = outcomes.client.xinfo_consumers(outcomes.stream, outcomes.group)
    return any(consumer["idle"] < SILENCE_SECONDS * 1000 for consumer in consumers)


if __name__ == "__main__":
    checks = {check.__name__: check for check in (inference_server, sim_worker, trainer_job)}
    sys.exit(not checks[sys.argv[1]]())
