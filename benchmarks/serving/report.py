"""The figures as tables on the terminal and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

OURS = "grasploop"


def show(console: Console, figures: dict[str, Any]) -> None:
    for part, print_part in _PARTS.items():
        if part in figures:
            print_part(console, figures[part])


def _overhead(console: Console, rows: dict[str, dict[str, Any]]) -> None:
    table = Table("server", "planner", "overhead p50 ms", "p95", "reply p50 ms", "n", "stages, p50 ms", title="One client")
    for name, row in rows.items():
        server, planner = name.split(" ")
        stages = ", ".join(f"{stage} {value:.2f}" for stage, value in row["stages"].items())
        table.add_row(server, planner, *(f"{row[key]:.2f}" for key in ("p50", "p95", "reply_p50")), str(row["n"]), stages)
    console.print(table)


def _loop(console: Console, title: str, unit: str, servers: dict[str, dict[str, dict[str, Any]]]) -> None:
    columns = ("server", unit, "answered/s", "p50 ms", "p95", "p99", "n", "not 200", "x plain", "CPU ms each", "batches")
    table = Table(*columns, title=title)
    for name, rows in servers.items():
        for load, row in rows.items():
            plain = servers.get("plain", {}).get(load, {}).get("per_second", 0.0)
            ratio = f"{row['per_second'] / plain:.2f}" if plain else ""
            failed = sum(count for status, count in row["statuses"].items() if status != "200") + row["broken"]
            cells = [f"{row.get(key, float('nan')):.1f}" for key in ("per_second", "p50", "p95", "p99")]
            batches = " ".join(f"{size}:{count}" for size, count in row.get("batches", {}).items())
            table.add_row(name, load, *cells, str(row["n"]), str(failed), ratio, f"{row['cpu_ms']:.2f}", batches)
    console.print(table)


def _reload(console: Console, rows: dict[str, dict[str, Any]]) -> None:
    table = Table(
        "planner", "reloads", "clients", "failed", "requests", "p99 calm ms", "p99 reloading ms", "ratio", title="Reload"
    )
    for planner, row in rows.items():
        calm, busy = row["calm"], row["busy"]
        failed = sum(count for status, count in busy["statuses"].items() if status != "200") + busy["broken"]
        tail = f"{calm['p99']:.1f}", f"{busy['p99']:.1f}", f"{busy['p99'] / calm['p99']:.2f}"
        table.add_row(planner, str(row["reloads"]), str(row["clients"]), str(failed), str(busy["n"]), *tail)
    console.print(table)
    for planner, row in rows.items():
        bad = row["refusing"]
        for what, message in row["refused"].items():
            console.print(f"{planner}: {what} weights are refused: {message}")
        console.print(f"{planner}: meanwhile {bad['n']} requests answered, {bad['statuses']}, broken {bad['broken']}")


def _flood(console: Console, rows: dict[str, dict[str, Any]]) -> None:
    for planner, row in rows.items():
        table = Table("", "n", "per s", "p50 ms", "p95", "p99", "most", title=f"Flood of {planner}")
        for name in ("before", "accepted", "refused", "trickle", "after"):
            cells = [f"{row[name].get(key, float('nan')):.1f}" for key in ("per_second", "p50", "p95", "p99", "most")]
            table.add_row(name, str(row[name]["n"]), *cells)
        console.print(table)
        console.print(
            f"{row['rate']:.0f}/s asked, {row['capacity']:.0f}/s can be answered; deadline {row['deadline_ms']} ms; "
            f"flood {row['statuses']}, broken {row['broken']}; trickle {row['trickle']['statuses']}; "
            f"queue at most {row['queue_most']:.0f}"
        )


def _fleet(console: Console, rows: dict[str, dict[str, Any]]) -> None:
    columns = (
        "clients",
        "image",
        "answered/s",
        "p50 ms",
        "p99",
        "statuses",
        "queue",
        "fairness",
        "least to most of one",
        "cores",
    )
    table = Table(*columns, title="Fleet, one request per second each")
    for row in rows.values():
        spread = f"{row['least']:.0f} to {row['most_of_one']:.0f}"
        cells = [f"{row.get(key, float('nan')):.1f}" for key in ("per_second", "p50", "p99")]
        rest = (str(row["statuses"]), f"{row['queue_most']:.0f}", f"{row['fairness']:.3f}", spread, f"{row['cores']:.2f}")
        table.add_row(str(row["clients"]), row["image"], *cells, *rest)
    console.print(table)


def _memory(console: Console, row: dict[str, Any]) -> None:
    samples = [megabytes for _, megabytes in row["samples"]]
    console.print(
        f"memory of {OURS}: {samples[0]:.0f} MB at first, {max(samples):.0f} MB at most, {samples[-1]:.0f} MB at last"
    )


_PARTS = {
    "overhead": _overhead,
    "closed": lambda console, rows: _loop(console, "Closed loop", "clients", rows),
    "open": lambda console, rows: _loop(console, "Open loop", "asked/s", rows),
    "reload": _reload,
    "flood": _flood,
    "fleet": _fleet,
    "memory": _memory,
}


def draw(figures: dict[str, Any], path: Path) -> None:
    """Throughput and tail over clients, tail over offered load, batches, tails, memory; parts that were left out stay empty."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    _lines(axes[0, 0], figures.get("closed", {}), "per_second", "answered per second", "clients", log_y=False)
    _lines(axes[0, 1], figures.get("closed", {}), "p99", "p99 of a closed loop, ms", "clients")
    _lines(axes[0, 2], figures.get("open", {}), "p99", "p99 of an open loop, ms", "requests per second asked")
    _batches(axes[1, 0], figures.get("closed", {}).get(OURS, {}))
    _tails(axes[1, 1], figures)
    _resident(axes[1, 2], figures.get("memory", {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _lines(axis: Any, servers: dict[str, Any], key: str, title: str, below: str, log_y: bool = True) -> None:
    for name, rows in servers.items():
        points = [(float(load), row[key]) for load, row in rows.items() if key in row]
        if points:
            axis.plot(*zip(*points, strict=True), marker="o", label=name)
    axis.set(xscale="log", xlabel=below, title=title, **({"yscale": "log"} if log_y else {"ylim": (0, None)}))
    loads = sorted({float(load) for rows in servers.values() for load in rows})
    axis.set_xticks(loads, [f"{load:g}" for load in loads])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    if servers:
        axis.legend()


def _batches(axis: Any, rows: dict[str, dict[str, Any]]) -> None:
    for clients, row in rows.items():
        total = sum(row["batches"].values())
        axis.plot(
            list(row["batches"]), [count / total for count in row["batches"].values()], marker="o", label=f"{clients} clients"
        )
    axis.set(title="share of batches by size (at most)", xlabel="requests in a batch")
    axis.grid(alpha=0.3)
    if rows:
        axis.legend()


def _tails(axis: Any, figures: dict[str, Any]) -> None:
    bars: dict[str, float] = {}
    for planner, row in figures.get("reload", {}).items():
        bars |= {f"{planner}\ncalm": row["calm"]["p99"], f"{planner}\n{row['reloads']} reloads": row["busy"]["p99"]}
    for planner, row in figures.get("flood", {}).items():
        bars |= {
            f"{planner}\naccepted\nin flood": row["accepted"].get("p99", 0.0),
            f"{planner}\nrefused": row["refused"].get("p99", 0.0),
        }
    axis.bar(list(bars), list(bars.values()))
    axis.set(title="p99 under reloads and in a flood, ms", yscale="log")
    axis.tick_params(axis="x", labelsize=7)
    axis.grid(alpha=0.3, axis="y")


def _resident(axis: Any, memory: dict[str, Any]) -> None:
    if memory.get("samples"):
        axis.plot(*zip(*memory["samples"], strict=True))
        for at, part in memory["parts"]:
            axis.axvline(at, color="grey", linewidth=0.5)
            axis.text(at, 0, f" {part}", rotation=90, fontsize=7, va="bottom")
    axis.set(title="resident memory, MB", xlabel="s", ylim=(0, None))
    axis.grid(alpha=0.3)
