"""What can go wrong between a client and the server, one class per thing a program would do about it."""

from typing import Any

import httpx
from pydantic import ValidationError

from grasp_client.contract import ErrorDetail, ErrorReply


class GraspServerError(Exception):
    """Any failed call. `status` is the HTTP status, None when no reply came; `code` and `detail` are the server's own."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int | None = None,
        detail: list[dict[str, Any]] | dict[str, Any] | str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.detail = detail
        self.request_id = request_id


class InvalidRequest(GraspServerError):
    """400, 404, 409, 413, 415, 422: the request must change before it is sent again.

    Of an outcome, `code` tells what to do: `not_learnable` and `outcome_conflict` will never be taken, and `detail["why"]` of
    the first says what the next report needs; `contradicts_plan` names what to leave out; `plan_expired` asks for all of it.
    """


class NotAllowed(GraspServerError):
    """401, 403: the API key is missing or wrong."""


class ServerBusy(GraspServerError):
    """429, 503, and no retry succeeded inside the deadline: the queue is full, or the server is starting or stopping."""


class DeadlineExceeded(GraspServerError):
    """504, or no reply in time."""


class ServerUnreachable(GraspServerError):
    """No connection, or one that broke each time."""


_BY_STATUS: dict[int, type[GraspServerError]] = {
    **dict.fromkeys((400, 404, 409, 413, 415, 422), InvalidRequest),
    **dict.fromkeys((401, 403), NotAllowed),
    **dict.fromkeys((429, 503), ServerBusy),
    504: DeadlineExceeded,
}


def error_of(response: httpx.Response) -> GraspServerError:
    """The typed error of a reply that is no success, also when something between us and the server wrote it."""
    try:
        said = ErrorReply.model_validate_json(response.content, extra="ignore").error
    except ValidationError:
        excerpt = " ".join(response.text[:200].split())
        said = ErrorDetail(
            code=f"http_{response.status_code}",
            message=f"{response.request.url} answered {response.status_code}: {excerpt or 'empty body'}",
        )
    return _BY_STATUS.get(response.status_code, GraspServerError)(
        said.message,
        code=said.code,
        status=response.status_code,
        detail=said.detail,
        request_id=response.headers.get("X-Request-ID"),
    )
