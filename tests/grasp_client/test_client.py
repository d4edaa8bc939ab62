"""The clients over a transport that plays the server's part: what is sent, what is retried, what is raised."""

import asyncio
import email
import json
from email.utils import formatdate
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from waiting import FakeClock

from grasp_client import (
    AsyncGraspClient,
    DeadlineExceeded,
    GraspClient,
    GraspServerError,
    InvalidRequest,
    NotAllowed,
    ServerBusy,
    ServerUnreachable,
)
from grasp_client.contract import CameraIntrinsics, Grasp, PlanRequest
from grasp_client.imaging import decode_depth, decode_raw_depth, decode_rgb, decode_segmask
from grasp_client.observation import GraspPlanner, Observation

DEPTH = (np.arange(12, dtype=np.float32).reshape(3, 4) + 500) / np.float32(1000)
COLOUR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
CAMERA = {"fx": 525.0, "fy": 525.0, "cx": 2.0, "cy": 1.0}
PLAN = {"request_id": "r", "planner": "antipodal", "grasps": [], "rejections": {"border": 3}, "timings_ms": {"plan": 1.0}}


class Replies:
    """Answers with the given replies (or raises them) in order, the last one again and again, and keeps the requests."""

    def __init__(self, *replies) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies[min(len(self.requests), len(self.replies)) - 1]
        if isinstance(reply, Exception):
            raise reply
        return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)


