"""Outcomes as bytes: what goes in comes out, of every kind, and what cannot be read says why."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from grasp_client.contract import (
    Grasp,
    GraspMeta,
    ImageSpec,
    Outcome,
    OutcomeMeta,
    Push,
    PushMeta,
    UnknownMeta,
)
from shared.outcome_codec import (
    UnreadableOutcome,
    build_outcome,
    decode_outcome,
    encode_outcome,
    encode_outcomes,
    read_entry,
    stored_depth,
)

DEPTH = np.arange(12, dtype=np.uint16).reshape(3, 4)
SPECS = {"depth": ImageSpec(shape=[3, 4], dtype="uint16", scale=1e-4)}
GRASP = Grasp(kind="parallel_jaw", quality=0.5, center_px=[1.0, 2.0], angle=0.1)
POSE = np.eye(4).tolist()
METAS: dict[str, OutcomeMeta] = {
    "grasp": GraspMeta(grasp=GRASP, planner="antipodal", success=True, images=SPECS),
    "push": PushMeta(
        push=Push(start_base=POSE, end_base=POSE, length=0.1),
        planner="push",
        quality_before=0.2,
        quality_after=0.7,
        moved=0.04,
        images=SPECS,
    ),
}


def outcome(kind: str = "grasp", **changes: Any) -> Outcome[OutcomeMeta]:
    return Outcome(id="w:1:0", meta=METAS[kind].model_copy(update=changes), images={"depth": DEPTH})


def entry(sent: Outcome[Any], **changes: bytes) -> dict[bytes, bytes]:
    """Its fields as the queue gives them back, with some changed."""
    return {name.encode(): value for name, value in {**encode_outcome(sent).fields(), **changes}.items()}


@pytest.mark.parametrize("kind", sorted(METAS))
def test_an_outcome_survives_the_wire_bit_for_bit(kind: str) -> None:
    sent = outcome(kind)
    encoded, received = read_entry(entry(sent))
    assert encoded == encode_outcome(sent)
    assert (received.id, encoded.kind) == (sent.id, kind)
    assert received.meta == decode_outcome(encoded).meta == sent.meta
    np.testing.assert_array_equal(received.images["depth"], DEPTH)


def test_outcomes_on_one_view_share_its_bytes() -> None:
    view, fields = np.linspace(0.5, 0.8, 12, dtype=np.float32).reshape(3, 4), {"grasp": GRASP, "planner": "p", "success": True}
    seen = stored_depth(view)
    made = [build_outcome(GraspMeta, f"w:1:{number}", seen, None, {**fields, "time": 1.0}) for number in range(2)]
    first, second = encode_outcomes(made)
    assert first.images["depth"] is second.images["depth"]
    assert first == encode_outcome(build_outcome(GraspMeta, "w:1:0", view, None, {**fields, "time": 1.0}))


def test_an_entry_without_a_kind_is_a_grasp() -> None:
    fields = entry(outcome())
    del fields[b"kind"]
    encoded, received = read_entry(fields)
    assert encoded.kind == "grasp"
    assert isinstance(received.meta, GraspMeta)


def test_an_unknown_kind_is_carried_as_it_is() -> None:
    meta = json.dumps({"planner": "poke", "force": [1, 2], "images": {"depth": SPECS["depth"].model_dump()}}).encode()
    encoded, received = read_entry(entry(outcome(), kind=b"poke", meta=meta))
    assert isinstance(received.meta, UnknownMeta)
    assert received.meta.model_extra == {"force": [1, 2]}
    assert json.loads(encoded.meta)["force"] == [1, 2]
    with pytest.raises(ValueError, match="no kind of outcome"):
        encode_outcome(received)


def test_meta_that_leaves_fields_out_is_completed() -> None:
    meta = json.dumps({"planner": "p", "success": True, "grasp": GRASP.model_dump(exclude_unset=True)}).encode()
    encoded, _ = read_entry(entry(outcome(), meta=meta))
    assert json.loads(encoded.meta)["grasp"]["pose_base"] is None
    assert json.loads(encoded.meta)["time"] > 1e9


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"v": b"9"}, "schema version is 9"),
        ({"meta": b"{"}, "meta: Invalid JSON"),
        ({"meta": b"{}"}, "meta.success: Field required"),
        ({"kind": b"push"}, "meta.push: Field required"),
        ({"kind": b"\xff"}, "UTF-8"),
        ({"id": b""}, "id: String should have at least 1 character"),
        ({"depth": b"abc"}, "has 3 bytes"),
    ],
)
def test_what_cannot_be_read_says_why(changes: dict[str, bytes], reason: str) -> None:
    with pytest.raises(UnreadableOutcome, match=reason):
        read_entry(entry(outcome(), **changes))


@pytest.mark.parametrize(
    ("name", "spec", "reason"),
    [
        ("meta", {"shape": [1, 2], "dtype": "uint8"}, "no such image"),
        ("depth", {"shape": [-3, -4], "dtype": "uint16"}, "greater than or equal to 1"),
        ("depth", {"shape": [2**62, 4], "dtype": "uint16"}, "less than or equal to 65536"),
        ("depth", {"shape": [2**16, 2**16], "dtype": "uint16"}, "needs"),
    ],
)
def test_images_that_no_array_can_hold_are_refused(name: str, spec: dict[str, Any], reason: str) -> None:
    meta = {**METAS["grasp"].model_dump(mode="json"), "images": {name: spec}}
    with pytest.raises(UnreadableOutcome, match=reason):
        read_entry(entry(outcome(), meta=json.dumps(meta).encode()))


def test_images_must_be_what_the_meta_says() -> None:
    wrong = outcome()
    wrong.images["depth"] = DEPTH.astype(np.float32)
    with pytest.raises(ValueError, match=r"meta.images says uint16 \[3, 4\], got float32"):
        encode_outcome(wrong)
    with pytest.raises(ValueError, match=r"do not match meta\.images"):
        encode_outcome(outcome(images={}))
