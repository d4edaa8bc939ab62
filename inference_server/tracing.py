"""OpenTelemetry spans of a request and its stages, switched on by the standard variables (OTEL_EXPORTER_OTLP_ENDPOINT, ...).

FastAPI makes the span of the request and the exporter; this adds the stages. Measures stay with Prometheus.
"""

import logging
import os
import time
from collections.abc import Mapping, MutableMapping
from importlib.util import find_spec
from typing import Any

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROBES = ("/live", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready")
_tracer = trace.get_tracer("inference_server")


def telemetry() -> TelemetryConfig:
    """What `FastAPI(telemetry=...)` takes: spans go to the endpoint that the environment names, if it names one."""
    wanted = any(os.environ.get(name) for name in ENDPOINTS)
    if wanted and not _installed():
        logger.warning("an OpenTelemetry endpoint is set, but its SDK is not installed: pip install 'grasploop[otel]'")
        wanted = False
    if wanted:
        os.environ.setdefault("OTEL_SERVICE_NAME", "grasploop-inference")
    return {"auto_configure": wanted, "operation_spans": False, "metrics": False, "logs": False, "exclude": _is_probe}


def record(stages: Mapping[str, tuple[float, float]]) -> None:
    """A span for each stage (start in time.monotonic() and seconds) of the request that the current span is about."""
    if not trace.get_current_span().is_recording():
        return
    epoch = time.time_ns() - time.monotonic_ns()
    for name, (started, seconds) in stages.items():
        begin = epoch + int(started * 1e9)
        _tracer.start_span(name, start_time=begin).end(begin + int(seconds * 1e9))


def _installed() -> bool:
    return find_spec("opentelemetry.sdk") is not None and find_spec("opentelemetry.exporter") is not None


def _is_probe(scope: MutableMapping[str, Any]) -> bool:
    return scope["path"] in _PROBES
