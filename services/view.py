"""What a person sees of `make run`: a live table on a terminal, plain lines elsewhere."""

import time
from collections import deque
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from services.process import ManagedProcess
from services.status import Status

LINES_KEPT = 8
LINE_SECONDS = 10.0


class StatusDisplay(Protocol):
    def say(self, line: str) -> None:
        """Show that something happened."""

    def show(self, children: list[ManagedProcess], status: Status) -> None:
        """Show how things are now."""

    def close(self) -> None:
        """Leave the terminal as it was found."""


def success_text(status: Status) -> str:
    """Success rates of the last best grasps with their 95 % Wilson intervals, in simulation and of robots."""
    rates = [
        f"{rate['rate']:.0%} [{rate['low']:.0%}, {rate['high']:.0%}] of the last {rate['attempts']} {where}"
        for rate, where in ((status.simulated, "in simulation"), (status.robots, "of robots"))
        if rate["attempts"]
    ]
    return ", ".join(rates) or "none stored yet"


def learning_text(status: Status) -> str:
    """What the trainer does, and what it lacks to replace a champion."""
    trainer = status.trainer
    if not trainer:
        return "the trainer is silent"
    lacks = trainer["held_out"] < trainer["held_out_needed"]
    held_out = f"held out {trainer['held_out']} of {trainer['held_out_needed']} needed" if lacks else ""
    return "; ".join(filter(None, (trainer["trouble"], trainer["state"], held_out, trainer["note"])))


def champions_text(status: Status) -> str:
    """Champion of the model that is learned and how many others there are; all of them while the trainer is silent."""
    learned = status.trainer.get("model", "")
    if learned in status.champions:
        others = len(status.champions) - 1
        return f"{learned} v{status.champions[learned]}" + (f", {others} of other models" if others else "")
    return ", ".join(f"{name} v{version}" for name, version in status.champions.items()) or "none yet"


def queue_text(status: Status) -> str:
    return "away" if status.lag is None else f"{status.lag} waiting"


def dataset_text(status: Status) -> str:
    """How many outcomes are stored, and how many were and had to go."""
    if not status.trainer.get("removed"):
        return str(status.stored)
    return f"{status.stored}, {status.trainer['removed']} removed to keep {status.trainer['kept_bytes'] / 1e9:.1f} GB"


class LineDisplay:
    """One line when something happens, and one with all figures every ten seconds."""

    def __init__(self, url: str):
        self.url = url
        self._shown_at = time.monotonic()

    def say(self, line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)

    def show(self, children: list[ManagedProcess], status: Status) -> None:
        if time.monotonic() - self._shown_at < LINE_SECONDS:
            return
        self._shown_at = time.monotonic()
        attempts = sum(line["attempts"] for line in status.workers.values())
        self.say(
            f"workers={len(status.workers)} attempts={attempts} success={success_text(status)} "
            f"champion={champions_text(status)} queue={queue_text(status)} dataset={dataset_text(status)} "
            f"learning={learning_text(status)} decided={status.decided or 'nothing yet'} url={self.url}"
        )
        for name, line in status.workers.items():
            if line["trouble"]:
                self.say(f"{name}: {line['trouble']}")

    def close(self) -> None:
        pass


class LiveDisplay:
    """A table that stays in place, with the last events under it."""

    def __init__(self, url: str, console: Console | None = None):
        self.url = url
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._table: RenderableType = Text("starting ...")
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._live.start()

    def say(self, line: str) -> None:
        self._lines.append(f"{time.strftime('%H:%M:%S')} {line}")
        self._draw()

    def show(self, children: list[ManagedProcess], status: Status) -> None:
        self._table = Group(self._figures(status), self._processes(children, status))
        self._draw()

    def close(self) -> None:
        self._live.stop()

    def _draw(self) -> None:
        self._live.update(Group(self._table, Text("\n".join(self._lines), style="dim")), refresh=True)

    def _figures(self, status: Status) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_row("server", Text(self.url, style="bold cyan"))
        table.add_row("success", Text(success_text(status), style="bold green"))
        table.add_row("champion", Text(champions_text(status), style="bold"))
        table.add_row("learning", Text(learning_text(status)))
        table.add_row("decided", Text(status.decided or "nothing yet"))
        table.add_row("dataset", f"outcomes stored: {dataset_text(status)}; queue: {queue_text(status)}")
        return table

    def _processes(self, children: list[ManagedProcess], status: Status) -> Table:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for column in ("process", "state", "restarts", "attempts", "success"):
            table.add_column(column, justify="left" if column in ("process", "state") else "right")
        for child in children:
            line = next((line for name, line in status.workers.items() if name.startswith(child.spec.name)), {})
            attempts = line.get("attempts")
            rate = f"{line['successes'] / attempts:.0%}" if attempts else ""
            table.add_row(child.spec.name, _state(child, line), str(child.restarts or ""), str(attempts or ""), rate)
        return table


def _state(child: ManagedProcess, line: dict[str, Any]) -> Text:
    if child.finished:
        return Text("finished", style="green")
    if child.process is None:
        return Text("waiting", style="dim")
    if not child.alive:
        return Text("down", style="bold red")
    if not child.was_ready:
        return Text("starting", style="yellow")
    if line.get("trouble"):
        return Text(line["trouble"], style="bold red")
    return Text(line.get("state", "running"), style="green")


def choose_display(url: str) -> StatusDisplay:
    """The live view on a terminal, plain lines where the output goes into a file or a pipe."""
    console = Console()
    return LiveDisplay(url, console) if console.is_terminal else LineDisplay(url)
