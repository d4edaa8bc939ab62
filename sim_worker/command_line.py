"""Settings from the command line, with mistakes told in one line each."""

from __future__ import annotations

import sys
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, CliApp

Settings = TypeVar("Settings", bound=BaseSettings)


def settings_of(command: type[Settings]) -> Settings:
    """Read them. A wrong or missing option ends the process with status 2 and says which and why."""
    try:
        return CliApp.run(command)
    except ValidationError as error:
        for problem in error.errors():
            name = "--" + str(problem["loc"][0]).replace("_", "-")
            given = "" if problem["type"] == "missing" else f", got {problem['input']!r}"
            print(f"{name}: {problem['msg']}{given}", file=sys.stderr)
        print("try --help", file=sys.stderr)
        sys.exit(2)
