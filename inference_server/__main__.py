"""Serve grasps over HTTP: `python -m inference_server --port 8000`.

Every option is also an environment variable (PORT, REDIS_URL, API_KEYS, ...), a line in .env, or a file in /run/secrets.
SIGTERM and Ctrl-C drain: no new connections, accepted requests are answered, then the process ends.
"""

import logging
import signal
import sys

from pydantic_settings import CliApp

from inference_server import http_server
from inference_server.app import create_app
from inference_server.security.auth import check_exposure
from shared import logs
from shared.freed_memory import keep_freed_memory
from shared.settings import ServerSettings

logger = logging.getLogger("inference_server")

SWITCH_SECONDS = 0.001
"""Python threads hand over at least this often (default 5 ms), so that the event loop answers while a batch is computed."""


class Command(ServerSettings):
    __doc__ = __doc__

    def cli_cmd(self) -> None:
        serve(self)


def serve(settings: ServerSettings) -> None:
    """Run until SIGTERM or SIGINT. Exits with status 2 and a message for settings that cannot work."""
    logs.setup("inference_server", settings.log_level, settings.log_format)
    keep_freed_memory()
    try:
        check_exposure(settings)
        app = create_app(settings)
    except ValueError as error:
        logger.error("%s", error)
        sys.exit(2)
    sys.setswitchinterval(SWITCH_SECONDS)
    # uvicorn drains, then raises the signal again: end with status 0, as after any orderly stop.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    http_server.run(app, settings)


def main() -> None:
    CliApp.run(Command)


if __name__ == "__main__":
    main()
