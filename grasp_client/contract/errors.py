"""The envelope of every error that the server answers with."""

from __future__ import annotations

from grasp_client.contract.base import ApiModel


class ErrorDetail(ApiModel):
    code: str
    message: str
    detail: list[dict] | dict | str | None = None


class ErrorReply(ApiModel):
    error: ErrorDetail
