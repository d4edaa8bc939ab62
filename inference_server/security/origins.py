"""What a web page may do here: requests must name this server, and changes must not come from pages of others.

A page that a person has open can make their browser send requests to servers that only they can reach, and by an address of
its own that is pointed at this machine (DNS rebinding) read the answers too.
"""

import re
import socket

from starlette.types import Scope

from inference_server.errors import ServerError
from inference_server.security.auth import is_loopback
from shared.settings import ServerSettings

SERVICE_NAMES = ("inference_server",)
"""By which the other containers reach this one (docker-compose.yml)."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
"""The usual ones; others are looked at one by one."""
ANY_HOST = ("/live", "/ready")
"""Probes ask by whatever address they know, and learn nothing that is worth hiding."""
_AUTHORITY = re.compile(r"(?:([a-z][a-z0-9+.-]*)://)?(\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(?::(\d{1,5}))?", re.ASCII)
_PORTS = {"http": "80", "https": "443"}
_OWN_SITE = (b"same-origin", b"none")
_READING = ("GET", "HEAD", "OPTIONS")


class Origins:
    """Knows the names of this server, and which pages are its own."""

    def __init__(self, settings: ServerSettings) -> None:
        wanted = [name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()]
        self.any_host = "*" in wanted
        self.names = {settings.host.lower(), socket.gethostname().lower(), *SERVICE_NAMES, *LOOPBACK_NAMES, *wanted}

    def refusal(self, scope: Scope) -> ServerError | None:
        """403 for a Host that is not this server, and for a POST from a page of another origin."""
        hosts, origins, sites = [], [], []
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value.decode("latin-1").lower())
            elif name == b"origin":
                origins.append(value.decode("latin-1").lower())
            elif name == b"sec-fetch-site":
                sites.append(value)
        host = hosts[0] if len(hosts) == 1 else ""
        if not self.any_host and scope["path"] not in ANY_HOST and not self._is_ours(host, scope):
            advice = "add the name to ALLOWED_HOSTS if this server is reached by it"
            return ServerError(
                403, "host_not_allowed", f"the Host {', '.join(hosts)[:80]!r} is none of this server's: {advice}"
            )
        if scope["method"] in _READING:
            return None
        if not all(_same_origin(origin, host) for origin in origins) or not all(site in _OWN_SITE for site in sites):
            page = ", ".join(origins)[:80] or "another site"
            return ServerError(
                403, "origin_not_allowed", f"a web page of {page!r} may not send this; only pages of this server may"
            )
        return None

    def _is_ours(self, host: str, scope: Scope) -> bool:
        found = _AUTHORITY.fullmatch(host)
        if found is None or found[1]:
            return False
        name = found[2].strip("[]").rstrip(".")
        server = scope.get("server")
        return name in self.names or is_loopback(name) or (server is not None and name == server[0])


def _same_origin(origin: str, host: str) -> bool:
    """Whether a page's origin is the host, with its port, that the request was sent to."""
    page, asked = _AUTHORITY.fullmatch(origin), _AUTHORITY.fullmatch(host)
    if page is None or asked is None or page[1] not in _PORTS:
        return False
    usual = _PORTS[page[1]]
    return (page[2], page[3] or usual) == (asked[2], asked[3] or usual)