def answer(status: int = 200, body=PLAN, **headers) -> httpx.Response:
    return httpx.Response(status, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def refuse(status: int, code: str = "some_code", **headers) -> httpx.Response:
    return answer(status, {"error": {"code": code, "message": "what was wrong", "detail": [{"loc": "x"}]}}, **headers)


@pytest.fixture(params=["blocking", "asyncio"])
def connect(request, monkeypatch):
    """A function that gives `call(name, *arguments)` on either client; its `clock` moves instead of pauses being slept through.

    Only these modules get it: to replace `time.sleep` itself would reach every thread of this process, as of servers.
    """
    clock = FakeClock()

    async def pause(seconds: float) -> None:
        clock.sleep(seconds)

    monkeypatch.setattr("grasp_client.client.time", clock)
    monkeypatch.setattr("grasp_client.retry.time", clock)
    monkeypatch.setattr("grasp_client.async_client.asyncio", SimpleNamespace(sleep=pause))

    def connected(replies: Replies, **options):
        async def awaited(name, *arguments, **keywords):
            async with AsyncGraspClient(transport=httpx.MockTransport(replies), **options) as client:
                return await getattr(client, name)(*arguments, **keywords)

        def blocking(name, *arguments, **keywords):
            with GraspClient(transport=httpx.MockTransport(replies), **options) as client:
                return getattr(client, name)(*arguments, **keywords)

        if request.param == "blocking":
            return blocking
        return lambda *arguments, **keywords: asyncio.run(awaited(*arguments, **keywords))

    connected.clock = clock  # type: ignore[attr-defined]
    return connected


def parts_of(request: httpx.Request) -> dict[str, tuple[str, bytes]]:
    """Name to (content type, bytes) of a multipart request."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.content)
    return {
        part.get_param("name", header="content-disposition"): (part.get_content_type(), part.get_payload(decode=True))
        for part in message.get_payload()
    }


def test_the_client_is_a_planner():
    assert isinstance(GraspClient(), GraspPlanner)


# What is sent.


def test_depth_alone_goes_raw(connect):
    replies = Replies(answer())
    plan = connect(replies, api_key="secret")("predict_grasp", DEPTH, camera=CAMERA, planner="grün", camera_pose=np.eye(4))
    assert (plan.planner, plan.rejections) == ("antipodal", {"border": 3})
    sent = replies.requests[0]
    assert (sent.method, sent.url.path) == ("POST", "/predict_grasp")
    assert sent.headers["content-type"] == "application/octet-stream"
    assert sent.headers["x-dtype"] == "uint16"
    np.testing.assert_array_equal(decode_raw_depth(sent.content, sent.headers["x-shape"], sent.headers["x-dtype"]), DEPTH)
    assert sent.headers["x-request"].isascii()
    assert json.loads(sent.headers["x-request"]) == {"camera": CAMERA, "planner": "grün", "camera_pose": np.eye(4).tolist()}
    assert sent.headers["x-api-key"] == "secret"
    assert 9000 < int(sent.headers["x-deadline-ms"]) <= 10_000
    assert len(sent.headers["x-request-id"]) == 32


def test_integer_depth_is_sent_as_the_camera_gave_it(connect):
    units = np.arange(5000, 5012, dtype=np.uint16).reshape(3, 4, 1)
    replies = Replies(answer())
    connect(replies)("predict_grasp", units, depth_scale=0.0001)
    sent = replies.requests[0]
    assert sent.content == units.tobytes()
    assert json.loads(sent.headers["x-request"]) == {"depth_scale": 0.0001}


def test_failed_grasps_go_along_as_the_reply_named_them(connect):
    replies = Replies(answer())
    metric, pixels = {"center_px": [4.5, 3.0], "angle": 0.4, "depth": 0.5}, {"center_px": [1.0, 2.0], "depth": None}
    connect(replies)("predict_grasp", DEPTH, failed=[metric, pixels])
    assert json.loads(replies.requests[0].headers["x-request"]) == {"failed": [metric, {"center_px": [1.0, 2.0]}]}


def test_several_images_go_as_multipart(connect):
    replies = Replies(answer())
    mask = DEPTH > 0.505
    connect(replies)("predict_grasp", DEPTH, COLOUR, mask.astype(int), goal=~mask, n_grasps=3)
    parts = parts_of(replies.requests[0])
    np.testing.assert_array_equal(decode_depth(parts["depth"][1], parts["depth"][0]), DEPTH)
    np.testing.assert_array_equal(decode_rgb(parts["rgb"][1], parts["rgb"][0]), COLOUR)
    np.testing.assert_array_equal(decode_segmask(parts["segmask"][1], parts["segmask"][0]), mask)
    np.testing.assert_array_equal(decode_segmask(parts["goal"][1], parts["goal"][0]), ~mask)
    assert parts["request"] == ("application/json", b'{"n_grasps":3}')


def test_colour_alone_goes_as_multipart(connect):
    replies = Replies(answer())
    connect(replies)("plan", Observation(rgb=COLOUR), PlanRequest())
    assert set(parts_of(replies.requests[0])) == {"rgb", "request"}


def test_an_outcome_of_a_recent_plan_is_a_little_json(connect):
    replies = Replies(refuse(503), answer(202, {"id": "arm:r:1"}))
    assert (
        connect(replies)("report_outcome", success=False, failure="slipped", request_id="r", rank=1, source="arm") == "arm:r:1"
    )
    sent = replies.requests[1]
    assert (sent.url.path, sent.headers["content-type"]) == ("/outcomes", "application/json")
    assert json.loads(sent.content) == {"success": False, "failure": "slipped", "request_id": "r", "rank": 1, "source": "arm"}


def test_an_outcome_that_teaches_nothing_says_why(connect):
    error = {"code": "not_learnable", "message": "nothing can be learned", "detail": {"learnable": False, "why": "no image"}}
    replies = Replies(answer(422, {"error": error}))
    with pytest.raises(InvalidRequest, match="nothing can be learned") as refused:
        connect(replies)("report_outcome", success=True, request_id="r")
    assert (refused.value.code, refused.value.detail) == ("not_learnable", {"learnable": False, "why": "no image"})
    assert len(replies.requests) == 1, "it would be refused again"


def test_an_outcome_of_its_own_brings_its_images(connect):
    grasp = Grasp(kind="parallel_jaw", quality=0.5, center_px=[1, 2], angle=0.1)
    replies = Replies(answer(202, {"id": "arm:1:0"}))
    report = {"id": "arm:1:0", "grasp": grasp, "planner": "own", "camera": CameraIntrinsics(**CAMERA), "camera_pose": np.eye(4)}
    connect(replies)("report_outcome", success=True, observation=Observation(DEPTH, COLOUR), **report)
    parts = parts_of(replies.requests[0])
    assert set(parts) == {"outcome", "depth", "rgb"}
    np.testing.assert_array_equal(decode_depth(parts["depth"][1]), DEPTH)
    sent = json.loads(parts["outcome"][1])
    assert (sent["success"], sent["camera"], sent["camera_pose"]) == (True, CAMERA, np.eye(4).tolist())
    assert Grasp(**sent["grasp"]) == grasp


def test_hands_come_with_their_sizes(connect):
    hand = {"max_width": 0.05, "finger_depth": 0.04, "pad_depth": None, "colour": "red"}
    assert connect(Replies(answer(body={"grippers": {"mine": hand}})))("grippers")["mine"].pad == (0.0264, 0.04)


def test_planners_and_models_are_typed(connect):
    planner = {
        "name": "dense",
        "description": "d",
        "inputs": ["depth"],
        "grippers": [],
        "model": "dense",
        "version": 7,
        "ready": True,
    }
    found = connect(Replies(answer(body={"planners": [{**planner, "colour": "red"}]})))("planners")
    assert (found[0].name, found[0].version) == ("dense", 7)
    model = {"name": "de/nse", "versions": [1, 2], "champion": 2, "candidate": None, "previous": 1, "serving": 2}
    assert connect(Replies(answer(body={"models": [model]})))("models")[0].champion == 2
    replies = Replies(answer(body={**model, "cards": [{"version": 2}, {"version": 1}]}))
    assert connect(replies)("model", "de/nse").cards[0] == {"version": 2}
    assert replies.requests[0].url.raw_path == b"/models/de%2Fnse"


def test_fields_of_a_newer_server_are_ignored(connect):
    grasp = {"kind": "parallel_jaw", "quality": 0.5, "center_px": [1, 2], "angle": 0.1, "aura": "blue"}
    plan = connect(Replies(answer(body={**PLAN, "grasps": [grasp], "mood": "good"})))("predict_grasp", DEPTH)
    assert plan.grasps[0].quality == 0.5


def test_long_deadlines_are_sent_as_the_longest_that_the_server_takes(connect):
    replies = Replies(answer())
    connect(replies)("predict_grasp", DEPTH, deadline=3600)
    assert replies.requests[0].headers["x-deadline-ms"] == "600000"


# What is retried.


@pytest.mark.parametrize(
    "trouble",
    [
        refuse(429),
        refuse(503),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("server disconnected"),
        httpx.ReadError("reset"),
    ],
)
def test_passing_trouble_is_retried_with_growing_pauses(connect, trouble):
    replies = Replies(trouble, trouble, trouble, answer())
    assert connect(replies)("predict_grasp", DEPTH).planner == "antipodal"
    assert len(replies.requests) == 4
    first, second, third = connect.clock.pauses
    assert [0.05 <= first <= 0.1, 0.1 <= second <= 0.2, 0.2 <= third <= 0.4] == [True] * 3
    assert len({sent.headers["x-request-id"] for sent in replies.requests}) == 1, "one id for all attempts of a call"
    assert len({sent.content for sent in replies.requests}) == 1


def test_retry_after_is_honoured(connect):
    in_four_seconds = formatdate(connect.clock.now + 4, usegmt=True)
    replies = Replies(
        refuse(429, Retry_After="1.5"), refuse(503, Retry_After=in_four_seconds), refuse(503, Retry_After="soon"), answer()
    )
    connect(replies)("predict_grasp", DEPTH)
    assert 1.5 < connect.clock.pauses[0] < 1.7
    assert 2.4 < connect.clock.pauses[1] < 2.7
    assert connect.clock.pauses[2] < 0.5


def test_a_wait_beyond_the_deadline_is_not_begun(connect):
    replies = Replies(refuse(429, "queue_full", Retry_After="60"))
    with pytest.raises(ServerBusy) as caught:
        connect(replies)("predict_grasp", DEPTH)
    assert (caught.value.status, caught.value.code, connect.clock.pauses) == (429, "queue_full", [])


def test_attempts_end(connect):
    replies = Replies(refuse(503))
    with pytest.raises(ServerBusy):
        connect(replies, attempts=3)("predict_grasp", DEPTH)
    assert len(replies.requests) == 3


def test_pauses_share_the_deadline(connect):
    replies = Replies(refuse(503))
    with pytest.raises(ServerBusy):
        connect(replies, deadline=0.04)("predict_grasp", DEPTH)
    assert len(replies.requests) == 1, "the shortest pause is longer than what is left"


@pytest.mark.parametrize("deadline", [0.0, -1.0])
def test_no_attempt_without_time(connect, deadline):
    replies = Replies(answer())
    with pytest.raises(DeadlineExceeded):
        connect(replies)("predict_grasp", DEPTH, deadline=deadline)
    assert replies.requests == []


# What is raised.


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest), (404, InvalidRequest), (409, InvalidRequest), (413, InvalidRequest), (415, InvalidRequest),
        (422, InvalidRequest),
        (401, NotAllowed), (403, NotAllowed), (504, DeadlineExceeded), (500, GraspServerError), (302, GraspServerError),
    ],
)  # fmt: skip
def test_refusals_are_typed_and_not_retried(connect, status, kind):
    replies = Replies(refuse(status, X_Request_ID="abc"))
    with pytest.raises(kind) as caught:
        connect(replies)("predict_grasp", DEPTH)
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.message, error.detail) == (status, "some_code", "what was wrong", [{"loc": "x"}])
    assert (error.request_id, str(error)) == ("abc", "what was wrong")
    assert len(replies.requests) == 1


def test_a_time_out_is_a_missed_deadline(connect):
    with pytest.raises(DeadlineExceeded, match="did not answer within 10 s"):
        connect(Replies(httpx.ReadTimeout("slow")))("predict_grasp", DEPTH)


def test_nobody_there_says_what_to_start(connect):
    with pytest.raises(ServerUnreachable, match="make run") as caught:
        connect(Replies(httpx.ConnectError("refused")), attempts=2)("planners")
    assert (caught.value.status, caught.value.code) == (None, "unreachable")


@pytest.mark.parametrize("reply", [httpx.Response(502, text="<html>bad gateway</html>"), httpx.Response(404, content=b"")])
def test_errors_of_something_else_in_between(connect, reply):
    with pytest.raises(GraspServerError, match=f"answered {reply.status_code}") as caught:
        connect(Replies(reply))("predict_grasp", DEPTH)
    assert caught.value.code == f"http_{reply.status_code}"


@pytest.mark.parametrize("reply", [httpx.Response(200, text="hello"), answer(body={"grasps": []}), answer(body=[1])])
def test_a_reply_of_something_else(connect, reply):
    with pytest.raises(GraspServerError, match="is this a GraspLoop server") as caught:
        connect(Replies(reply))("predict_grasp", DEPTH)
    assert caught.value.code == "bad_reply"


@pytest.mark.parametrize(
    ("images", "options", "match"),
    [
        ({}, {}, "no image"),
        ({"depth": DEPTH * 1000}, {}, "millimetres"),
        ({"depth": DEPTH.astype(np.complex64)}, {}, "complex64"),
        ({"depth": DEPTH * 0}, {}, "no reading"),
        ({"depth": DEPTH, "rgb": COLOUR[:2]}, {}, "registered"),
        ({"rgb": COLOUR.astype(float)}, {}, "uint8"),
        ({"depth": DEPTH}, {"n_grasp": 3}, "n_grasp"),
        ({"depth": DEPTH}, {"failed": [{"center_px": [np.nan, 1]}]}, "finite"),
        ({"depth": DEPTH}, {"camera_pose": np.ones((4, 4))}, "last row"),
    ],
)
def test_what_the_server_would_refuse_is_refused_here(connect, images, options, match):
    replies = Replies(answer())
    with pytest.raises(ValueError, match=match):
        connect(replies)("predict_grasp", **images, **options)
    assert replies.requests == []


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "", "redis://127.0.0.1"])
def test_a_url_names_its_scheme(url):
    with pytest.raises(ValueError, match="http://127"):
        GraspClient(url)


# Readiness.


def test_ready(connect):
    assert connect(Replies(answer()))("ready") is True
    replies = Replies(refuse(503), answer())
    assert connect(replies)("ready") is False
    assert len(replies.requests) == 1, "asked once"
    assert connect(Replies(httpx.ConnectError("refused")))("ready") is False


def test_wait_until_ready(connect):
    loading = answer(503, {"ready": False})
    replies = Replies(*[httpx.ConnectError("refused")] * 15, *[loading] * 15, answer())
    connect(replies)("wait_until_ready", 600)
    assert len(replies.requests) == 31, "as often as it takes"
    with pytest.raises(ServerUnreachable):
        connect(Replies(httpx.ConnectError("refused")))("wait_until_ready", 0.02)
