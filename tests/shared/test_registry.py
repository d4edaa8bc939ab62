import errno
import json
import os
import shutil

import pytest

from shared.durable import is_disk_full
from shared.registry import BrokenModel, ModelCard, Registry, UnknownModel, UnknownVersion, asks_candidate

CARD = ModelCard(name="dense", architecture="dense", parameters={"channels": 8})


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "models")


def test_an_empty_registry_has_nothing_and_says_so(registry):
    assert registry.names() == []
    assert registry.champion("dense") is None
    with pytest.raises(UnknownModel, match="there are none"):
        registry.card("dense", 1)


def test_versions_count_up_and_only_the_pointer_serves(registry):
    assert [registry.publish("dense", bytes([n]), CARD) for n in range(3)] == [1, 2, 3]
    assert registry.versions("dense") == [1, 2, 3]
    assert registry.champion("dense") is None
    registry.promote("dense", 2)
    assert (registry.champion("dense"), registry.previous("dense")) == (2, None)
    assert (registry.root / "dense" / "champion").read_text().strip() == "2"


def test_rollback_goes_back_once(registry):
    for n in range(2):
        registry.publish("dense", bytes([n]), CARD)
        registry.promote("dense", n + 1)
    assert registry.previous("dense") == 1
    assert registry.rollback("dense") == 1
    assert registry.champion("dense") == 1
    with pytest.raises(UnknownVersion, match="no earlier champion"):
        registry.rollback("dense")


def test_promotion_ends_candidacy(registry):
    registry.publish("dense", b"1", CARD)
    registry.set_candidate("dense", 1)
    assert registry.candidate("dense") == 1
    registry.promote("dense", 1)
    assert registry.candidate("dense") is None


def test_changed_weights_are_noticed(registry):
    registry.publish("dense", b"good", CARD)
    assert registry.read_weights("dense", 1) == b"good"
    registry.weights_path("dense", 1).write_bytes(b"bad")
    with pytest.raises(BrokenModel, match="sha256"):
        registry.read_weights("dense", 1)


def test_half_written_versions_are_invisible(registry):
    registry.publish("dense", b"1", CARD)
    (registry.root / "dense" / ".tmp-dead").mkdir()
    (registry.root / "dense" / "2").mkdir()
    assert registry.versions("dense") == [1]
    assert registry.publish("dense", b"2", CARD) == 3


def test_decisions_are_kept_in_the_card(registry):
    registry.publish("dense", b"1", CARD)
    registry.record("dense", 1, {"decision": "promoted", "reason": "first"})
    (decision,) = registry.card("dense", 1).decisions
    assert decision["decision"] == "promoted"
    assert "time" in decision


@pytest.mark.parametrize("name", ["../dense", "", "Dense", "a/b", ".tmp"])
def test_no_name_leads_out_of_the_registry(registry, name):
    with pytest.raises(UnknownModel, match="no model name"):
        registry.publish(name, b"", CARD)


def test_unknown_versions_are_named(registry):
    registry.publish("dense", b"1", CARD)
    with pytest.raises(UnknownVersion, match=r"no version 9; there are \[1\]"):
        registry.promote("dense", 9)


def promoted(registry, count):
    for n in range(count):
        registry.publish("dense", bytes([n]), CARD)
        registry.promote("dense", n + 1)
        registry.record("dense", n + 1, {"action": "promoted"})


def damage_weights(folder):
    (folder / "3" / "weights.safetensors").write_bytes(b"")


def damage_card(folder):
    (folder / "3" / "card.json").write_text('{"name": "dense"')


def damage_pointer(folder):
    (folder / "champion").write_bytes(b"\xff\xfe")


def remove_version(folder):
    shutil.rmtree(folder / "3")


