import pytest

from shared.registry import BrokenModel, ModelCard, Registry, UnknownModel, UnknownVersion

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
