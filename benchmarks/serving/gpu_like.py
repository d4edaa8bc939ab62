"""The stand-in network as a planner of the server, and behind a plain FastAPI handler.

`python -m benchmarks.serving.gpu_like PORT` runs the latter.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request

from benchmarks.serving import cost
from grasp_client.contract import GraspPlan, ModelRef
from planning.base import LoadedNetwork, PlanItem, Planner

SIZE = (480, 640)


class GpuLikePlanner(Planner):
    """Answers with no grasps, at the cost of a batched forward."""

    name = "gpu_like"
    description = "benchmark: a network with the cost of a GPU"
    model_name = "gpu-like"  # planners with a model are batched across requests
    architecture = "dense"

    def plan_batch(self, items: Sequence[PlanItem], network: LoadedNetwork | None) -> list[GraspPlan]:
        model = ModelRef(name=self.model_name, version=self.need(network).version)
        timings = {"plan": cost.forward(len(items))}
        return [GraspPlan(planner=self.name, model=model, timings_ms=timings) for _ in items]


def metres(body: bytes) -> np.ndarray:
    """What a network is fed: float32 metres of raw uint16 millimetres."""
    return np.frombuffer(body, "<u2").reshape(SIZE).astype(np.float32) / np.float32(1000)


def plain_app() -> FastAPI:
    """What one writes first: a handler that decodes the body and calls the model."""
    app = FastAPI()

    @app.post("/predict_grasp")
    async def predict(request: Request) -> dict[str, Any]:
        depth = metres(await request.body())
        return {"grasps": [], "shape": list(depth.shape), "timings_ms": {"plan": cost.forward(1)}}

    return app


if __name__ == "__main__":
    uvicorn.run(plain_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
