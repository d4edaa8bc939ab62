"""How much JSON is read: to parse more would cost more than what is asked for."""

from inference_server.errors import ServerError

JSON_BYTES = 8 * 2**20
"""Most JSON that any body has: 640 x 480 numbers with all their digits are 6 MB."""


def json_too_large(size: int, most_bytes: int, what: str) -> ServerError:
    """413 that says what is too long and what to send instead."""
    message = f"{what}: {size} bytes, at most {most_bytes} are read; images and tensors go as binary data, see /docs"
    return ServerError(413, "json_too_large", message)
