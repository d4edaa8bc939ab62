"""Every error leaves as `{"error": {code, message, detail}}`, without tracebacks."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from grasp_client.contract import ErrorDetail, ErrorReply, plain_message, problems_of
from grasp_client.contract.errors import MOST_NAME
from grasp_client.imaging import ImageError
from planning.base import PlannerError
from shared.registry import BrokenModel, RegistryError

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499
"""Logged for a client that went away; nobody reads the reply."""
RETRY_SECONDS = 2
"""When to come back to a server that has no model yet."""
MOST_PROBLEMS = 10
"""Wrong fields that a reply names: to look for the name that was meant takes a millisecond for each."""
MOST_MESSAGE = 500
"""Characters of a message."""


class ServerError(Exception):
    """An error to be sent as it stands. `retry_after` is in seconds."""

    def __init__(self, status: int, code: str, message: str, *, detail: Any = None, retry_after: int | None = None):
        super().__init__(message)
        self.status, self.code, self.message, self.detail, self.retry_after = status, code, message, detail, retry_after


def invalid_fields(where: str, error: ValidationError, kind: type[BaseModel]) -> ServerError:
    """422 that names the first wrong fields of `where` (`request`, `outcome`, ...), which was validated as `kind`."""
    found = problems_of(error)
    return _invalid(
        [{**item, "loc": (where, *item["loc"]), "msg": plain_message(item, kind)} for item in found[:MOST_PROBLEMS]], len(found)
    )


def _invalid(problems: Sequence[Mapping[str, Any]], count: int) -> ServerError:
    """422 with the first of `count` problems in its message and some in its detail. Names may be as long as somebody likes."""
    detail = [
        {
            "field": ".".join(str(part)[:MOST_NAME] for part in problem["loc"]),
            "message": plain_message(problem)[:MOST_MESSAGE],
            "type": problem["type"],
        }
        for problem in problems[:MOST_PROBLEMS]
    ]
    more = f" (and {count - 1} more, see detail)" if count > 1 else ""
    return ServerError(422, "invalid_field", f"{detail[0]['field']}: {detail[0]['message']}{more}", detail=detail)


def as_server_error(error: Exception) -> ServerError:
    """What a caller is told about an error of any layer; only what nobody foresaw becomes a 500."""
    if isinstance(error, ServerError):
        return error
    if isinstance(error, (ImageError, PlannerError)):
        retry_after = RETRY_SECONDS if error.status == 503 else None
        return ServerError(error.status, error.code, error.message, retry_after=retry_after)
    if isinstance(error, BrokenModel):
        return ServerError(404, "broken_model", str(error))
    if isinstance(error, RegistryError):
        return ServerError(404, "unknown_model", str(error))
    logger.error("unforeseen error", exc_info=error)
    return ServerError(500, "internal", "the server made a mistake; its log has the details under this reply's X-Request-ID")


def error_body(error: ServerError) -> ErrorReply:
    return ErrorReply(error=ErrorDetail(code=error.code, message=error.message, detail=error.detail))


def error_response(error: ServerError) -> Response:
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    if error.status in (408, 413):
        headers["Connection"] = "close"  # the rest of the body is not read
    body = error_body(error).model_dump_json()
    return Response(body, error.status, headers=headers, media_type="application/json")


def error_bytes(error: ServerError) -> bytes:
    """The reply of a connection that no request came of; it is closed after it."""
    body = error_body(error).model_dump_json().encode()
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}", "content-type: application/json"]
    lines += [f"content-length: {len(body)}", "connection: close"]
    if error.retry_after is not None:
        lines.append(f"retry-after: {error.retry_after}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def install(app: FastAPI) -> None:
    """Send every exception of the app, the framework's own included, in the one shape."""

    async def known(request: Request, error: Exception) -> Response:
        refused = as_server_error(error)
        app.state.service.metrics.rejected.labels(refused.code).inc()
        return error_response(refused)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        message = {
            404: f"there is nothing at {request.url.path[:200]}; /docs lists what there is",
            405: f"{request.url.path[:200]} does not take {request.method}",
        }.get(error.status_code, str(error.detail))
        response = error_response(ServerError(error.status_code, code, message))
        response.headers.update(error.headers or {})
        return response

    async def fields(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        problems = error.errors()
        return error_response(_invalid(problems, len(problems)))

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    for kind in (ServerError, ImageError, PlannerError, RegistryError):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, fields)
    app.add_exception_handler(ClientDisconnect, gone)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may answer with these errors."""
    descriptions = {
        400: "the body cannot be decoded, or the request is no HTTP",
        401: "no API key was sent",
        403: "the API key is not known or lacks the role, or the Host or Origin is foreign",
        404: "unknown planner, model or version",
        409: "another report with this id says something else",
        406: "the Accept header names nothing that this endpoint has",
        408: "the body came too slowly",
        413: "the body or the image is too large",
        415: "unknown media type",
        422: "a field, shape, dtype or unit is wrong",
        429: "the queue is full; Retry-After says when to come back",
        503: "not ready, or the queue is away; Retry-After says when to come back",
        504: "the deadline passed",
    }
    model: type[BaseModel] = ErrorReply
    return {status: {"model": model, "description": descriptions[status]} for status in statuses}
