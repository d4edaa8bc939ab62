"""Fits what a jaw planner promises to its own best grasps that were executed, and publishes the same network with it.

    python -m trainer_job.promise --data data/collected/jaw-best [more ...] --models-dir data/models [--name dense]

A network is calibrated on grasps from everywhere; executed are those that the planner takes for the best, by a blend of network
and analytic score. What counts are grasps of plans by the champion's weights, with the quality that was promised
(`sim_worker.collect --on-policy 5 --clear`). Prints what promises to held-out scenes come to.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from scipy.special import expit, logit

from grasp_client.contract import GraspMeta, Outcome
from shared.features.circumstances import NAMES, slope_and_offset
from shared.learnable import MAX_JAW_TILT, refusal
from shared.outcome_codec import is_replay
from shared.registry import ModelCard, Registry, RegistryError
from shared.shards import ShardReader, shard_folders
from trainer_job.evaluation.calibration import LEAST, as_served, by_circumstances
from trainer_job.evaluation.metrics import Evaluation, binary_metrics, log_losses
from trainer_job.promotion.publish import promise_anew
from trainer_job.tasks.dense import told_of

FIRST_COUNTS = 4.0
"""The best of a plan, which is what most execute, counts so often."""
OF_A_PLAN = tuple(name for name in NAMES if name != "approach")
"""Circumstances that all grasps of a plan share, so that their order stays as the blend has it."""
FEWEST = 50
"""Grasps below which no promise is fitted."""
FOLDS = 10
"""Parts of the scenes that are held out in turn."""


@dataclass(frozen=True)
class OwnBest:
    """Executed grasps (N,) of plans. told (N, C): circumstances; logits: of the blend, before any promise; promised: logits of
    the qualities that were told; labels: 1 held; first: the best of its plan; scenes: names."""

    told: np.ndarray
    logits: np.ndarray
    promised: np.ndarray
    labels: np.ndarray
    first: np.ndarray
    scenes: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def evaluation(self, rows: np.ndarray) -> Evaluation:
        """The blend of some rows (N,) bool, as calibrations are fitted to it."""
        labels, logits = self.labels[rows], self.logits[rows]
        return Evaluation(log_losses(labels, logits), labels, logits, circumstances=self.told[rows])


def own_best(folders: Sequence[Path], cards: Sequence[ModelCard]) -> OwnBest:
    """What shards hold of grasps planned by these versions. Raises ValueError for fewer than FEWEST."""
    promises = {card.version: card.promise for card in cards}
    parts = [
        (told_of(outcomes), outcomes)
        for folder in folders
        for shard in shard_folders(folder)
        for outcomes in planned(ShardReader(shard), cards[0].name, set(promises))
    ]
    flat = [outcome for _, outcomes in parts for outcome in outcomes]
    if len(flat) < FEWEST:
        raise ValueError(f"{len(flat)} grasps of plans by {cards[0].name} as it is now: expected at least {FEWEST}")
    told = np.concatenate([each for each, _ in parts])
    promised = logit(np.clip([outcome.meta.quality for outcome in flat], LEAST, 1 - LEAST))
    logits, versions = promised.copy(), np.array([version_of(outcome.meta) for outcome in flat])
    for version, promise in promises.items():
        if promise:
            rows = versions == version
            slope, offset = slope_and_offset(promise, told[rows])
            logits[rows] = (promised[rows] - offset) / slope
    labels = np.array([outcome.meta.success for outcome in flat], float)
    first = np.array([outcome.meta.rank == 0 for outcome in flat])
    return OwnBest(told, logits, promised, labels, first, np.array([outcome.id.rsplit(":", 1)[0] for outcome in flat]))


def planned(shard: ShardReader, name: str, versions: set[int]) -> Iterator[list[Outcome[GraspMeta]]]:
    """A shard's outcomes of grasps that these versions planned on depth that is kept, those of one image together."""

    def usable(meta: GraspMeta) -> bool:
        known = meta.camera is not None and meta.grasp.pose_camera is not None and "depth" in meta.images
        chosen = not meta.exploration and meta.model is not None and meta.model.name == name
        return known and chosen and version_of(meta) in versions and refusal(meta.model_dump(), MAX_JAW_TILT) is None

    found = [(row, outcome) for row, outcome in shard.of_kind(GraspMeta) if usable(outcome.meta) and not is_replay(outcome)]
    for _, members in groupby(found, lambda each: shard.image_key(each[0], "depth")):
        yield [outcome for _, outcome in members]


def version_of(meta: GraspMeta) -> int:
    """Of the model that planned the grasp; 0 without."""
    return meta.model.version if meta.model else 0


def fit(best: OwnBest, rows: np.ndarray) -> dict[str, object]:
    """The promise that some rows (N,) bool ask for."""
    return by_circumstances(best.evaluation(rows), np.where(best.first[rows], FIRST_COUNTS, 1.0), OF_A_PLAN)


def cross_validated(best: OwnBest, seed: int = 0) -> np.ndarray:
    """Logits (N,) that promises fitted to the other scenes give each grasp."""
    names, of = np.unique(best.scenes, return_inverse=True)
    parts = np.random.default_rng(seed).permutation(len(names))[of] % FOLDS
    served = best.logits.copy()
    for part in range(FOLDS):
        if (out := parts == part).any():
            served[out] = as_served(best.evaluation(out), fit(best, ~out)).logits
    return served


def run(options: argparse.Namespace) -> int:
    """Fits, prints, publishes and promotes."""
    registry, name = Registry(options.models_dir), options.name
    champion = registry.champion(name)
    if champion is None:
        raise ValueError(f"{name} has no champion in {options.models_dir}")
    card = registry.card(name, champion)
    best = own_best(options.data, [each for each in registry.cards(name) if each.sha256 == card.sha256])
    for what, rows in {"own best": np.ones(len(best), bool), "the first of each plan": best.first}.items():
        for who, logits in {"promised": best.promised, "refitted": cross_validated(best)}.items():
            said = binary_metrics(best.labels[rows], logits[rows])
            mean = float(expit(logits[rows]).mean())
            print(f"{what}, {who}: n {rows.sum()}, {mean:.3f}, held {best.labels[rows].mean():.3f}, ECE {said['ece']:.3f}")
    promise = fit(best, np.ones(len(best), bool)) | {"grasps": len(best), "scenes": len(set(best.scenes))}
    version = promise_anew(registry, name, promise, f"version {champion} with its promises fitted")
    print(f"{name} version {version}: version {champion} with its promises fitted")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m trainer_job.promise", description=__doc__, formatter_class=raw)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of shards")
    parser.add_argument("--models-dir", type=Path, default=Path("data/models"), help="registry (default: %(default)s)")
    parser.add_argument("--name", default="dense", help="model whose planners blend (default: %(default)s)")
    try:
        return run(parser.parse_args(arguments))
    except (ValueError, RegistryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
