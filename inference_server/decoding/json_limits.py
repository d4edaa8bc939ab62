"""How much JSON is read: to parse more would cost more than what is asked for."""

from inference_server.errors import ServerError

JSON_BYTES = 8 * 2**20
"""Most JSON that any body has: 640 x 480 numbers with all their digits are 6 MB."""
PIECE_BYTES = 2**16
"""So much of a body is looked at in one go, a fraction of a millisecond: in between, other threads may run."""


def more_than(most: int, text: bytes, *marks: bytes) -> bool:
    """Whether a text has more than `most` of the marks in all; what comes behind these is not looked at."""
    found = 0
    for start in range(0, len(text), PIECE_BYTES):
        found += sum(text.count(mark, start, start + PIECE_BYTES) for mark in marks)
        if found > most:
            return True
    return False


def json_too_large(size: int, most_bytes: int, what: str) -> ServerError:
    """413 that says what is too long and what to send instead."""
    message = f"{what}: {size} bytes, at most {most_bytes} are read; images and tensors go as binary data, see /docs"
    return ServerError(413, "json_too_large", message)
