"""The stand-in network behind LitServe, batched after its documentation: `python -m benchmarks.serving.with_litserve PORT`."""

# LitServe reads the annotation of `request`, and cannot read one that is text: no postponed annotations here.
import sys
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Body

from benchmarks.serving import cost
from benchmarks.serving.gpu_like import metres

BATCH = 32
WAIT_SECONDS = 0.001
"""Longest wait for a batch to fill: the least that does not make its worker poll without a pause."""
Raw = Annotated[bytes, Body(media_type="application/octet-stream")]


class Api(litserve.LitAPI):  # type: ignore[misc]  # installed by hand, without types
    """The web process sends the bytes through LitServe's queue to the worker, which decodes and answers batches of them."""

    def setup(self, device: str) -> None:
        pass

    def decode_request(self, request: Raw) -> np.ndarray:
        return metres(request)

    def batch(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return inputs

    def predict(self, inputs: list[np.ndarray]) -> list[dict[str, Any]]:
        took = cost.forward(len(inputs))
        return [{"grasps": [], "shape": list(depth.shape), "timings_ms": {"plan": took}} for depth in inputs]

    def unbatch(self, outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return outputs

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    api = Api(max_batch_size=BATCH, batch_timeout=WAIT_SECONDS, api_path="/predict_grasp")
    server = litserve.LitServer(api, accelerator="cpu", fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
