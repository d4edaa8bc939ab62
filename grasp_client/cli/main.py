"""`grasploop COMMAND ...`: finds the command among the installed distributions, imports it, and calls it.

A command is an entry point of the group `grasploop.commands`: like a console script, a callable without arguments that reads
its options from `sys.argv` and returns its exit status (or None for 0). `sys.argv[0]` is `grasploop COMMAND`.
"""

import difflib
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points, version
from importlib.util import find_spec
from typing import NamedTuple

GROUP = "grasploop.commands"
_USAGE = "usage: grasploop [--help] [--version] COMMAND [options]"


class KnownCommand(NamedTuple):
    """description: one line. extra: of the distribution `grasploop`, with what the command imports; None: the client's own."""

    description: str
    extra: str | None


KNOWN = {
    "predict": KnownCommand("send an image to a server, print its grasps, draw them", None),
    "doctor": KnownCommand("check what is installed, running and in the way", None),
    "mcp": KnownCommand("offer the client's calls as tools of the Model Context Protocol", "mcp"),
    "run": KnownCommand("run the whole loop on this machine: queue, server, workers, trainer", "local"),
    "serve": KnownCommand("serve grasps over HTTP", "server"),
    "worker": KnownCommand("grasp in simulation what a server plans, and report the outcomes", "sim"),
    "trainer": KnownCommand("train on outcomes as they arrive, and promote what grasps better", "trainer"),
    "collect": KnownCommand("collect labelled grasps in simulation", "sim"),
    "collect-rgb": KnownCommand("collect colour windows with true heights and tried grasps", "sim"),
    "benchmark": KnownCommand("measure planners in simulation, on the same scenes", "sim"),
    "train": KnownCommand("train a network by a recipe", "trainer"),
    "finetune": KnownCommand("train on objects and a gripper of your own, and measure what it gained", "local"),
    "analyze": KnownCommand("examine a trained network: curves, calibration, mistakes", "trainer"),
    "evaluate": KnownCommand("play episodes of a policy that acts step by step", "rl"),
    "teleop": KnownCommand("steer a simulated hand, and record what a policy can start from", "rl"),
    "history": KnownCommand("show the versions of a model and what came of them", "trainer"),
    "import-weights": KnownCommand("import weights that others trained into the registry", "trainer"),
    "export-release": KnownCommand("copy champions into a registry that ships", "trainer"),
    "pretrain": KnownCommand("make every model that ships, from seeds", "local"),
}
"""The commands of GraspLoop's own distributions, so that those that are not installed can be named."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names; the exit status. 2: there is no such command, or it is not installed."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    # The metadata of every installed package is read, and no command imported.
    installed = {entry.name: entry for entry in entry_points(group=GROUP)}
    if not given:
        print(_USAGE, "`grasploop --help` lists the commands", sep="\n", file=sys.stderr)
        return 2
    name, *options = given
    if name in ("-h", "--help"):
        print(_help(installed))
        return 0
    if name == "--version":
        print(f"grasploop-client {version('grasploop-client')}")
        return 0
    if name in installed:
        return _run(installed[name], options)
    if name in KNOWN:
        return _fail(f"grasploop {name} is not installed here{_advice(name)}")
    return _fail(f"grasploop has no command {name!r}{_nearest(name, installed)}`grasploop --help` lists them")


def _run(entry: EntryPoint, options: list[str]) -> int:
    sys.argv = [f"grasploop {entry.name}", *options]
    try:
        status: int | None = entry.load()()
    except ModuleNotFoundError as error:
        absent = (error.name or "").partition(".")[0]
        if error.name == entry.module:  # as in an image that holds one service
            return _fail(f"grasploop {entry.name} is not installed here{_advice(entry.name)}")
        # A package that is there but lacks a module is broken, which a traceback shows best.
        if not absent or find_spec(absent) is not None:
            raise
        return _fail(f"grasploop {entry.name} needs {absent}, which is not installed here{_advice(entry.name)}")
    return status or 0


def _help(installed: Mapping[str, EntryPoint]) -> str:
    described = {name: command.description for name, command in KNOWN.items()}
    described |= {name: f"of {entry.value}" for name, entry in installed.items() if name not in KNOWN}
    width = max(map(len, described))
    lines = [_USAGE, "", "Grasp planning as a service that gets better by grasping.", "", "commands:"]
    lines += [f"  {name:{width}}  {text}" for name, text in described.items() if name in installed]
    absent = {name: KNOWN[name] for name in KNOWN if name not in installed}
    if absent:
        lines += ["", "not installed here:"]
        lines += [f"  {name:{width}}  {command.description} [{command.extra}]" for name, command in absent.items()]
        lines.append('pip install "grasploop[EXTRA]" brings them, with the word in brackets as EXTRA.')
    return "\n".join([*lines, "", "`grasploop COMMAND --help` lists the options of a command."])


def _advice(name: str) -> str:
    command = KNOWN.get(name)
    return f': pip install "grasploop[{command.extra}]" brings it' if command and command.extra else ""


def _nearest(name: str, installed: Mapping[str, EntryPoint]) -> str:
    near = difflib.get_close_matches(name, {*KNOWN, *installed}, n=1)
    return f", did you mean {near[0]!r}? " if near else "; "


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
