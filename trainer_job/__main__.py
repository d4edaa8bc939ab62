"""The trainer.

    python -m trainer_job --redis-url redis://127.0.0.1:6379/0 [--data-dir data] [--models-dir data/models] [--help]
    torchrun --nproc-per-node=2 -m trainer_job ...     # several processes, one GPU each where there are GPUs

Every option is also an environment variable of the same name in capitals.
"""

import logging
import threading

from shared.logs import setup
from shared.retrying import stop_on_signals
from shared.settings import TrainerSettings


def main() -> None:
    settings = TrainerSettings(_cli_parse_args=True, _cli_prog_name="python -m trainer_job")
    setup("trainer_job", settings.log_level, settings.log_format)
    from trainer_job.service import trainer  # torch takes seconds to load: not for --help
    from trainer_job.training import distributed

    stop = threading.Event()
    stop_on_signals(stop)
    ranks = distributed.join(settings.torch_threads)
    logging.getLogger(__name__).info(
        "trainer starts", extra={"rank": ranks.rank, "world": ranks.world, "device": str(ranks.device)}
    )
    trainer.run(settings, ranks, stop)
    distributed.leave()


if __name__ == "__main__":
    main()
