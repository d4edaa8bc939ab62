"""Who may ask: keys with roles, and loopback clients where no admin key is set."""

import ipaddress
import re
from dataclasses import dataclass

from fastapi.security import APIKeyHeader
from starlette.requests import HTTPConnection

from inference_server.errors import ServerError
from inference_server.security.keys import LOCAL, Caller, Keys, Role, has_keys
from shared.settings import ServerSettings

HEADER = "X-API-Key"
ASKER = "grasploop.asker"
"""Key of a request's scope."""
_DIRECT = re.compile(
    r"host|user-agent|accept(-.*)?|connection|keep-alive|content-.*|transfer-encoding|te|expect|cache-control|pragma|dnt|priority"
    r"|if-.*|range|referer|cookie|authorization|upgrade-insecure-requests|sec-.*|traceparent|tracestate|baggage"
    r"|x-api-key|x-request-id|x-deadline-ms"
)
"""Headers that a client of its own sends. Proxies tell of themselves in ever new ones: any other may be from one."""


@dataclass(frozen=True)
class Asker:
    """Who sent a request. client: name of the line in the queue that it waits in, its address and the name of its key.

    owner: whose a plan is, so that nobody else's report refers to it: the name of the key; without keys the address.
    """

    caller: Caller
    client: str
    owner: str


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
    if is_loopback(settings.host) or settings.allow_open or has_keys(settings):
        return
    raise ValueError(
        f"refusing to listen on {settings.host} without API keys: anybody on the network could use the server. "
        "Set API_KEYS=key1,key2 (or /run/secrets/api_keys), or HOST=127.0.0.1, or ALLOW_OPEN=true if the network is trusted"
    )


def _refuse(sent: str | None, what: str) -> ServerError:
    if sent is None:
        return ServerError(401, "missing_api_key", f"{what}; send it in the header {HEADER}")
    return ServerError(403, "invalid_api_key", f"{what}; the one in {HEADER} is not known")


class RequireRole(APIKeyHeader):
    """Dependency of everything but health and metrics: checks the key, and puts an `Asker` into scope[ASKER].

    role: None for what every key may do. Raises ServerError 401 without a key, 403 for one that is not known or lacks the role.
    """

    def __init__(self, role: Role | None = None) -> None:
        description = "one of the server's keys; not needed where none is set"
        super().__init__(name=HEADER, scheme_name="APIKeyHeader", description=description)
        self.role = role

    async def __call__(self, request: HTTPConnection) -> None:
        keys: Keys = request.app.state.service.keys
        sent = request.headers.get(HEADER)
        known = keys.find(sent) if sent else None
        if known is None and not keys.open:
            raise _refuse(sent, "this server needs an API key")
        caller = known or LOCAL
        request.scope[ASKER] = _asker(request.client.host if request.client else "", caller)
        if self.role == "admin" and not keys.has_admin:
            if not _is_direct(request):
                advice = "without an admin key only clients on the server's own machine may do this"
                raise ServerError(403, "admin_only", f"{advice}; set ADMIN_KEY to allow others")
        elif self.role and self.role not in caller.roles:
            if self.role == "admin" and known is None:
                raise _refuse(sent, "this needs the admin key")
            has = ", ".join(sorted(caller.roles))
            raise ServerError(403, "role_missing", f"the key {caller.name!r} has no role {self.role!r}, only {has}")


require_key = RequireRole()
require_predict, require_report, require_admin = RequireRole("predict"), RequireRole("report"), RequireRole("admin")


def _is_direct(request: HTTPConnection) -> bool:
    """Whether the client runs on this machine, and neither through a proxy nor in a web page (which would send Origin)."""
    local = request.client is not None and is_loopback(request.client.host)
    return local and all(_DIRECT.fullmatch(name) for name in request.headers)


def _asker(host: str, caller: Caller) -> Asker:
    # Where no key is needed, a header that anybody can make up must not give a flood as many lines as it likes.
    return Asker(caller, host, host) if caller is LOCAL else Asker(caller, f"{host} {caller.name}", caller.name)
