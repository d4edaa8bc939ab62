"""Versions of the values of pushes are judged by whole episodes: who gets the thing, and in how many motions."""

from __future__ import annotations

import numpy as np
import pytest

from grasp_client.contract import EpisodeEnd, ModelRef, SceneRef, SceneRequest
from shared.settings import TrainerSettings
from shared.streams import SceneRequestStream, connect
from shared.streams.scene_mix import SceneMix
from trainer_job.data.outcome_index import IndexEntry
from trainer_job.data.sources import Sources
from trainer_job.promotion.ab_test import UPPER
from trainer_job.promotion.episode_test import MOST_MOTIONS, EpisodeTest
from trainer_job.promotion.evidence import RequestSigner, ServiceRecord
from trainer_job.service.scene_requests import SceneRequestIssuer

SIGNER = RequestSigner(bytes(32))
MIX = SceneMix("enclosed", "standard", "nothing")


def trial(pairs: int = 100, champion_trained: bool = True) -> EpisodeTest:
    return EpisodeTest("push-value", 1, 2, pairs, SIGNER, 0, MIX, champion_trained=champion_trained)


def end_of(asked: SceneRequest, done: bool, motions: int, kind: str = "grasp", version: int | None = None) -> IndexEntry:
    """The last outcome of an episode: of a grasp by another model, or of a push that lost the goal."""
    where = {name: getattr(asked, name) for name in ("seed", "kind", "object_set", "profile", "vary", "nonce")}
    scene = SceneRef(ticket=asked.id, **where)
    model = ModelRef(name="push-value", version=version or asked.model_version or 1)
    end = EpisodeEnd(done=done, motions=motions, model=model)
    by = ("dense", "dense", 7) if kind == "grasp" else ("push-value", "push-value", asked.model_version)
    success = done if kind == "grasp" else None
    rest = (0.9, 0, False, False, kind)
    return IndexEntry(f"w:{asked.id}:0", "shard-000001", 0, success, 0.0, scene, *by, *rest, episode=end)


def test_a_pair_is_won_by_getting_the_thing_and_then_by_fewer_motions() -> None:
    test = trial(4)
    asked = {(request.id.rsplit("-", 2)[1], request.model_version): request for request in test.missing(8)}
    ends = {("0", 1): (True, 4), ("0", 2): (True, 2), ("1", 1): (True, 9), ("1", 2): (False, 3)}
    ends |= {("2", 1): (True, 2), ("2", 2): (True, 2), ("3", 1): (False, 15), ("3", 2): (False, 4)}
    test.learn([end_of(asked[key], *end) for key, end in ends.items()])
    score = test.score()
    assert (score.pairs, score.wins, score.losses, score.both) == (4, 1, 1, 1)
    rates = score.rates()
    assert (rates["champion"]["successes"], rates["candidate"]["successes"]) == (3, 2)
    assert (rates["champion"]["motions"], rates["candidate"]["motions"]) == (5.0, 2.0)


def test_what_is_not_proven_or_of_another_version_counts_for_nothing() -> None:
    test = trial()
    first, *_ = test.missing(2)
    forged = end_of(first.model_copy(update={"nonce": "0" * 64}), True, 2)
    test.learn([forged, end_of(first, True, 2, version=9)])
    assert test.score().pairs == 0
    assert test.under_way() == 2
    test.learn([end_of(first, False, 2, kind="push")])
    assert test.under_way() == 1


def test_a_version_that_needs_fewer_motions_is_promoted() -> None:
    test, random = trial(300), np.random.default_rng(1)
    while (decided := test.decided()) is None:
        for asked in test.missing(16):
            test.learn([end_of(asked, True, 2 + int(random.integers(0, 3 if asked.model_version == 2 else 6)))])
    assert decided
    assert test.score().log_ratio >= UPPER
    record = test.record(True)
    assert record["trial"]["candidate"]["motions"] < record["trial"]["champion"]["motions"]
    assert "fewer motions" in record["rule"]


@pytest.mark.parametrize(("champion_trained", "lost", "promoted"), [(True, 1, False), (False, 1, True), (False, 2, False)])
def test_a_champion_that_has_learned_nothing_yields_to_what_is_not_worse(
    champion_trained: bool, lost: int, promoted: bool
) -> None:
    test = trial(4, champion_trained)
    for asked in test.missing(8):
        pair, candidate = int(asked.id.rsplit("-", 2)[1]), asked.model_version == 2
        worse = candidate if pair < lost else not candidate and pair == 3
        assert test.decided() is None
        test.learn([end_of(asked, True, 3 if worse else 2)])
    assert (test.score().wins, test.score().losses) == (1, lost)
    assert test.decided() is promoted


def test_episodes_are_asked_for_where_one_thing_is_wanted(tmp_path) -> None:
    asked = trial().missing(1)[0]
    assert (asked.kind, asked.attempts, asked.planner, asked.purpose) == ("enclosed", MOST_MOTIONS, "push", "judge")
    settings = TrainerSettings(model="push-value", data_dir=tmp_path, scene_kind="mixed")
    nobody = SceneRequestStream(connect("redis://127.0.0.1:1/0"))  # which is not asked
    issuer = SceneRequestIssuer(nobody, tmp_path / "counter.json", settings, SIGNER)
    requests = [issuer.collect_request(number) for number in range(20)]
    assert {(each.kind, each.planner, each.attempts) for each in requests} == {("enclosed", "push", 15)}
    assert SceneMix("scattered").for_planner("push").kind == "scattered"
    assert SceneMix("pile").for_planner("dense") == SceneMix("pile")


@pytest.mark.parametrize(("version", "counted"), [(3, True), (None, False)])
def test_an_episode_tells_of_the_version_whose_pushes_it_had(version: int | None, counted: bool) -> None:
    asked = SIGNER.sign(SceneRequest(id="collect-1", seed=5, kind="enclosed", planner="push", attempts=15))
    record = end_of(asked, True, 3, version=version)
    if version is None:
        assert record.episode is not None
        record = IndexEntry(**{**{name: getattr(record, name) for name in IndexEntry.__slots__}, "episode": None})
    service = ServiceRecord("push-value", SIGNER, {"collect-1": asked}.get, Sources())
    service.learn([record])
    assert [len(service.simulated[3]), len(service.simulated)] == ([1, 1] if counted else [0, 1])
    assert record.told_of("dense") == 7
