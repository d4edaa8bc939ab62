"""Outcomes put into queues and shards, and what lies there, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from grasp_client.contract import Outcome
from shared.outcome_codec import encode_outcome
from shared.shards import ShardWriter
from shared.streams import OutcomeStream


def store(folder: Path, outcomes: Iterable[Outcome[Any]]) -> Path:
    """One shard of these outcomes; returns its folder."""
    return ShardWriter(folder).write([encode_outcome(outcome) for outcome in outcomes])


def send(stream: OutcomeStream, outcome: Outcome[Any], worker: str | None = None, sequence: int | None = None) -> bool:
    """Publish as a worker does."""
    return stream.publish(encode_outcome(outcome), worker, sequence)


def dead_letters(stream: OutcomeStream) -> list[tuple[str, str]]:
    """(key, reason) of each, newest first."""
    entries = stream.client.xrevrange(stream.dead)
    return [(fields[b"key"].decode(), fields[b"reason"].decode()) for _, fields in entries]
