"""The steps that make the models that ship: what is collected, with which seeds, and what is trained on it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

QUICK = 100
"""A quick run makes this share of everything: 1 / QUICK."""
LEAST_SCENES = 12
"""Scenes of a quick collection, at least: fewer leave nothing to hold out."""
SOURCES = ("random", "edges", "feasible", "on_policy", "flat", "pushes")
"""Options of a collection that say how many labels a scene gets, by where its grasps come from."""


TEXTURES = "textures"
"""Folder of pictures from published packages, in that of the run."""


@dataclass(frozen=True)
class Step:
    """One command. `models`: those that need it, directly or on the way."""

    name: str
    models: frozenset[str]
    module: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def command(self) -> list[str]:
        return [self.module, *self.arguments]


@dataclass(frozen=True)
class Plan:
    """Where things lie and how much is made."""

    out: Path
    quick: bool
    workers: int

    @property
    def models(self) -> str:
        return str(self.out / "models")

    def shards(self, *names: str) -> list[str]:
        return [str(self.out / "attempts" / name) for name in names]

    def collect(self, name: str, models: Iterable[str], attempts: int, seed: int, **options: str | int | bool) -> Step:
        """Labels under `attempts/<name>`. Scenes of unseen objects are the referee's: only the set `train` is used."""
        per_scene = sum(int(options.get(source, 0)) for source in SOURCES)
        fewer = max(LEAST_SCENES * per_scene, attempts // QUICK) if self.quick else attempts
        named = {key.replace("_", "-"): value for key, value in options.items()}
        flags = [f"--{key}" if value is True else f"--{key}={value}" for key, value in named.items()]
        common = [f"--attempts={fewer}", f"--seed={seed}", f"--workers={self.workers}", f"--models-dir={self.models}"]
        arguments = ("--out", *self.shards(name), *common, *flags)
        return Step(f"collect {name}", frozenset(models), "sim_worker.collect", arguments, {"OMP_NUM_THREADS": "1"})

    @property
    def photographic(self) -> dict[str, str]:
        """Options of a collection whose pictures look less like renders, with patterns of pictures too."""
        return {"looks": "photographic", "textures": str(self.out / TEXTURES)}

    def textures(self, models: Iterable[str]) -> Step:
        """A quick run takes those of one small package."""
        fewer = ("--packages", "scikit-image") if self.quick else ()
        return Step("get textures", frozenset(models), "services.textures", ("--out", str(self.out / TEXTURES), *fewer))

    def promise(self, model: str, data: Sequence[str], needed_by: Iterable[str]) -> Step:
        """What the champion promises, fitted to its own best grasps."""
        arguments = ("--name", model, "--data", *self.shards(*data), "--models-dir", self.models)
        return Step(f"fit promises of {model}", frozenset({model, *needed_by}), "trainer_job.promise", arguments)

    def windows(self, name: str, models: Iterable[str], windows: int, seed: int, on_policy: int = 0) -> Step:
        """Windows of colour pictures with true heights and tried grasps, of the set `train` too: four pictures of each, and a
        quarter of the bare table. on_policy: so many of a planner's best are tried in one picture of each."""
        fewer = [f"--windows={windows // QUICK}", "--scenes-per-part=16"] if self.quick else [f"--windows={windows}"]
        arguments = ("--out", *self.shards(name), *fewer, f"--seed={seed}", f"--workers={self.workers}")
        arguments += (f"--on-policy={on_policy}", f"--models-dir={self.models}") if on_policy else ("--elsewhere=0.25",)
        looks = ["photographic"] if on_policy else ["plain", *3 * ["photographic"]]
        arguments += (*(f"--looks={each}" for each in looks), f"--textures={self.out / TEXTURES}")
        return Step(f"look at {name}", frozenset(models), "sim_worker.collect.rgb_windows", arguments, {"OMP_NUM_THREADS": "1"})

    def train(
        self,
        recipe: str,
        data: Sequence[str],
        model: str = "",
        part: str = "",
        needed_by: Iterable[str] = (),
        epochs: int = 0,
        warm: bool = False,
        most: int = 0,
    ) -> Step:
        """A network of a recipe for `model` (none: of the recipe's name), or a part that is added to it. warm: from the
        champion, not from random weights. epochs: 0 for the recipe's. most: outcomes of each collection; 0: all."""
        model = model or recipe
        run = "-".join([model, *part.split(), *([] if epochs == 0 else [str(epochs)])])
        common = ["--models-dir", self.models, "--cache", str(self.out / "cache"), "--out", str(self.out / "runs" / run)]
        passes = ["--epochs", str(1 if self.quick else epochs)] if self.quick or epochs else []
        start = ["--warm"] if warm else ["--promote"] if part else []
        start += ["--max-outcomes", str(most)] if most else []
        arguments = ("--recipe", recipe, "--data", *self.shards(*data), *common, *passes, *start)
        what = f"{part} {model}" if part else f"{model} on {' and '.join(data)}"
        return Step(f"train {what}", frozenset({model, *needed_by}), "trainer_job.train", arguments)


CUPS = {"cup15": 0.015}
"""Radius (m) of the cup that suction is learned with, beside others drawn; it is described in a file of that name in the folder
of the run."""
MET: dict[str, str | int | bool] = {"min_objects": 2, "max_objects": 8, "vary": "hands,cameras"}
"""What all collections of depth share: of several objects, with hands and cameras as users have them."""
OWN: dict[str, str | int | bool] = {"vary": "cameras"}
"""For networks that are not told the hand's size: attempts with one hand."""
JAW: dict[str, str | int | bool] = {**MET, "kinds": "single,pile,pile,packed,bin", "profiles": "standard,hard"}
MIXED: dict[str, str | int | bool] = {**JAW, "kinds": f"{JAW['kinds']},enclosed"}
"""With things that others enclose, which goals often are."""
BEST: dict[str, str | int | bool] = {"random": 0, "edges": 0, "feasible": 0, "on_policy": 5, "clear": True}
"""What promises are fitted to: the best of a plan in scenes as they are picked empty."""
SIDE: dict[str, str | int | bool] = {
    "min_objects": 2, "max_objects": 7, "vary": "cameras,sides", "tilts": True,
    "kinds": "single,single,pile,packed,leaning,shelf", "profiles": "standard,hard",
    "feasible_planner": "tilted", "planner": "tilted",
}  # fmt: skip
"""From the side, into shelves, along any approach: half of it `hard`, without which picks from above in hard scenes suffer."""
CUP: dict[str, str | int | bool] = {**MET, "kinds": "single,single,pile,packed,bin", "profiles": "standard,standard,hard"}


def jaw_steps(make: Plan) -> list[Step]:
    scorer = {"dense", "push-value"}
    jaw = {*scorer, "gqcnn-jaw"}
    return [
        make.collect("jaw-start", jaw, 12_000, 100, **JAW, random=4, edges=8, feasible=14, on_policy=6),
        make.train("dense", ["jaw-start"], needed_by=jaw, epochs=8),
        make.collect("jaw", scorer, 32_000, 101, **MIXED, random=3, edges=7, feasible=10, on_policy=12, planner="dense"),
        make.collect(
            "jaw-own", jaw, 16_000, 102, **{**JAW, **OWN}, random=6, edges=8, feasible=8, on_policy=8, planner="dense"
        ),
        make.train("dense", ["jaw-start", "jaw", "jaw-own"], needed_by=scorer, epochs=10),
        make.collect("jaw-side", scorer, 8_000, 111, **SIDE, random=1, edges=3, feasible=12, on_policy=10),
        make.collect(
            "jaw-side-hands", scorer, 4_000, 112, **{**SIDE, "vary": "hands,cameras,sides"}, random=1, edges=3, feasible=12,
            on_policy=10,
        ),
        make.train(
            "dense", ["jaw-start", "jaw", "jaw-own", "jaw-side", "jaw-side-hands"], needed_by=scorer, epochs=6, warm=True,
            most=9_000,
        ),
        make.collect("jaw-best", scorer, 4_000, 121, **{**JAW, **BEST}, planner="dense"),
        make.collect("jaw-side-best", scorer, 3_000, 122, **{**SIDE, "vary": "hands,cameras,sides", **BEST}),
        make.promise("dense", ["jaw-best", "jaw-side-best"], scorer),
        make.train("gqcnn4-jaw-shards", ["jaw-own"], "gqcnn-jaw"),
    ]  # fmt: skip


def push_steps(make: Plan) -> list[Step]:
    """Pushes are judged by the grasps of `dense`, which is made before."""
    return [
        make.collect(
            "pushes", {"push-value"}, 16_000, 401, kinds="enclosed,enclosed,scattered", profiles="standard,standard,hard",
            object_set="clutter", min_objects=8, max_objects=20, pushes=13, planner="push",
        ),
        make.train("push-value", ["pushes"]),
    ]  # fmt: skip


def suction_steps(make: Plan) -> list[Step]:
    suction = {"suction-dense", "gqcnn-suction", "efficientnet-suction"}
    hand = {"gripper": str(make.out / "cup15.json"), "feasible_planner": "suction"}
    return [
        make.collect(
            "suction", {"suction-dense"}, 24_000, 301, **CUP, **hand, random=6, edges=8, feasible=10, on_policy=8,
            planner="suction",
        ),
        make.train("suction-dense", ["suction"], epochs=8),
        make.collect(
            "suction-own", suction, 12_000, 302, **{**CUP, **OWN}, **hand, random=6, edges=8, feasible=10, on_policy=8,
            planner="suction",
        ),
        make.collect(
            "suction-best", {"suction-dense"}, 16_000, 305, **{**CUP, "kinds": "single,pile,pile,packed,bin"}, **hand, random=2,
            edges=4, feasible=6, on_policy=18, planner="suction_dense",
        ),
        make.train("suction-dense", ["suction", "suction-own", "suction-best"], epochs=10),
        make.train("gqcnn4-suction-shards", ["suction-own"], "gqcnn-suction"),
        make.train("efficientnet-suction-shards", ["suction-own"], "efficientnet-suction"),
    ]  # fmt: skip


def colour_steps(make: Plan) -> list[Step]:
    return [
        make.textures({"heatmap"}),
        make.collect(
            "over-table", {"heatmap"}, 40_000, 103, kinds="single,single,single,single,pile", profiles="standard",
            min_objects=2, max_objects=5, random=0, edges=0, feasible=0, on_policy=0, flat=60, rgb=True,
        ),
        make.collect(
            "photographic-over-table", {"heatmap"}, 32_000, 104, kinds="single,single,single,single,single,pile",
            profiles="standard", min_objects=2, max_objects=5, random=0, edges=0, feasible=0, on_policy=0, flat=20, rgb=True,
            scenes_per_shard=32, **make.photographic,
        ),
        make.train("heatmap16", ["over-table", "photographic-over-table"], "heatmap"),
        make.windows("rgb-windows", {"heatmap"}, 120_000, 109),
        make.train("height-from-rgb", ["rgb-windows"], "heatmap", "heights"),
        make.windows("rgb-windows-best", {"heatmap"}, 20_000, 110, on_policy=3),
        make.train("height-from-rgb", ["rgb-windows", "rgb-windows-best"], "heatmap", "heights again"),
    ]  # fmt: skip


def plan(out: Path, ship: Path | None, quick: bool, workers: int, only: Sequence[str] | None = None) -> list[Step]:
    """All steps in order. Raises ValueError for a model that is not made here."""
    make = Plan(out, quick, workers)
    steps = [*jaw_steps(make), *push_steps(make), *suction_steps(make), *colour_steps(make)]
    made = frozenset().union(*(step.models for step in steps))
    if unknown := set(only or ()) - made:
        raise ValueError(f"no model {', '.join(sorted(unknown))} is made here; there are {', '.join(sorted(made))}")
    wanted = frozenset(only or made)
    chosen, names = [step for step in steps if step.models & wanted], ("--names", *sorted(wanted))
    if ship:
        arguments = ("--models", make.models, "--to", str(ship), *names)
        chosen.append(Step(f"ship to {ship}", wanted, "trainer_job.export_release", arguments))
    asked = str(ship or make.models)
    return [*chosen, Step("ask every model", wanted, "services.smoke_test", ("--models", asked, *names))]
