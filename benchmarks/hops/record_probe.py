"""Run a module as `python -m` does and note when an outcome becomes JSON or is parsed: `python record_probe.py MODULE RESULT`.

A program of its own that imports nothing of the project, so that it can look into any tree on PYTHONPATH. An outcome is known
by a field that every outcome's record has and nothing else on this way. RESULT: file of JSON lines {"what", "by", "where",
"time"}.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pydantic_core

MARK = "contact_rule"
LIBRARIES = frozenset({"json", "pydantic", "pydantic_core"})


class Notes:
    """Lines of what was seen, written at once: the process may be killed."""

    def __init__(self, path: Path):
        self.path = path
        path.touch()

    def saw(self, what: str, by: str, text: Any) -> None:
        """Note it when `text` (str or bytes; anything else is not JSON) is of an outcome."""
        if isinstance(text, str | bytes | bytearray | memoryview) and MARK.encode() in _bytes(text):
            line = {"what": what, "by": by, "where": _caller(), "time": time.time()}
            with open(self.path, "a") as file:
                file.write(_dumps(line) + "\n")

    def making(self, by: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its result noted as a serialisation."""

        def wrapped(*arguments: Any, **options: Any) -> Any:
            text = function(*arguments, **options)
            self.saw("serialised", by, text)
            return text

        return wrapped

    def reading(self, by: str, function: Callable[..., Any], position: int) -> Callable[..., Any]:
        """The function, with its argument at a position noted as parsed."""

        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.saw("parsed", by, arguments[position] if len(arguments) > position else None)
            return function(*arguments, **options)

        return wrapped


_dumps = json.dumps


def _bytes(text: Any) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)


def _caller() -> str:
    """File and line of the first frame that is neither of this module nor of a library of JSON."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = frame.f_globals.get("__name__", "")
        if frame.f_code.co_filename != __file__ and name.split(".")[0] not in LIBRARIES:
            break
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def patch(notes: Notes) -> None:
    """Put the notes between the project and everything that makes or reads JSON; before the project is imported."""
    model, adapter = pydantic.BaseModel, pydantic.TypeAdapter
    json.dumps = notes.making("json.dumps", json.dumps)
    json.loads = notes.reading("json.loads", json.loads, 0)
    pydantic_core.to_json = notes.making("to_json", pydantic_core.to_json)
    pydantic_core.from_json = notes.reading("from_json", pydantic_core.from_json, 0)
    model.model_dump_json = notes.making("model_dump_json", model.model_dump_json)  # type: ignore[method-assign]
    validate = notes.reading("model_validate_json", model.model_validate_json.__func__, 1)  # type: ignore[attr-defined]
    model.model_validate_json = classmethod(validate)  # type: ignore[assignment]
    adapter.dump_json = notes.making("dump_json", adapter.dump_json)  # type: ignore[method-assign]
    adapter.validate_json = notes.reading("validate_json", adapter.validate_json, 1)  # type: ignore[method-assign]


def main() -> None:
    module, result = sys.argv[1:]
    patch(Notes(Path(result)))
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
