"""The same network as a planner of the server, as a plain FastAPI handler, and as a LitServe API."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import FastAPI, Request

from benchmarks.serving import cost
from inference_server.planners.planner import Item, LoadedNetwork, Planner
from shared.contract import GraspPlan

RAW = {"Content-Type": "application/octet-stream", "X-Shape": "480,640", "X-Dtype": "uint16"}
BODY_BYTES = 480 * 640 * 2


class GpuLikePlanner(Planner):
    """Answers with no grasps, at the cost of a batched forward."""

    name = "gpu_like"
    description = "benchmark: a network with the cost of a GPU"
    model_name = "gpu-like"  # planners with a model are batched across requests
    architecture = "dense"

    def plan_batch(self, items: Sequence[Item], network: LoadedNetwork | None) -> list[GraspPlan]:
        cost.forward(len(items))
        return [GraspPlan(planner=self.name) for _ in items]


def plain_app() -> FastAPI:
    """What one writes first: a handler that decodes the body and calls the model."""
    app = FastAPI()

    @app.post("/predict_grasp")
    async def predict(request: Request) -> dict:
        depth = np.frombuffer(await request.body(), "<u2").reshape(480, 640)
        cost.forward(1)
        return {"grasps": [], "shape": list(depth.shape)}

    return app


def serve_litserve(port: int) -> None:
    """The same behind LitServe with batching, from its documentation's pattern (the body travels through its queue)."""
    import litserve

    class Api(litserve.LitAPI):
        def setup(self, device: str) -> None:
            pass

        async def decode_request(self, request: Any) -> Any:
            return np.frombuffer(await request.body(), "<u2").reshape(480, 640)

        def batch(self, inputs: list[Any]) -> list[Any]:
            return inputs

        def predict(self, inputs: list[Any]) -> list[dict]:
            cost.forward(len(inputs))
            return [{"grasps": [], "shape": list(depth.shape)} for depth in inputs]

        def unbatch(self, outputs: list[dict]) -> list[dict]:
            return outputs

        def encode_response(self, output: dict) -> dict:
            return output

    api = Api(max_batch_size=32, batch_timeout=0.0, api_path="/predict_grasp")
    litserve.LitServer(api, accelerator="cpu").run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


def main() -> None:
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "litserve":
        serve_litserve(port)
    else:
        import uvicorn

        uvicorn.run(plain_app(), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
