"""Prometheus series of the server, in a registry of its own so that several apps can live in one process."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

disable_created_metrics()  # a time stamp beside every counter, which nobody reads

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Names start with `grasp_`; process and platform series (memory, CPU time) come with them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = self._counter("grasp_requests", "requests answered", "endpoint", "status")
        self.request_seconds = self._seconds(
            "grasp_request_seconds", "from the request head to the answer, sending the body included", "endpoint"
        )
        self.seconds = self._seconds("grasp_stage_seconds", "time in a stage: decode, queue, batch, plan", "stage")
        self.queue_depth = Gauge("grasp_queue_depth", "requests being decoded or waiting", registry=self.registry)
        self.batch_size = Histogram("grasp_batch_size", "requests planned together", buckets=_BATCHES, registry=self.registry)
        self.rejected = self._counter("grasp_rejected", "requests refused, by error code", "reason")
        self.expired = self._counter("grasp_expired", "requests dropped from the queue because their deadline passed")
        self.plans = self._counter(
            "grasp_plans", "plans made, by planner and version of its model", "planner", "version", "empty"
        )
        self.actions = self._counter("grasp_actions", "actions decided towards one wanted thing", "action", "planner")
        self.rejections = self._counter("grasp_candidate_rejections", "candidates rejected by a filter", "planner", "reason")
        self.model_version = Gauge("grasp_model_version", "champion version that answers", ["model"], registry=self.registry)
        self.reloads = self._counter("grasp_reloads", "attempts to load weights", "model", "result")
        self.outcomes = self._counter("grasp_outcomes", "outcomes taken over HTTP", "planner", "version", "success", "reporter")

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(name, description, labels, registry=self.registry)

    def _seconds(self, name: str, description: str, *labels: str) -> Histogram:
        return Histogram(name, description, labels, buckets=_SECONDS, registry=self.registry)
