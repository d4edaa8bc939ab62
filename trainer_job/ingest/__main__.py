"""Another process that stores outcomes in the trainer's data folder, for one of its cores is not enough.

    OUTCOME_STREAMS=2 INGEST_PROCESSES=2 python -m trainer_job.ingest --part 1 --redis-url redis://... --data-dir data

The trainer is part 0. Workers need the same OUTCOME_STREAMS. Other options are the trainer's.
"""

import logging
import threading

from pydantic import Field
from pydantic_settings import CliApp, SettingsConfigDict

from shared.durable import keep_private
from shared.logs import setup
from shared.retrying import Troubles, stop_on_signals
from shared.settings import TrainerSettings
from shared.streams import connect
from trainer_job.ingest.threads import IngestThreads, only_ingest
from trainer_job.promotion.evidence import KEY_FILE, RequestSigner

log = logging.getLogger(__name__)


class IngestCommand(TrainerSettings):
    """Stores the outcomes of some of the streams, beside the trainer."""

    model_config = SettingsConfigDict(cli_prog_name="python -m trainer_job.ingest")

    part: int = Field(1, ge=1, le=63, description="which of the ingest processes this is; 0 is the trainer")


def main() -> None:
    settings = CliApp.run(IngestCommand)
    setup("ingest", settings.log_level, settings.log_format)
    if settings.redis_url is None:
        raise SystemExit("ingest needs the queue: set REDIS_URL or --redis-url, e.g. redis://127.0.0.1:6379/0")
    stop = threading.Event()
    stop_on_signals(stop)
    keep_private(settings.data_dir)
    with only_ingest(settings, settings.part):
        while not (settings.data_dir / KEY_FILE).exists() and not stop.wait(0.5):
            pass  # the trainer makes it
        signer = RequestSigner.of(settings.data_dir)
        threads = IngestThreads(connect(settings.redis_url), settings, signer.issued, settings.part, Troubles())
        threads.start()
        log.info("ingest starts", extra={"part": settings.part, "of": settings.ingest_processes})
        while not stop.wait(0.5):
            if not threads.is_alive():
                raise SystemExit("a thread of ingest has died; see the log above")
        threads.stop()


if __name__ == "__main__":
    main()
