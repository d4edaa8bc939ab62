"""The envelope of every error that the server answers with."""

from typing import Any

from grasp_client.contract.base import ApiModel


class ErrorDetail(ApiModel):
    code: str
    message: str
    detail: list[dict[str, Any]] | dict[str, Any] | str | None = None


class ErrorReply(ApiModel):
    error: ErrorDetail
