"""Fits the weights of planner `ranked` to simulated attempts: `python train.py --shards data/own-planner`"""

import argparse
import json
from pathlib import Path

import numpy as np
from ranked_planner import WEIGHTS, features
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from grasp_client.contract import GraspMeta
from shared.shards import ShardReader, shard_folders

HELD_OUT = 5
"""Every fifth scene is not learned from."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=Path, required=True)
    options = parser.parse_args()
    found = [outcome.meta for folder in shard_folders(options.shards) for _, outcome in ShardReader(folder).of_kind(GraspMeta)]
    tried = [meta for meta in found if meta.grasp.kind == "parallel_jaw" and meta.scene is not None]
    seen = np.array([features(meta.grasp, meta.gripper.max_width if meta.gripper else 0.08) for meta in tried])
    held = np.array([meta.success for meta in tried])
    test = np.array([meta.scene.seed % HELD_OUT == 0 for meta in tried])
    model = LogisticRegression(fit_intercept=False, max_iter=1000).fit(seen[~test], held[~test])
    before, after = (roc_auc_score(held[test], order) for order in (seen[test, 0], model.decision_function(seen[test])))
    WEIGHTS.write_text(json.dumps({"weights": model.coef_[0].tolist(), "attempts": int((~test).sum())}) + "\n")
    print(f"{len(tried)} attempts, {held.mean():.0%} held; AUC on other scenes: geometry {before:.3f}, ranked {after:.3f}")


if __name__ == "__main__":
    main()
