"""Commands: settings from the command line, mistakes reported in one line each, and how a command ends."""

import sys
from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console

from grasp_client.cli.input_files import read_gripper
from grasp_client.contract import Gripper, plain_message
from sim_worker.processes import exit_status

Settings = TypeVar("Settings", bound=BaseSettings)


def options_of(program: str) -> SettingsConfigDict:
    """The `model_config` of a command's settings."""
    return SettingsConfigDict(
        cli_prog_name=f"python -m {program}",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        protected_namespaces=(),
    )


def finish(name: str, work: Callable[[], None], when_stopped: str = "") -> int:
    """Does the work of a command; its exit status. Errors that a user can mend are reported in one line."""
    try:
        work()
    except (ValueError, RuntimeError, OSError) as error:
        Console(stderr=True).print(f"{name}: {error}", style="red", markup=False)
        return 2
    except KeyboardInterrupt as stopped:
        if when_stopped:
            print(when_stopped)
        return exit_status(stopped)
    return 0


def gripper_of(given: str | None) -> Gripper:
    """The gripper of this name, or whose sizes a JSON file gives; none: the Franka Panda hand. Raises OSError or ValueError."""
    return read_gripper(given) if given else Gripper()


def settings_of(command: type[Settings]) -> Settings:
    """Read them. A wrong or missing option ends the process with status 2 and says which and why."""
    try:
        return CliApp.run(command)
    except ValidationError as error:
        for problem in error.errors():
            if not problem["loc"]:  # of options that do not go together
                print(plain_message(problem), file=sys.stderr)
                continue
            name = "--" + str(problem["loc"][0]).replace("_", "-")
            given = "" if problem["type"] == "missing" else f", got {problem['input']!r}"
            print(f"{name}: {plain_message(problem)}{given}", file=sys.stderr)
        print("try --help", file=sys.stderr)
        sys.exit(2)
