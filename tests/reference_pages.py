"""The reference pages that follow from the code: `python -m tests.reference_pages` (`make reference`) writes them.

Settings, commands, metrics and the Python client. `test_reference_pages.py` fails where a page is not what the code says.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from prometheus_client.metrics import MetricWrapperBase
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
GENERATED = "<!-- Made by `make reference` from the code: change the code, not this page. -->"
SERVICES = (
    ("Server", "ServerSettings", "grasploop serve"),
    ("Simulation worker", "WorkerSettings", "grasploop worker"),
    ("Trainer", "TrainerSettings", "grasploop trainer"),
    ("`make run`", "LocalSettings", "grasploop run"),
)
METHODS = ("GraspClient", "AsyncGraspClient", "Servo")


def page(title: str, intro: str, *parts: str) -> str:
    return "\n".join([f"# {title}", "", GENERATED, "", intro, *parts]).rstrip() + "\n"


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = [
        columns,
        ("---",) * len(columns),
        *(tuple(cell.replace("|", "\\|").replace("<", "&lt;") for cell in row) for row in rows),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"


def settings() -> str:
    """Every setting of every service, with its default and its description."""
    import shared.settings as found

    common = found.ServiceSettings
    parts = ["## All services", "", table(("variable", "default", ""), list(_fields(common, ())))]
    for title, name, command in SERVICES:
        kind = getattr(found, name)
        skipped = tuple(common.model_fields) if issubclass(kind, common) else ()
        parts += [f"## {title}", "", f"`{command} --help` lists the same.", ""]
        parts.append(table(("variable", "default", ""), list(_fields(kind, skipped))))
    intro = (
        "Each setting is a variable of the environment, a line in `.env`, a file in `/run/secrets`, or an option of a\n"
        "service's command (`QUEUE_SIZE` is `--queue-size`). The command line counts most, then the\n"
        "environment, `.env`, the secrets.\n"
        "`.env.example` names those that people change most."
    )
    return page("Settings", intro, "", *parts)


def _fields(kind: type[BaseSettings], skipped: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in kind.model_fields.items():
        if name not in skipped:
            yield f"`{name.upper()}`", _default(field.default), (field.description or "")


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "by the machine"
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"`{value.value if isinstance(value, Enum) else value}`"


def commands() -> str:
    """The commands of `grasploop` and the verbs of make."""
    from grasp_client.cli.main import KNOWN

    rows = [
        (f"`grasploop {name}`", known.description, f"`grasploop[{known.extra}]`" if known.extra else "`grasploop-client`")
        for name, known in KNOWN.items()
    ]
    verbs = re.findall(r"^([a-z-]+):.*## (.*)$", (ROOT / "Makefile").read_text(), re.M)
    intro = "Every command says its options with `--help`. In a clone they are in `.venv/bin/` after `make run`."
    return page(
        "Command line",
        intro,
        "",
        table(("command", "", "comes with"), rows),
        "## make",
        "",
        "In a clone; each sets up what it needs.",
        "",
        table(("verb", ""), [(f"`make {name}`", text) for name, text in verbs]),
    )


def metrics() -> str:
    """Every series of `GET /metrics`."""
    from inference_server.loop_watch import LoopWatch
    from inference_server.metrics import Metrics

    rows = []
    for series in Metrics().registry._collector_to_names:
        if isinstance(series, MetricWrapperBase):
            rows.append((f"`{series._name}`", series._type, ", ".join(series._labelnames), series._documentation))
    for family in LoopWatch(Path("none"), "redis://127.0.0.1:1/0").collect():  # it looks at nothing before it is started
        labels = sorted({label for sample in family.samples for label in sample.labels})
        rows.append((f"`{family.name}`", family.type, ", ".join(labels), family.documentation))
    rows.sort()
    intro = (
        "`GET /metrics` is Prometheus text. A counter's series ends in `_total`, a histogram's in `_bucket`, `_sum` and\n"
        "`_count`. Series of the process (`process_...`) and of Python come with them.\n"
        "[Monitor the services](../how_to/monitor.md) says which are worth an alert."
    )
    return page("Metrics", intro, "", table(("series", "type", "labels", ""), rows))


def python() -> str:
    """What `grasp_client` exports, with signatures and docstrings."""
    import grasp_client

    parts = []
    for name in sorted(grasp_client.__all__, key=str.lower):
        thing = getattr(grasp_client, name)
        if not callable(thing):
            parts += [f"## {name}", "", f"`{thing!r}`", ""]
            continue
        parts += [f"## {name}", "", *_described(thing)]
        for method, function in _methods(thing) if name in METHODS else ():
            parts += [f"### {name}.{method}", "", *_described(function)]
    intro = (
        "`pip install ./grasp_client`, Python 3.10 or newer. Options of `predict_grasp` are those of the\n"
        "[HTTP interface](http.md#request-options); `grasp_client.options` types them. `AsyncGraspClient` has the same\n"
        "methods, to be awaited."
    )
    return page("Python client", intro, "", *parts)


def _methods(kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, function in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_") and inspect.getdoc(function):
            yield name, function


def _described(thing: Any) -> list[str]:
    """The signature, and the docstring as it stands."""
    lines = []
    if inspect.isfunction(thing):
        lines = ["```python", f"{thing.__name__}{_signature(thing)}", "```", ""]
    text = (inspect.getdoc(thing) or "").replace("<", "&lt;")
    return [*lines, text, ""] if text else lines


def _signature(function: Callable[..., Any]) -> str:
    text = re.sub(r"'([^']*)'", r"\1", str(inspect.signature(function)))
    return text.replace("(self, ", "(").replace("(self)", "()").replace("grasp_client.contract.", "")


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings,
    "command_line.md": commands,
    "metrics.md": metrics,
    "python.md": python,
}


def main() -> None:
    for name, made in PAGES.items():
        (REFERENCE / name).write_text(made())
        print(REFERENCE / name)


if __name__ == "__main__":
    main()
