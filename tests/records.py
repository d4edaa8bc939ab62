"""Outcomes put into queues and shards, and what lies there, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from grasp_client.contract import Outcome
from shared.outcome_codec import encode_outcome
from shared.shards import ShardWriter
from shared.streams import OutcomeSender, OutcomeStream
from shared.streams.outcome_batches import OutcomeBatch, pack_outcomes


def store(folder: Path, outcomes: Iterable[Outcome[Any]]) -> Path:
    """One shard of these outcomes; returns its folder."""
    return ShardWriter(folder).write([encode_outcome(outcome) for outcome in outcomes])


def send(stream: OutcomeStream, outcome: Outcome[Any], worker: str | None = None, sequence: int = 0) -> bool:
    """Publish as a worker does, or without one as the server does; False where the worker had already sent this number."""
    if worker is None:
        stream.publish(encode_outcome(outcome))
        return True
    return send_scene(stream, [outcome], worker, sequence) == 1


def send_scene(stream: OutcomeStream, outcomes: Sequence[Outcome[Any]], worker: str, first: int) -> int:
    """Publish a scene's outcomes as a worker does; how many are new."""
    body = pack_outcomes([encode_outcome(outcome) for outcome in outcomes])
    return OutcomeSender(stream.client).publish([OutcomeBatch(worker, first, len(outcomes), body)])


def read_outcomes(stream: OutcomeStream, count: int = 1_000, block_ms: int = 100) -> list[Outcome[Any]]:
    """What a reader gets, outcome by outcome."""
    delivered = [each for entry in stream.read("reader", count, block_ms) for each in entry.outcomes]
    return [each.outcome for each in delivered if each.outcome is not None]


def dead_letters(stream: OutcomeStream) -> list[tuple[str, str]]:
    """(key, reason) of each, newest first."""
    entries = stream.client.xrevrange(stream.dead)
    return [(fields[b"key"].decode(), fields[b"reason"].decode()) for _, fields in entries]
