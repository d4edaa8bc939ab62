"""Structured logs: one JSON object a line, or plain text on a terminal, with the request id where there is one."""

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import datetime, timezone

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the request being served; log records made while it is set carry it."""

_UVICORN_COPY = "color_message"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", _UVICORN_COPY}


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and not key.startswith("_")}


class JsonFormatter(logging.Formatter):
    """Time (UTC), level, service, logger, message, request id, and whatever `extra=` gave."""

    def __init__(self, service: str):
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id.get():
            entry["request_id"] = request_id.get()
        entry.update(_extras(record))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class TextFormatter(logging.Formatter):
    """The same for people: time, level, message, then key=value."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        extras = "".join(f" {key}={_quoted(str(value))}" for key, value in _extras(record).items())
        lines = [f"{time} {record.levelname.lower():7} {_printable(record.getMessage())}{_printable(extras)}"]
        if record.exc_info:
            lines += [f"  {_printable(line)}" for line in self.formatException(record.exc_info).split("\n")]
        return "\n".join(lines)


def _printable(text: str) -> str:
    """Without what would begin a line of its own or steer a terminal: paths, ids and headers are whatever somebody sent."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _quoted(text: str) -> str:
    """In quotes where it could be taken for more than one value."""
    return json.dumps(text) if re.search(r"[\s=\"]", text) else text


def setup(service: str, level: str = "info", log_format: str = "auto") -> None:
    """Send all logs of this process to standard error; `auto` is text on a terminal and JSON elsewhere."""
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if text else JsonFormatter(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
