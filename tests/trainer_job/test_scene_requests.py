"""Scene requests and registry commands against a real queue."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest

from grasp_client.contract import SceneRef, SceneRequest
from shared.registry import ModelCard, Registry
from shared.settings import TrainerSettings
from shared.streams import SceneRequestStream, connect
from trainer_job.data.outcome_index import IndexEntry
from trainer_job.promotion.evidence import RequestSigner
from trainer_job.promotion.registry_commands import COMMANDS, apply_commands
from trainer_job.service.scene_requests import ATTEMPTS, BACKLOG_ROUNDS, FAR_NUMBERS, SceneRequestIssuer


def issuer_of(url: str, folder: Path, **settings: object) -> SceneRequestIssuer:
    chosen = TrainerSettings(
        **{"outstanding_requests": 5, "outcomes_per_round": 10, "seed": 3, "exploration": 0.25, **settings}
    )  # type: ignore[arg-type]
    signer = RequestSigner.of(folder)
    return SceneRequestIssuer(SceneRequestStream(connect(url)), folder / "scene_requests.json", chosen, signer)


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def take_all(stream: SceneRequestStream) -> list:
    taken = []
    while request := stream.take("w", block_ms=1):
        stream.done(request[0])
        taken.append(request[1])
    return taken


def test_the_wanted_number_of_tickets_is_kept_waiting(redis_url: str, tmp_path: Path) -> None:
    issuer = issuer_of(redis_url, tmp_path)
    assert (issuer.top_up(0), issuer.top_up(0), issuer.stream.outstanding()) == (5, 0, 5)
    key, request = issuer.stream.take("w", block_ms=10) or ("", None)
    assert request is not None
    assert (request.purpose, request.exploration, request.attempts) == ("collect", 0.25, ATTEMPTS[request.kind])
    issuer.stream.done(key)
    assert issuer.top_up(0) == 1


def test_nothing_is_collected_while_all_workers_are_refused(redis_url: str, tmp_path: Path) -> None:
    issuer = issuer_of(redis_url, tmp_path, planner="dense")
    assert issuer.top_up(0) == 5
    judged = SceneRequest(id="judge-dense-2-0-champion", seed=1)
    issuer.stream.issue(judged)
    issuer.workers.report("w", {"refused": {"dense": "it plans for a jaw"}})
    assert issuer.top_up(0) == 0
    assert issuer.refusal == "it plans for a jaw"
    assert take_all(issuer.stream) == [judged]
    issuer.workers.report("w", {"refused": {"suction": "it plans for a cup"}})
    assert (issuer.top_up(0), issuer.refusal) == (5, "")


def test_exploration_falls_from_scene_to_scene_until_it_stays(redis_url: str, tmp_path: Path) -> None:
    issuer = issuer_of(redis_url, tmp_path, exploration_start=0.8, exploration_decay=0.9)
    shares = [issuer.collect_request(number).exploration for number in (0, 1, 5, 40, FAR_NUMBERS)]
    assert shares == pytest.approx([0.8, 0.72, 0.8 * 0.9**5, 0.25, 0.25])


def test_numbers_go_on_after_a_restart_and_scenes_can_be_asked_for_again(redis_url: str, tmp_path: Path) -> None:
    first = issuer_of(redis_url, tmp_path)
    first.top_up(0)
    requests = take_all(first.stream)
    second = issuer_of(redis_url, tmp_path)
    second.top_up(0)
    requests += take_all(second.stream)
    assert [request.id for request in requests] == [f"collect-{n}" for n in range(10)]
    assert len({request.seed for request in requests}) == 10
    assert {request.kind for request in requests} >= {"single", "pile"}
    assert requests == [issuer_of(redis_url, tmp_path).collect_request(n) for n in range(10)]
    assert requests[0].seed != issuer_of(redis_url, tmp_path, seed=4).collect_request(0).seed


@pytest.mark.parametrize("text", ["", "{", "[]", '{"issued": -1}', '{"issued": "7"}', '{"issued": 1e999}', "[" * 100_000, "\0"])
def test_a_counter_that_cannot_be_read_gives_no_number_again(redis_url: str, tmp_path: Path, text: str) -> None:
    issuer_of(redis_url, tmp_path).reserve(100)
    (tmp_path / "scene_requests.json").write_text(text)
    issuer = issuer_of(redis_url, tmp_path)
    numbers = issuer.reserve(3)
    assert min(numbers) >= FAR_NUMBERS
    assert issuer.collect_request(numbers[0]).id == f"collect-{numbers[0]}"
    assert issuer_of(redis_url, tmp_path).issued == numbers[-1] + 1


def test_numbers_are_not_given_while_the_disk_is_full(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = issuer_of(redis_url, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full_disk)
        with pytest.raises(OSError, match="No space"):
            issuer.top_up(0)
    assert (issuer.issued, issuer.stream.outstanding()) == (0, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["scene_requests.key"]
    assert issuer.top_up(0) == 5


def test_numbers_go_on_from_those_that_version_0_1_0_has_given(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "tickets.json").write_text('{"issued": 7}')
    issuer = issuer_of(redis_url, tmp_path)
    issuer.top_up(0)
    assert [request.id for request in take_all(issuer.stream)] == [f"collect-{n}" for n in range(7, 12)]
    assert issuer_of(redis_url, tmp_path).issued == 12
    assert not (tmp_path / "tickets.json").exists()


def test_settings_count_by_the_names_of_version_0_1_0_too(monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = {
        "JUDGE_PAIRS": "max_ab_pairs", "REHEARSAL": "replay_ratio", "ROUND_OUTCOMES": "outcomes_per_round",
        "OUTSTANDING_TICKETS": "outstanding_requests", "LEAST_STEPS": "min_steps",
    }  # fmt: skip
    for old, new in renamed.items():
        monkeypatch.setenv(old, "1")
        assert getattr(TrainerSettings(), new) == 1
        monkeypatch.setenv(new.upper(), "0.5" if new == "replay_ratio" else "2")
        assert getattr(TrainerSettings(), new) in (0.5, 2)


def test_a_share_of_the_scenes_keeps_ordinary_objects_in_mind_while_others_are_learned(redis_url: str, tmp_path: Path) -> None:
    def sets(**settings: object) -> list[str]:
        issuer = issuer_of(redis_url, tmp_path, **settings)
        return [issuer.collect_request(number).object_set for number in range(400)]

    assert set(sets()) == {"train"}
    assert set(sets(object_set="folder", replay_ratio=0)) == {"folder"}
    mixed = sets(object_set="folder", replay_ratio=0.25)
    assert set(mixed) == {"folder", "train"}
    assert 70 < mixed.count("train") < 130
    assert mixed == sets(object_set="folder", replay_ratio=0.25)


def test_no_tickets_while_the_trainer_is_behind(redis_url: str, tmp_path: Path) -> None:
    assert issuer_of(redis_url, tmp_path).top_up(10 * BACKLOG_ROUNDS + 1) == 0
    assert issuer_of(redis_url, tmp_path).top_up(10 * BACKLOG_ROUNDS) == 5


def test_trials_of_a_judge_go_before_collecting(redis_url: str, tmp_path: Path) -> None:
    stream = SceneRequestStream(connect(redis_url))
    waiting = issuer_of(redis_url, tmp_path)
    stream.issue(waiting.collect_request(100))
    assert waiting.top_up(0, testing=True) == 0
    assert waiting.top_up(0) == 4
    key_and_ticket = [stream.take("w", 10) for _ in range(5)]
    for taken in key_and_ticket:
        assert taken
        stream.done(taken[0])
    assert waiting.top_up(0, testing=True) == 5


def test_scenes_are_asked_of_whom_the_model_serves_and_of_one_kind_if_wanted(redis_url: str, tmp_path: Path) -> None:
    mixed = issuer_of(redis_url, tmp_path, model="dense")
    assert {mixed.collect_request(number).planner for number in range(20)} == {"auto"}
    asked = [mixed.collect_request(number) for number in range(60)]
    assert {request.kind for request in asked} == {"single", "pile", "packed", "bin"}
    assert {request.profile for request in asked} == {"standard", "hard"}
    assert all(request.vary == ["hands", "cameras"] for request in asked)
    own = issuer_of(redis_url, tmp_path, model="heatmap", scene_kind="single")
    assert {(t.planner, t.kind) for t in map(own.collect_request, range(20))} == {("heatmap", "single")}
    assert issuer_of(redis_url, tmp_path, model="heatmap", planner="dense").collect_request(0).planner == "dense"


def test_a_share_comes_back_to_scenes_that_failed(redis_url: str, tmp_path: Path) -> None:
    issuer = issuer_of(redis_url, tmp_path)
    asked = next(request for request in map(issuer.collect_request, range(100)) if request.kind == "pile")
    fields = {name: getattr(asked, name) for name in ("seed", "kind", "object_set", "profile", "vary", "nonce")}
    scene = SceneRef(ticket=asked.id, **fields)
    record = IndexEntry("w:0:0", "shard-000001", 0, False, 0.0, scene, "dense", "dense", 1, 0.9, 0, False, False, "grasp")
    unasked = scene.model_copy(update={"seed": 12345})
    issuer.learn([record, replace(record, scene=unasked), replace(record, scene=unasked.model_copy(update={"nonce": None}))])
    requests = [issuer.next_request(number) for number in range(1000, 1400)]
    again = [request for request in requests if request.id.startswith("revisit-")]
    assert 20 < len(again) < 65
    wanted = asked.model_dump(exclude={"id", "nonce"})
    assert all(request.model_dump(exclude={"id", "nonce"}) == wanted for request in again)
    assert len({request.nonce for request in requests}) == 400


def test_only_its_own_requests_are_known_again(redis_url: str, tmp_path: Path) -> None:
    issuer = issuer_of(redis_url, tmp_path)
    asked = issuer.collect_request(3)
    assert issuer_of(redis_url, tmp_path).request_of("collect-3") == asked
    assert issuer_of(redis_url, tmp_path / "other").collect_request(3).nonce != asked.nonce
    assert issuer_of(redis_url, tmp_path, exploration=0.5).collect_request(3).nonce != asked.nonce
    for name in ("", "collect-", "collect--3", "collect-x", "revisit-3", "judge-dense-2-3-champion", f"collect-{10**40}"):
        assert issuer.request_of(name) is None


def test_the_secret_of_nonces_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    request = SceneRequest(id="collect-1", seed=1)
    first = RequestSigner.of(tmp_path / "data").sign(request)
    assert RequestSigner.of(tmp_path / "data").sign(first) == first
    key = tmp_path / "data" / "scene_requests.key"
    assert (key.stat().st_mode & 0o777, len(key.read_bytes())) == (0o600, 32)
    key.write_bytes(b"cut")
    other = RequestSigner.of(tmp_path / "data").sign(request)  # a damaged one ends nothing: what it signed proves nothing now
    assert other.nonce != first.nonce
    assert RequestSigner.of(tmp_path / "data").sign(request) == other


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "models")
    for _ in range(3):
        registry.publish("dense", b"weights", ModelCard(name="dense", architecture="dense"))
    registry.promote("dense", 1)
    return registry


def test_commands_of_a_server_are_applied_in_order_and_written_down(redis_url: str, registry: Registry) -> None:
    client = connect(redis_url)
    commands = [{"action": "promote", "name": "dense", "version": 2}, {"action": "promote", "name": "dense", "version": 3}]
    for command in [*commands, {"action": "rollback", "name": "dense"}]:
        client.rpush(COMMANDS, json.dumps(command))
    assert apply_commands(client, registry) == 3
    assert registry.champion("dense") == 2
    assert [decision["action"] for decision in registry.card("dense", 2).decisions] == ["promoted", "rolled back to"]
    assert client.llen(COMMANDS) == 0


@pytest.mark.parametrize(
    "raw",
    [
        "nonsense",
        '{"action": "delete", "name": "dense"}',
        '{"action": "promote", "name": "dense", "version": 99}',
        '{"action": "promote", "name": "dense"}',
        '{"action": "rollback", "name": "dense"}',
    ],
)
def test_a_command_that_makes_no_sense_stops_nothing(redis_url: str, registry: Registry, raw: str) -> None:
    client = connect(redis_url)
    client.rpush(COMMANDS, raw, json.dumps({"action": "promote", "name": "dense", "version": 2}))
    assert apply_commands(client, registry) == 1
    assert registry.champion("dense") == 2
