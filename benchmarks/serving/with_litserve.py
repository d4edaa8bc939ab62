"""The stand-in network behind LitServe, batched after its documentation: `python -m benchmarks.serving.with_litserve PORT`."""

from __future__ import annotations

import sys
from typing import Any

import litserve
import numpy as np

from benchmarks.serving import cost
from benchmarks.serving.gpu_like import metres

BATCH = 32
WAIT_SECONDS = 0.001
"""Longest wait for a batch to fill: the least that does not make its worker poll without a pause."""


class Api(litserve.LitAPI):
    """Images are decoded by the web process and travel through its queue to the worker."""

    def setup(self, device: str) -> None:
        pass

    async def decode_request(self, request: Any) -> np.ndarray:
        return metres(await request.body())

    def batch(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return inputs

    def predict(self, inputs: list[np.ndarray]) -> list[dict]:
        took = cost.forward(len(inputs))
        return [{"grasps": [], "shape": list(depth.shape), "timings_ms": {"plan": took}} for depth in inputs]

    def unbatch(self, outputs: list[dict]) -> list[dict]:
        return outputs

    def encode_response(self, output: dict) -> dict:
        return output


if __name__ == "__main__":
    api = Api(max_batch_size=BATCH, batch_timeout=WAIT_SECONDS, api_path="/predict_grasp")
    server = litserve.LitServer(api, accelerator="cpu", fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
