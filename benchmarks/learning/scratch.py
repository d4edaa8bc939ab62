"""From random weights: success on unseen objects against attempts of the closed loop.

Geometry alone lets through grasps of which most succeed, and an untrained `dense` keeps its order. So that what is measured is
what the network has learned, this one begins with a head of random weights: it ranks all feasible proposals by chance, and
nothing but learning makes them better. Single objects, profile `hard`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.learning.running import attempts, run_until, seconds, stored
from benchmarks.learning.success import rate, results
from shared.durable import replace_file
from shared.networks import build_network
from shared.registry import ModelCard, Registry
from sim_worker.benchmark.trials import Protocol
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.data.replay_buffer import ReplayBuffer
from trainer_job.evaluation.calibration import as_served
from trainer_job.promotion.publish import UNTRAINED, load_network, weights_of
from trainer_job.tasks import task_of_model

PROFILE = "hard"
VARIABLES = {
    "PROFILE": PROFILE, "VARY": "nothing", "SCENE_KIND": "single", "PLANNER": "dense",
    "OUTCOMES_PER_ROUND": "250", "SHARD_OUTCOMES": "32", "WORKERS": "1", "WORLDS": "2", "TORCH_THREADS": "1",
}  # fmt: skip
UNSEEN = Protocol(kind="single", profile=PROFILE, object_set="test", rounds=200, seeds=[7])
LABELS = 1_000


def random_weights(models: Path, seed: int) -> None:
    """Version 1: random in the last layer too, which `dense` otherwise begins with at zero."""
    registry = Registry(models)
    if registry.champion("dense") is None:
        torch.manual_seed(seed)
        network = build_network("dense", {})
        network.head[-1].reset_parameters()  # type: ignore[index,union-attr]
        card = ModelCard(name="dense", architecture="dense", note=UNTRAINED, seeds={"initialisation": seed})
        registry.promote("dense", registry.publish("dense", weights_of(network), card))


def labels(out: Path) -> ReplayBuffer:
    """Labelled grasps of many qualities on unseen objects, the same for all versions of all seeds."""
    folder = out / "labels"
    options = ["--kinds", "single", "--profiles", PROFILE, "--object-set", "validation", "--seed", "77"]
    command = [sys.executable, "-m", "sim_worker.collect", "--attempts", str(LABELS), "--out", str(folder), *options]
    if not (folder / "whole").exists():
        subprocess.run(command, check=True)
        (folder / "whole").touch()
    library = ReplayBuffer(OutcomeIndex(folder), FeatureCache(out / "features", task_of_model("dense")))
    library.refresh()
    return library


def run(out: Path, seed: int, wanted: int, minutes: float) -> bool:
    """One seed, as far as the time allows; writes scratch-<seed>.json when it is whole."""
    data = out / f"scratch-{seed}"
    random_weights(data / "models", seed)
    if not run_until(data, wanted, {**VARIABLES, "SEED": str(seed), "SHIPPED_MODELS_DIR": str(data / "none")}, minutes):
        return False
    registry, served = Registry(data / "models"), [(0, 1)]
    times = np.array([time for time, _ in stored(data)])
    for version in registry.versions("dense"):
        for decision in registry.card("dense", version).decisions:
            if decision["action"] == "promoted":
                served.append((int((times <= seconds(decision["time"])).sum()), version))
    tested = results(data / "models", [version for _, version in served], UNSEEN, data / "success.json")
    library = labels(out)
    examples, versions = library.examples(np.arange(len(library))), []
    for version in registry.versions("dense"):
        card, network = registry.card("dense", version), load_network(registry, "dense", version)
        found = task_of_model("dense").evaluate(network, examples, torch.device("cpu"))
        metrics = as_served(found, card.calibration).metrics()
        said = [decision["action"] for decision in card.decisions]
        versions.append({"version": version, "learned_from": card.outcomes.get("count", 0), "decisions": said, **metrics})
    report = {
        "seed": seed,
        "attempts": attempts(data),
        "settings": VARIABLES,
        "protocol": UNSEEN.model_dump(mode="json"),
        "served": [{"after": count, "version": version, **rate(tested[version])} for count, version in served],
        "versions": versions,
    }
    replace_file(out / f"scratch-{seed}.json", json.dumps(report, indent=1).encode())
    return True
