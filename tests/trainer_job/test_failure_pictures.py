"""Pictures of failed grasps: which, how many, and that nothing in an outcome stops what stores it."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import redis
from block_world import block_outcome
from PIL import Image
from records import send
from serving import serving, settings
from waiting import wait_until

from shared.outcome_codec import EncodedOutcome, encode_outcome
from shared.streams import FailureStore, OutcomeStream, PicturedFailure, connect
from shared.streams.failures import FAILURES, MOST_FAILURES
from trainer_job.ingest.failure_pictures import PERIOD_SECONDS, FailurePictures
from trainer_job.ingest.ingest import Ingest


def failed(number: int, **meta: object) -> EncodedOutcome:
    return encode_outcome(block_outcome(number, success=False, **meta))


def test_the_failure_that_was_promised_most_is_drawn_now_and_then(redis_url: str) -> None:
    now = 0.0
    store = FailureStore(connect(redis_url))
    pictures = FailurePictures(store, clock=lambda: now)
    held = encode_outcome(block_outcome(9, success=True, quality=0.99))
    drawn_at_random = failed(8, quality=0.98, exploration=True)
    pictures.look([held, drawn_at_random])
    assert store.read() == []
    pictures.look([held, drawn_at_random, failed(0, quality=0.2), failed(1, quality=0.7), failed(2, quality=0.4)])
    pictures.look([failed(3, quality=0.9)])
    assert [each.quality for each in store.read()] == [0.7]
    now = PERIOD_SECONDS
    pictures.look([failed(3, quality=0.9, scene=None, source="cell 4")])
    newest, older = store.read()
    assert (newest.quality, newest.simulated, newest.source) == (0.9, False, "cell 4")
    assert (older.model, older.version, older.simulated, older.failure) == ("dense", 1, True, "missed")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(newest.picture))))
    assert picture.shape == (96, 96, 3)
    red, _, blue = np.moveaxis(picture.astype(int), -1, 0)
    assert (red - blue > 80).sum() > 20  # the hand, in the colour of its quality, on a table without colour


def test_only_the_latest_are_kept_and_rows_that_do_not_fit_are_nobodys(redis_url: str) -> None:
    client = connect(redis_url)
    store = FailureStore(client)
    now = 0.0
    pictures = FailurePictures(store, clock=lambda: now)
    for number in range(MOST_FAILURES + 3):
        now += PERIOD_SECONDS
        pictures.look([failed(number, quality=number / 100)])
    assert client.llen(FAILURES) == MOST_FAILURES
    for row in (
        "no json",
        "{}",
        '{"picture": "PHNjcmlwdD4="}',
        store.read()[0].model_copy(update={"failure": "<b>"}).model_dump_json(),
    ):
        client.lpush(FAILURES, row)
    assert [each.quality for each in store.read()] == [number / 100 for number in range(MOST_FAILURES + 2, 6, -1)]
    with pytest.raises(ValueError, match="JPEG"):
        PicturedFailure.model_validate({**store.read()[0].model_dump(), "picture": "PHNjcmlwdD4="})


@pytest.mark.parametrize(
    "fault", [{"images": {}}, {"meta": b"{}"}, {"kind": "wave"}, {"images": {"depth": b"short"}}], ids=lambda fault: str(fault)
)
def test_what_cannot_be_drawn_is_left_out(fault: dict, redis_url: str) -> None:
    store = FailureStore(connect(redis_url))
    FailurePictures(store).look([replace(failed(1), **fault)])
    assert store.read() == []


def test_of_failures_without_images_another_is_drawn(redis_url: str) -> None:
    store = FailureStore(connect(redis_url))
    FailurePictures(store).look([replace(failed(1, quality=0.9), images={}), failed(2, quality=0.3)])
    assert [each.quality for each in store.read()] == [0.3]


def test_a_queue_that_is_away_stops_nothing() -> None:
    FailurePictures(FailureStore(redis.Redis(port=1))).look([failed(1)])


def test_what_ingest_stores_is_shown_by_the_server(redis_url: str, tmp_path: Path) -> None:
    client = connect(redis_url)
    stream = OutcomeStream(client)
    send(stream, block_outcome(4, success=False, quality=0.6))
    watch = FailurePictures(FailureStore(client)).look
    ingest = Ingest(stream, tmp_path / "shards", shard_outcomes=1, watch=watch)
    wait_until(lambda: ingest.step(block_ms=10) is not None)
    (tmp_path / "models").mkdir()
    with serving(settings(tmp_path / "models", redis_url=redis_url)) as server:
        wait_until(lambda: server.client.get("/loop").json()["failures"])
        (told,) = server.client.get("/loop").json()["failures"]
        assert (told["failure"], told["quality"], told["simulated"]) == ("missed", 0.6, True)
        assert "picture" not in told
        picture = server.client.get(f"/loop/failures/{told['id']}")
        assert picture.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(picture.content)).size == (96, 96)
        missing = server.client.get("/loop/failures/0123456789abcdef")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
