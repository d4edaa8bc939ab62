"""One process's share of the outcome streams, a thread for each."""

import fcntl
import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import redis

from grasp_client.contract import SceneRef
from shared.retrying import Troubles
from shared.settings import TrainerSettings
from shared.streams import FailureStore, OutcomeStream, stream_names
from trainer_job.ingest.failure_pictures import FailurePictures
from trainer_job.ingest.ingest import Ingest, IngestThread
from trainer_job.ingest.marks import stored
from trainer_job.ingest.quarantine import check_shards

LIVING = 50_000
"""Objects made and not gone before the youngest are looked through for cycles: outcomes in hand have none, and looking took a
fifth of the time."""


class IngestThreads:
    """Stores the outcomes of every stream whose number is `part` modulo the ingest processes. Part 0 is the trainer's.

    Raises ShardError where a shard is damaged that part 0 has not set aside yet, and SystemExit for settings that do not fit.
    """

    name = "ingest"

    def __init__(
        self, client: redis.Redis, settings: TrainerSettings, issued: Callable[[SceneRef], bool], part: int, troubles: Troubles
    ) -> None:
        self.directory = settings.data_dir / "shards"
        self.streams = [OutcomeStream(client, name) for name in stream_names(settings.outcome_streams)]
        if part == 0:
            check_shards(self.directory)
        marks, how = stored(self.directory), (settings.shard_outcomes, settings.shard_seconds, issued)
        watch = FailurePictures(FailureStore(client)).look
        self.ingests = [
            Ingest(self.streams[number], self.directory, *how, owner=str(number) if number else "", marks=marks, watch=watch)
            for number in numbers_of(settings, part)
        ]
        self._usual = gc.get_threshold()
        self._threads = [IngestThread(ingest, troubles) for ingest in self.ingests]

    def start(self) -> None:
        gc.freeze()  # what is loaded stays
        gc.set_threshold(LIVING, *self._usual[1:])
        for thread in self._threads:
            thread.start()

    def is_alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Ends the threads and stores what is in hand; what cannot be stored is delivered again at the next start."""
        for thread in self._threads:
            thread.stop()
        gc.set_threshold(*self._usual)
        gc.unfreeze()

    def lag(self) -> int:
        """Entries of all streams, those of other processes too, that are not stored yet."""
        return sum(stream.lag() + stream.pending() for stream in self.streams)

    def status(self) -> dict[str, Any]:
        """What was dropped and set aside since this process started, and what is not known here."""
        return {
            "duplicates": sum(ingest.duplicates for ingest in self.ingests),
            "dead_letters": sum(ingest.dead_letters for ingest in self.ingests),
            "unknown_kinds": dict(sum((ingest.unknown_kinds for ingest in self.ingests), Counter[str]())),
        }


def numbers_of(settings: TrainerSettings, part: int) -> range:
    """The streams of an ingest process. Raises SystemExit where there are none."""
    numbers = range(part, settings.outcome_streams, settings.ingest_processes)
    if part >= settings.ingest_processes or not numbers:
        raise SystemExit(
            f"ingest process {part} of {settings.ingest_processes} has none of {settings.outcome_streams} outcome streams: "
            "expected INGEST_PROCESSES to be at most OUTCOME_STREAMS, and parts from 0 below it"
        )
    return numbers


@contextmanager
def only_ingest(settings: TrainerSettings, part: int) -> Iterator[None]:
    """Holds the streams of an ingest process; the system lets go of them even when it is killed."""
    with ExitStack() as locks:
        for number in numbers_of(settings, part):
            lock = locks.enter_context(open(settings.data_dir / f"ingest-{number}.lock", "w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SystemExit(f"another process stores outcome stream {number} in {settings.data_dir}: stop it") from None
        yield
