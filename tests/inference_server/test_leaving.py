"""A client that has left frees its place and its memory, and what others leave behind does not stay."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
from serving import DEPTH, OPTIONS, Running, raw_headers, serving, settings
from waiting import PATIENCE, wait_until

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.observation import Observation
from inference_server.admission import ReceivedRequest
from inference_server.batching.batcher import Job
from inference_server.outcomes.recent_plans import RecentPlans


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(settings(tmp_path_factory.mktemp("models"), queue_size=4)) as running:
        yield running


@contextmanager
def occupied(server: Running) -> Iterator[None]:
    """While the inference thread is busy with something else."""
    done, entered = threading.Event(), threading.Event()
    future = server.service.batcher.between_batches(lambda: (entered.set(), done.wait(PATIENCE)))
    assert entered.wait(PATIENCE)
    try:
        yield
    finally:
        done.set()
        future.result(PATIENCE)


@contextmanager
def asking(server: Running, body: bytes, headers: dict[str, str]) -> Iterator[None]:
    """A client that has sent a whole request, and leaves at the end of the block."""
    address = urlsplit(server.url)
    head = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "content-length": str(len(body))}.items())
    with socket.create_connection((address.hostname, address.port), PATIENCE) as connection:
        connection.sendall(f"POST /predict_grasp HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode() + body)
        yield


def plans(server: Running) -> float:
    sample = server.service.metrics.registry.get_sample_value
    return sum(
        sample("grasp_plans_total", {"planner": "antipodal", "version": "", "empty": empty}) or 0 for empty in ("true", "false")
    )


def test_a_request_whose_client_left_is_not_planned(busy: Running) -> None:
    queue, before = busy.service.batcher.queue, plans(busy)
    with occupied(busy):
        with asking(busy, DEPTH.tobytes(), raw_headers()):
            wait_until(lambda: queue.lines)
            assert busy.bodies.in_memory.total() == DEPTH.nbytes, "a body counts until its reply"
        wait_until(lambda: not len(queue) and not busy.bodies.in_memory)
    assert busy.raw().status_code == 200
    assert plans(busy) == before + 1


def test_a_full_queue_has_room_again_when_its_clients_leave(busy: Running) -> None:
    with occupied(busy):
        with ExitStack() as clients:
            for _ in range(4):
                clients.enter_context(asking(busy, DEPTH.tobytes(), raw_headers()))
            wait_until(lambda: len(busy.service.batcher.queue) == 4)
            assert busy.raw().status_code == 429
        wait_until(lambda: not len(busy.service.batcher.queue))
    assert busy.raw().status_code == 200


@pytest.mark.parametrize("leaves", [False, True])
def test_nothing_of_a_request_waits_for_the_garbage_collector(busy: Running, leaves: bool) -> None:
    def left() -> list[str]:
        return [type(one).__name__ for one in gc.get_objects() if type(one) in (Job, ReceivedRequest)]

    gc.collect()
    gc.disable()
    try:
        if leaves:
            with occupied(busy), asking(busy, DEPTH.tobytes(), raw_headers()):
                wait_until(lambda: busy.service.batcher.queue.lines)
        else:
            assert busy.raw().status_code == 200
        wait_until(lambda: not left(), lambda: str(left()))
    finally:
        gc.enable()


def test_leaving_is_no_fault(busy: Running, caplog: pytest.LogCaptureFixture) -> None:
    with occupied(busy):
        with asking(busy, DEPTH.tobytes(), raw_headers()):
            wait_until(lambda: busy.service.batcher.queue.lines)
        wait_until(lambda: not len(busy.service.batcher.queue))
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_recent_plans_keep_their_images_and_nothing_else() -> None:
    body = DEPTH.tobytes() + bytes(30_000_000)
    view = np.frombuffer(memoryview(body)[: DEPTH.nbytes], np.float32).reshape(DEPTH.shape)
    alone = np.frombuffer(DEPTH.tobytes(), np.float32).reshape(DEPTH.shape)
    plans = RecentPlans()
    for name, depth in (("view", view), ("alone", alone)):
        plan = GraspPlan(planner="antipodal", request_id=name)
        plans.remember("x", plan, Observation(depth=depth), PlanRequest.model_validate(OPTIONS))
    kept = plans.find("x", "view")
    assert kept is not None
    assert kept.observation.depth is not None
    assert kept.observation.depth.base is None
    np.testing.assert_array_equal(kept.observation.depth, DEPTH)
    kept = plans.find("x", "alone")
    assert kept is not None
    assert kept.observation.depth is alone, "what keeps nothing else is not copied"