@pytest.mark.parametrize("damage", [damage_weights, damage_card, damage_pointer, remove_version])
def test_a_champion_that_cannot_be_followed_yields_to_the_one_before(registry, damage):
    promoted(registry, 3)
    registry.publish("dense", b"rejected", CARD)
    assert registry.repair("dense") == []
    damage(registry.root / "dense")
    assert "dense" in registry.fault("dense")
    assert "version 2 takes the champion's place" in registry.repair("dense")[0]
    assert (registry.champion("dense"), registry.previous("dense")) == (2, None)
    assert registry.card("dense", 2).decisions[-1]["action"] == "took the champion's place"
    assert (registry.fault("dense"), registry.repair("dense")) == (None, [])


@pytest.mark.parametrize("pointer", ["candidate", "previous"])
def test_other_pointers_that_cannot_be_followed_are_dropped(registry, pointer):
    promoted(registry, 2)
    registry.publish("dense", b"3", CARD)
    registry.set_candidate("dense", 3)
    shutil.rmtree(registry.root / "dense" / str(getattr(registry, pointer)("dense")))
    assert f"no {pointer} any more" in registry.repair("dense")[0]
    assert (registry.champion("dense"), getattr(registry, pointer)("dense")) == (2, None)


def test_a_damaged_version_is_not_promoted_and_not_rolled_back_to(registry):
    promoted(registry, 2)
    for version, move in ((1, lambda: registry.rollback("dense")), (3, lambda: registry.promote("dense", 3))):
        if version == 3:
            registry.publish("dense", b"3", CARD)
        registry.weights_path("dense", version).write_bytes(b"cut")
        with pytest.raises(BrokenModel, match="sha256"):
            move()
    assert registry.champion("dense") == 2


def test_versions_that_were_promoted_once_come_before_newer_ones(registry):
    promoted(registry, 3)
    registry.publish("dense", b"rejected", CARD)
    shutil.rmtree(registry.root / "dense" / "2")
    assert list(registry.fallbacks("dense")) == [1, 4]
    for version in (1, 3, 4):
        registry.weights_path("dense", version).write_bytes(b"cut")
    assert registry.champion("dense") == 3
    registry.repair("dense")
    assert registry.champion("dense") == 3  # nothing is intact


@pytest.mark.parametrize("name", ["²", "01", "9" * 5000, "-1"])
def test_odd_names_are_no_versions(registry, name):
    registry.publish("dense", b"1", CARD)
    (registry.root / "dense" / "champion").write_text(name)
    assert registry.champion("dense") is None
    if len(name) < 100:
        (registry.root / "dense" / name).mkdir()
        (registry.root / "dense" / name / "card.json").write_text("{}")
    assert registry.versions("dense") == [1]
    assert registry.publish("dense", b"2", CARD) == 2


@pytest.mark.parametrize("outcomes", [{"total": "many"}, {"count": -1}, {"count": 1e400}])
def test_a_card_whose_counts_are_none_cannot_be_read(registry, outcomes):
    registry.publish("dense", b"1", CARD)
    (registry.root / "dense" / "1" / "card.json").write_text(json.dumps({**CARD.model_dump(), "outcomes": outcomes}))
    with pytest.raises(BrokenModel, match="a count"):
        registry.card("dense", 1)


def test_a_full_disk_leaves_nothing_half_written(registry, monkeypatch):
    promoted(registry, 1)
    before = sorted(path.name for path in (registry.root / "dense").rglob("*"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write in (lambda: registry.publish("dense", b"2", CARD), lambda: registry.record("dense", 1, {"action": "x"})):
        with pytest.raises(OSError, match="No space") as raised:
            write()
        assert is_disk_full(raised.value)
    assert sorted(path.name for path in (registry.root / "dense").rglob("*")) == before


def test_nobody_chooses_a_version_by_the_id_of_a_request() -> None:
    names = [f"robot-7.{number}" for number in range(400)]
    one, other = ([asks_candidate(name, 0.5, key) for name in names] for key in ("a", "b"))
    assert one == [asks_candidate(name, 0.5, "a") for name in names]
    assert 150 < sum(one) < 250
    assert 150 < sum(left == right for left, right in zip(one, other, strict=True)) < 250
    assert not any(asks_candidate(name, 0.0, "a") for name in names)
    assert all(asks_candidate(name, 1.0, "a") for name in names)
