"""Spans of a request and its stages, where an exporter is set up; nothing where it is not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from serving import Running, serving, settings
from waiting import wait_until

from inference_server import tracing


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def traced(exporter: InMemorySpanExporter, tmp_path: Path) -> Iterator[Running]:
    with serving(settings(tmp_path)) as running:
        exporter.clear()
        yield running


def spans_of(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    wait_until(lambda: any("POST" in span.name for span in exporter.get_finished_spans()))
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_request_has_a_span_with_its_stages(traced: Running, exporter: InMemorySpanExporter) -> None:
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    reply = traced.raw(traceparent=caller)
    spans = spans_of(exporter)
    request = spans.pop("POST /predict_grasp")
    assert request.context is not None
    assert format(request.context.trace_id, "032x") == caller.split("-")[1], "it belongs to the caller's trace"
    assert set(spans) == {"decode", "queue", "plan"}
    for span in spans.values():
        assert span.parent is not None
        assert span.parent.span_id == request.context.span_id
        assert (request.start_time or 0) <= (span.start_time or 0) <= (span.end_time or 0) <= (request.end_time or 0)
    planned = ((spans["plan"].end_time or 0) - (spans["plan"].start_time or 0)) / 1e6
    assert planned >= reply.json()["timings_ms"]["plan"] * 0.9


def test_probes_leave_no_spans(traced: Running, exporter: InMemorySpanExporter) -> None:
    for path in ("/live", "/ready", "/metrics"):
        traced.client.get(path)
    traced.raw()
    assert not any(path in name for name in spans_of(exporter) for path in ("/live", "/ready", "/metrics"))


def test_the_environment_switches_it_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in (*tracing.ENDPOINTS, "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert not tracing.telemetry()["auto_configure"]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "cell-3")
    assert tracing.telemetry()["auto_configure"]
    monkeypatch.setattr(tracing, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        assert not tracing.telemetry()["auto_configure"]
    assert "grasploop[otel]" in caplog.text
