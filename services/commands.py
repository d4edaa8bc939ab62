"""Commands of `grasploop` whose services take their settings as an argument: each reads them from the command line.

A service's packages are imported by its own command alone: an image or environment need not hold the others.
"""

from __future__ import annotations


def serve() -> None:
    from pydantic_settings import CliApp

    from inference_server.__main__ import Command

    CliApp.run(Command)


def worker() -> int:
    from sim_worker.__main__ import WorkerCommand, main
    from sim_worker.command_line import settings_of

    return main(settings_of(WorkerCommand))


def collect() -> int:
    from sim_worker.collect.command import CollectSettings, main
    from sim_worker.command_line import settings_of

    return main(settings_of(CollectSettings))


def collect_rgb() -> int:
    from sim_worker.collect.rgb_windows import RgbWindowSettings, main
    from sim_worker.command_line import settings_of

    return main(settings_of(RgbWindowSettings))


def benchmark() -> int:
    from sim_worker.benchmark.command import BenchmarkSettings, main
    from sim_worker.command_line import settings_of

    return main(settings_of(BenchmarkSettings))
