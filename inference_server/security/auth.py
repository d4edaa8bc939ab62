"""Who may ask: API keys in constant time, a separate admin key, loopback clients where no key is set."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import Annotated

from fastapi import Security
from fastapi.security import APIKeyHeader
from pydantic import SecretStr
from starlette.requests import HTTPConnection

from inference_server.errors import ServerError
from shared.settings import ServerSettings

HEADER = "X-API-Key"
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def is_loopback(host: str) -> bool:
    """Whether an address or host name means this very machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


def check_exposure(settings: ServerSettings) -> None:
    """Raises ValueError when the server would be open to the network without anybody having asked for that."""
    if is_loopback(settings.host) or settings.allow_open or _keys(settings.api_keys):
        return
    raise ValueError(
        f"refusing to listen on {settings.host} without API keys: anybody on the network could use the server. "
        "Set API_KEYS=key1,key2 (or /run/secrets/api_keys), or HOST=127.0.0.1, or ALLOW_OPEN=true if the network is trusted"
    )


def _keys(secret: SecretStr | None) -> list[bytes]:
    text = secret.get_secret_value() if secret else ""
    return [key.strip().encode() for key in text.replace("\n", ",").split(",") if key.strip()]


class Keys:
    """The keys of one server."""

    def __init__(self, settings: ServerSettings):
        self._admin = _keys(settings.admin_key)
        self._clients = _keys(settings.api_keys)

    def known(self, sent: str | None) -> bool:
        return _among(sent, self._clients + self._admin)

    @property
    def open(self) -> bool:
        """No client keys are set: everybody who can connect may ask."""
        return not self._clients

    @property
    def has_admin(self) -> bool:
        return bool(self._admin)

    def is_admin(self, sent: str | None) -> bool:
        return _among(sent, self._admin)


def _among(sent: str | None, keys: list[bytes]) -> bool:
    given = (sent or "").encode()
    # No short cut: the time must not tell which key, or how much of it, was right.
    return sum(hmac.compare_digest(given, key) for key in keys) > 0


def _refuse(sent: str | None, what: str) -> ServerError:
    if sent is None:
        return ServerError(401, "missing_api_key", f"{what}; send it in the header {HEADER}")
    return ServerError(403, "invalid_api_key", f"{what}; the one in {HEADER} is not known")


class ApiKey(APIKeyHeader):
    """Dependency of everything but health and metrics: checks the key, and names the client's line in the queue."""

    def __init__(self) -> None:
        description = "one of the server's keys; not needed where none is set"
        super().__init__(name=HEADER, scheme_name="APIKeyHeader", description=description)

    async def __call__(self, request: HTTPConnection) -> str:
        """`client_of`. Raises ServerError 401 without a key, 403 with one that is not known."""
        keys: Keys = request.app.state.service.keys
        sent = request.headers.get(HEADER)
        if not keys.open and not keys.known(sent):
            raise _refuse(sent, "this server needs an API key")
        return client_of(request, keys)


class AdminKey(ApiKey):
    """Dependency of what changes models. Without an admin key only direct clients on this machine may."""

    async def __call__(self, request: HTTPConnection) -> str:
        """`client_of`. Raises ServerError 401 or 403."""
        keys: Keys = request.app.state.service.keys
        if keys.has_admin:
            sent = request.headers.get(HEADER)
            if not keys.is_admin(sent):
                raise _refuse(sent, "this needs the admin key")
        elif not _is_direct(request):
            advice = "without an admin key only clients on the server's own machine may do this; set ADMIN_KEY to allow others"
            raise ServerError(403, "admin_only", advice)
        return client_of(request, keys)


require_key = ApiKey()
require_admin = AdminKey()
Client = Annotated[str, Security(require_key)]


def _is_direct(request: HTTPConnection) -> bool:
    """Whether the client runs on this machine, and neither through a proxy nor in a web page."""
    forwarded = any(name in request.headers for name in _FORWARDED)
    # A web page that a person on this machine has open can make their browser send a POST here: it would carry Origin.
    local = request.client is not None and is_loopback(request.client.host)
    return local and not forwarded and "origin" not in request.headers


def client_of(request: HTTPConnection, keys: Keys) -> str:
    """Name of the line in the queue that a request waits in: its address, and its key where keys are used (hashed).

    Where they are not, a header that anybody can make up must not give a flood as many lines as it likes.
    """
    host = request.client.host if request.client else ""
    key = None if keys.open else request.headers.get(HEADER)
    return f"{host} {hashlib.sha256(key.encode()).hexdigest()[:12]}" if key else host
