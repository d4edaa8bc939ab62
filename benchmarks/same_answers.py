"""`python -m benchmarks.same_answers --base COMMIT`: does this tree answer forty recorded requests as that commit does?

A server of each tree is started with the models that ship with it. Their replies are compared number by number to 1e-6; ids,
times and the wording of messages are left out. Ends with 1 if an answer differs that no `--expected` reason covers, or if the
commit refuses a request. To see that a reason hides no other difference, compare with the commit that brought it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console
from rich.table import Table

from benchmarks.compare.answers import Answer, Difference, differences, largest, read
from benchmarks.compare.forty import recorded
from benchmarks.compare.requests import Recorded
from benchmarks.compare.trees import HERE, Tree, revision, tree_of
from benchmarks.serving.servers import graspserver
from benchmarks.tables import keep

Reason = Literal["analytic-score", "depth-decoding"]
SECONDS = 120.0
SCORED_BY_GEOMETRY = frozenset({"antipodal", "dense", "ensemble"})

INTENDED: dict[Reason, Callable[[Recorded], bool]] = {
    "analytic-score": lambda request: bool(SCORED_BY_GEOMETRY & set(request.planner.split(", "))),
    "depth-decoding": lambda request: request.own_depth_decoding,
}
"""Why an answer may differ. `analytic-score`: two terms of the analytic jaw score, overlap and clearance of the hand, had lost
their fitted weights to a second assignment. `depth-decoding`: integer depth on `/v2` and `/gqcnn` was turned into metres that
differ by up to 7.6e-6 m from those of `/predict_grasp`."""


class Settings(BaseSettings):
    __doc__ = __doc__

    model_config = SettingsConfigDict(cli_kebab_case=True)
    base: str = Field(description="commit whose answers are right")
    head: str = Field(HERE, description=f"commit that is compared with it; {HERE}: this tree as it lies, committed or not")
    expected: list[Reason] = Field([], description="reasons for which answers may differ")
    json_file: Path = Field(Path("runs/same_answers.json"), description="where every difference goes")


@dataclass(frozen=True)
class Compared:
    """One request's two answers. reason: why they may differ, None where nothing that was expected covers it."""

    request: Recorded
    base: Answer
    now: Answer
    reason: Reason | None

    @property
    def differences(self) -> list[Difference]:
        return differences(self.base, self.now)

    @property
    def passes(self) -> bool:
        return self.base.status == 200 and (self.reason is not None or not self.differences)

    @property
    def verdict(self) -> str:
        if self.base.status != 200:
            return f"REFUSED ({self.base.status})"
        if not self.differences:
            return "same"
        return f"intended ({self.reason})" if self.reason else "DIFFERS"


def main(settings: Settings) -> int:
    base, now = (_answers(commit) for commit in (settings.base, settings.head))
    compared = [
        Compared(request, was, is_now, next((reason for reason in settings.expected if INTENDED[reason](request)), None))
        for request, was, is_now in zip(recorded(), base, now, strict=True)
    ]
    _show(Console(width=max(150, Console().width)), compared)
    commits = {"base": revision(settings.base), "head": revision(settings.head)}
    keep(settings.json_file, {**commits, "requests": [_row(each) for each in compared]})
    return int(any(not each.passes for each in compared))


def _answers(commit: str) -> list[Answer]:
    with tree_of(commit) as tree, tempfile.TemporaryDirectory() as folder:
        return ask_all(tree, Path(folder) / "models")


def ask_all(tree: Tree, models: Path) -> list[Answer]:
    """The replies of a server of the tree to the forty requests, one after the other. models: a folder to make."""
    shutil.copytree(tree.root / "models", models)
    with (
        graspserver(models, tree.path, device="cpu", deadline_ms=int(1000 * SECONDS), reload_seconds=3600) as server,
        httpx.Client(base_url=server.url, timeout=SECONDS) as client,
    ):
        replies = (client.post(each.path, content=each.body, headers=each.headers) for each in recorded())
        return [read(reply.status_code, reply.headers, reply.content) for reply in replies]


def _show(console: Console, compared: list[Compared]) -> None:
    table = Table("request", "planner", "grasps", "largest difference", "")
    for each in compared:
        counts = dict.fromkeys((each.base.grasps(), each.now.grasps()))
        grasps = " → ".join("map" if count is None else str(count) for count in counts)
        table.add_row(each.request.name, each.request.planner, grasps, f"{largest(each.base, each.now):.2g}", each.verdict)
    console.print(table)
    for each in compared:
        found = each.differences
        for difference in found[:3]:
            console.print(f"{each.request.name}: {difference}", markup=False)
        if len(found) > 3:
            console.print(f"{each.request.name}: {len(found) - 3} more", markup=False)
    verdicts = [each.verdict.split()[0] for each in compared]
    console.print(
        f"{len(compared)} requests: " + ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    )


def _row(each: Compared) -> dict[str, Any]:
    return {
        "name": each.request.name, "planner": each.request.planner, "status": each.base.status, "grasps": each.base.grasps(),
        "largest": largest(each.base, each.now), "verdict": each.verdict, "differences": list(map(str, each.differences)),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(CliApp.run(Settings)))
