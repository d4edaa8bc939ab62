"""Scene tickets and registry commands against a real queue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grasp_client.contract import SceneRef
from shared.registry import ModelCard, Registry
from shared.settings import TrainerSettings
from shared.streams import SceneRequestStream, connect
from trainer_job.data.outcome_index import IndexEntry
from trainer_job.promotion.registry_commands import COMMANDS, apply_commands
from trainer_job.service.scene_requests import ATTEMPTS, BACKLOG_ROUNDS, SceneRequestIssuer


def office(url: str, folder: Path, **settings: object) -> SceneRequestIssuer:
    chosen = TrainerSettings(**{"outstanding_tickets": 5, "round_outcomes": 10, "seed": 3, "exploration": 0.25, **settings})  # type: ignore[arg-type]
    return SceneRequestIssuer(SceneRequestStream(connect(url)), folder / "tickets.json", chosen)


def take_all(stream: SceneRequestStream) -> list:
    taken = []
    while ticket := stream.take("w", block_ms=1):
        stream.done(ticket[0])
        taken.append(ticket[1])
    return taken


def test_the_wanted_number_of_tickets_is_kept_waiting(redis_url: str, tmp_path: Path) -> None:
    desk = office(redis_url, tmp_path)
    assert (desk.top_up(0), desk.top_up(0), desk.stream.outstanding()) == (5, 0, 5)
    key, ticket = desk.stream.take("w", block_ms=10) or ("", None)
    assert ticket is not None
    assert (ticket.purpose, ticket.exploration, ticket.attempts) == ("collect", 0.25, ATTEMPTS[ticket.kind])
    desk.stream.done(key)
    assert desk.top_up(0) == 1


def test_numbers_go_on_after_a_restart_and_scenes_can_be_asked_for_again(redis_url: str, tmp_path: Path) -> None:
    first = office(redis_url, tmp_path)
    first.top_up(0)
    tickets = take_all(first.stream)
    second = office(redis_url, tmp_path)
    second.top_up(0)
    tickets += take_all(second.stream)
    assert [ticket.id for ticket in tickets] == [f"collect-{n}" for n in range(10)]
    assert len({ticket.seed for ticket in tickets}) == 10
    assert {ticket.kind for ticket in tickets} >= {"single", "pile"}
    assert tickets == [office(redis_url, tmp_path).collect_ticket(n) for n in range(10)]
    assert tickets[0].seed != office(redis_url, tmp_path, seed=4).collect_ticket(0).seed


def test_a_share_of_the_scenes_keeps_ordinary_objects_in_mind_while_others_are_learned(redis_url: str, tmp_path: Path) -> None:
    def sets(**settings: object) -> list[str]:
        desk = office(redis_url, tmp_path, **settings)
        return [desk.collect_ticket(number).object_set for number in range(400)]

    assert set(sets()) == {"train"}
    assert set(sets(object_set="folder", rehearsal=0)) == {"folder"}
    mixed = sets(object_set="folder", rehearsal=0.25)
    assert set(mixed) == {"folder", "train"}
    assert 70 < mixed.count("train") < 130
    assert mixed == sets(object_set="folder", rehearsal=0.25)


def test_no_tickets_while_the_trainer_is_behind(redis_url: str, tmp_path: Path) -> None:
    assert office(redis_url, tmp_path).top_up(10 * BACKLOG_ROUNDS + 1) == 0
    assert office(redis_url, tmp_path).top_up(10 * BACKLOG_ROUNDS) == 5


def test_trials_of_a_judge_go_before_collecting(redis_url: str, tmp_path: Path) -> None:
    stream = SceneRequestStream(connect(redis_url))
    waiting = office(redis_url, tmp_path)
    stream.issue(waiting.collect_ticket(100))
    assert waiting.top_up(0, judging=True) == 0
    assert waiting.top_up(0) == 4
    key_and_ticket = [stream.take("w", 10) for _ in range(5)]
    for taken in key_and_ticket:
        assert taken
        stream.done(taken[0])
    assert waiting.top_up(0, judging=True) == 5


def test_scenes_are_asked_of_whom_the_model_serves_and_of_one_kind_if_wanted(redis_url: str, tmp_path: Path) -> None:
    mixed = office(redis_url, tmp_path, model="dense")
    assert {mixed.collect_ticket(number).planner for number in range(20)} == {"auto"}
    assert len({mixed.collect_ticket(number).kind for number in range(40)}) == 3
    own = office(redis_url, tmp_path, model="heatmap", scene_kind="single")
    assert {(t.planner, t.kind) for t in map(own.collect_ticket, range(20))} == {("heatmap", "single")}
    assert office(redis_url, tmp_path, model="heatmap", planner="dense").collect_ticket(0).planner == "dense"


def test_a_share_comes_back_to_scenes_that_failed(redis_url: str, tmp_path: Path) -> None:
    desk = office(redis_url, tmp_path)
    scene = SceneRef(seed=12345, kind="pile", object_set="train", profile="hard")
    record = IndexEntry("w:0:0", "shard-000001", 0, False, 0.0, scene, "dense", "dense", 1, 0.9, 0, False, False, "grasp")
    desk.learn([record])
    seeds = [desk.collect_ticket(n) for n in range(400)]
    again = [ticket for ticket in seeds if ticket.seed == 12345]
    assert 20 < len(again) < 65
    assert {(ticket.kind, ticket.profile) for ticket in again} == {("pile", "hard")}


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
