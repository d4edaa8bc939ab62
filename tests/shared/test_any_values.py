"""Rows of status, scene requests, cards, commands, lines of shards and entries: any value is read or refused, and nothing else.

pytest -m hypothesis --hypothesis-profile long tests/shared/test_any_values.py     # a million values
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from properties import examples
from pydantic import ValidationError

from grasp_client.contract import SceneRequest
from shared.outcome_codec import UnreadableOutcome, read_entry
from shared.registry import ModelCard
from shared.shards import ShardRow
from shared.streams import WorkerStatusStore
from trainer_job.promotion.registry_commands import RegistryCommand

AT_ONCE = 40
"""Values of one example."""
NUMBERS = [0, -1, 1, 1e-300, 0.5, 1e30, 1e300, 2**63, -(2**63), float("nan"), float("inf")]
VALUES = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
FIELDS = {
    "status": ("time", "attempts", "successes", "state", "trouble", "asks"),
    "request": ("id", "seed", "kind", "object_set", "purpose", "planner", "model_version", "exploration", "attempts", "nonce"),
    "card": ("name", "version", "architecture", "outcomes", "metrics", "decisions", "calibration", "parent"),
    "command": ("action", "name", "version"),
    "line": ("id", "kind", "at", "digests", "meta"),
    "entry": ("v", "id", "kind", "meta", "depth"),
}
ROWS = st.sampled_from(list(FIELDS.values())).flatmap(lambda names: st.dictionaries(st.sampled_from(names), VALUES, max_size=6))
TEXTS = ROWS.map(lambda row: json.dumps(row).encode()) | st.binary(max_size=12)


def read_row(text: bytes) -> Any:
    return WorkerStatusStore(client=None)._recent({b"w": text}, 60.0)  # type: ignore[arg-type]


def read_fields(text: bytes) -> Any:
    with suppress(UnreadableOutcome):
        return read_entry({b"v": b"1", b"id": text[:9], b"kind": b"grasp", b"meta": text, b"depth": text})


READERS: tuple[Callable[[bytes], Any], ...] = (
    read_row,
    SceneRequest.model_validate_json,
    ModelCard.model_validate_json,
    RegistryCommand.model_validate_json,
    ShardRow.model_validate_json,
    read_fields,
)


@examples(40, long=10**6 // AT_ONCE)
@given(texts=st.lists(TEXTS, min_size=AT_ONCE, max_size=AT_ONCE))
def test_any_value_is_read_or_refused(texts: list[bytes]) -> None:
    for text in texts:
        for read in READERS:
            with suppress(ValidationError):
                read(text)
