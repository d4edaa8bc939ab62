"""What lies in a queue, for tests."""

from __future__ import annotations

from shared.streams import OutcomeStream


def dead_letters(stream: OutcomeStream) -> list[tuple[str, str]]:
    """(key, reason) of each, newest first."""
    entries = stream.client.xrevrange(stream.dead)
    return [(fields[b"key"].decode(), fields[b"reason"].decode()) for _, fields in entries]
