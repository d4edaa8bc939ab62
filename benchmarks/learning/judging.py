"""How often the judge and the guard are right: trials with known rates, trials on really executed pairs, and a bad champion."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch

from benchmarks.learning.running import STOP_SECONDS, start, stored
from benchmarks.learning.success import rate, results
from shared.durable import replace_file
from shared.registry import Registry
from shared.settings import TrainerSettings
from sim_worker.benchmark.trials import Protocol
from trainer_job.promotion.ab_test import Score, verdict
from trainer_job.promotion.publish import load_network, weights_of

ALIKE = 0.6
"""Share of the scenes that treat both versions alike."""
TRIALS = 300
RATES = tuple((champion, champion + more) for champion in (0.6, 0.8, 0.88) for more in (-0.05, -0.02, 0.0, 0.02, 0.05))
REAL = Protocol(kind="single", profile="hard", object_set="validation", rounds=400, seeds=[11])
LEAST_BEFORE, PATIENCE_SECONDS = 60, 540.0
"""Attempts of the good champion before the bad one is put in its place, and how long the guard has."""


def judged(pairs: Iterator[tuple[bool, bool]], most: int) -> tuple[bool, int]:
    """(promoted, pairs used) of (champion, candidate) successes, by the judge's own rule."""
    score = Score()
    for champion, candidate in pairs:
        score = score.plus(champion, candidate)
        if (found := verdict(score, most)) is not None:
            return found, score.pairs
    raise ValueError(f"expected at least {most} pairs, got {score.pairs}")


def known_rates(most: int, seed: int) -> list[dict[str, float]]:
    """Share of promotions when the true rates are known."""
    rows = []
    for champion, candidate in RATES:
        rng = np.random.default_rng([seed, round(1e3 * champion), round(1e3 * candidate)])
        verdicts = [judged(_drawn(champion, candidate, rng), most) for _ in range(TRIALS)]
        promoted, used = (float(np.mean([each[k] for each in verdicts])) for k in (0, 1))
        rows.append({"champion": champion, "candidate": round(candidate, 3), "promoted": promoted, "mean_pairs": used})
    return rows


def _drawn(champion: float, candidate: float, rng: np.random.Generator) -> Iterator[tuple[bool, bool]]:
    """Pairs with these rates; scenes that treat both alike have the mean of both, so the others differ the more."""
    mean, half = (champion + candidate) / 2, (candidate - champion) / 2 / (1 - ALIKE)
    while True:
        if rng.random() < ALIKE:
            both = bool(rng.random() < mean)
            yield both, both
        else:
            yield bool(rng.random() < mean - half), bool(rng.random() < mean + half)


def real_pairs(models: Path, good: int, bad: int, kept: Path, most: int, seed: int) -> dict[str, Any]:
    """Twenty trials each way on pairs that were really executed, drawn with replacement."""
    tried = results(models, [good, bad], REAL, kept)
    rng, counts = np.random.default_rng(seed), {}
    for name, champion, candidate in (("worse", good, bad), ("better", bad, good)):
        rows = list(zip(tried[champion], tried[candidate], strict=True))
        trials = [judged((rows[k] for k in rng.integers(len(rows), size=most)), most) for _ in range(20)]
        counts[name] = {"promoted": sum(each[0] for each in trials), "of": 20, "mean_pairs": np.mean([t[1] for t in trials])}
    return {"good": rate(tried[good]), "bad": rate(tried[bad]), **counts}


def report(out: Path, models: Path, champion: int | None, seed: int) -> Path:
    """judge.json, for the default number of pairs: known rates, and a champion that has learned against version 1."""
    most = TrainerSettings.model_fields["max_ab_pairs"].default
    tables = {"most_pairs": most, "known": known_rates(most, seed)}
    if champion is not None and champion > 1:
        tables["real"] = real_pairs(models, champion, 1, out / "pairs.json", most, seed)
    out.mkdir(parents=True, exist_ok=True)
    replace_file(out / "judge.json", json.dumps(tables, indent=1, default=float).encode())
    return out / "judge.json"


def rollback(out: Path, shipped: Path, seed: int) -> dict[str, Any]:
    """The running loop, a champion whose order of grasps is turned round, put in by hand; how it goes out again."""
    data = out / f"rollback-{seed}"
    variables = {"SEED": str(seed), "SHIPPED_MODELS_DIR": str(shipped.resolve()), "OUTCOMES_PER_ROUND": "100000", "WORLDS": "2"}
    loop = start(
        data,
        {**variables, "PROFILE": "hard", "VARY": "nothing", "SCENE_KIND": "single", "SHARD_OUTCOMES": "16", "PLANNER": "dense"},
    )
    registry = Registry(data / "models")
    try:
        _wait(lambda: _served(data, 1) >= LEAST_BEFORE, loop.poll)
        card, network = registry.card("dense", 1), load_network(registry, "dense", 1)
        with torch.no_grad():
            for value in network.head[-1].parameters():  # type: ignore[index,union-attr]
                value.neg_()
        bad = registry.publish("dense", weights_of(network), card.model_copy(update={"note": "turned round", "decisions": []}))
        httpx.post(f"{loop.url}/models/dense/promote", params={"version": bad}).raise_for_status()
        begun = time.monotonic()
        _wait(lambda: registry.champion("dense") == 1, loop.poll)
        said = [decision for decision in registry.card("dense", bad).decisions if decision["action"] == "rolled back"]
        return {"attempts_of_the_bad": _served(data, bad), "seconds": round(time.monotonic() - begun), "decision": said}
    finally:
        loop.process.send_signal(signal.SIGINT)
        loop.process.wait(timeout=STOP_SECONDS)


def _served(data: Path, version: int) -> int:
    """Best grasps of a version that were executed."""
    metas = (meta for _, meta in stored(data))
    return sum(
        meta["rank"] == 0 and not meta["exploration"] and (meta["model"] or {}).get("version") == version for meta in metas
    )


def _wait(condition: Callable[[], bool], still_runs: Callable[[], None]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        still_runs()
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing came of it within {PATIENCE_SECONDS:.0f} s")
        time.sleep(1.0)
