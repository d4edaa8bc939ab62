"""The keys of a server: each has a name and roles, and is looked up in constant time."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import SecretStr

from shared.settings import ServerSettings

Role = Literal["predict", "report", "worker", "admin"]
CLIENT_ROLES: frozenset[Role] = frozenset({"predict", "report"})
"""Of a key that names none; `worker` and `admin` imply them."""
_NAMED = re.compile(r"([\w.-]{1,64}):([a-z+]+):(.+)", re.ASCII)


@dataclass(frozen=True)
class Caller:
    """Who sent a request: the name of their key, and what it allows."""

    name: str
    roles: frozenset[Role]


LOCAL = Caller("local", CLIENT_ROLES)
"""Whoever asks a server without keys."""
ADMIN = Caller("admin", CLIENT_ROLES | {"admin"})
"""Whoever has ADMIN_KEY."""


class Keys:
    """The keys of one server, from `key` or `name:role+role:key`, separated by commas or lines.

    Raises ValueError for an entry of another form, a reserved name, and a key that stands there under two names.
    """

    def __init__(self, settings: ServerSettings) -> None:
        clients = {_entry(text) for text in _entries(settings.api_keys)}
        admins = [(key, ADMIN) for key in _entries(settings.admin_key)]
        if len(dict(clients)) < len(clients):
            raise ValueError("API_KEYS: a key stands there under two names; every name needs a key of its own")
        # Digests are all of one length: comparing them does not tell how long a key is. What is ADMIN_KEY too is found as that.
        self._callers = [(_digest(key), caller) for key, caller in [*clients, *admins]]
        self.open = not clients
        """Whether no client keys are set, so that everybody who can connect may ask."""
        self.has_admin = any("admin" in caller.roles for _, caller in self._callers)

    def find(self, sent: str | None) -> Caller | None:
        """Whose key was sent, if anybody's."""
        if not sent:
            return None
        given, found = _digest(sent), None
        # No short cut: the time must not tell which key, or how much of it, was right.
        for digest, caller in self._callers:
            if hmac.compare_digest(given, digest):
                found = caller
        return found


def has_keys(settings: ServerSettings) -> bool:
    """Whether API_KEYS names any."""
    return bool(_entries(settings.api_keys))


def key_with(role: Role, secret: SecretStr | None) -> str | None:
    """The first of API_KEYS that has a role."""
    return next((key for key, caller in map(_entry, _entries(secret)) if role in caller.roles), None)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _entries(secret: SecretStr | None) -> list[str]:
    text = secret.get_secret_value() if secret else ""
    return [entry.strip() for entry in text.replace("\n", ",").split(",") if entry.strip()]


def _entry(text: str) -> tuple[str, Caller]:
    """Key and caller. The message of what is raised shows nothing of a key."""
    if ":" not in text:
        return text, Caller(f"key-{hashlib.sha256(text.encode()).hexdigest()[:6]}", CLIENT_ROLES)
    named = _NAMED.fullmatch(text)
    roles = frozenset(role for role in get_args(Role) if named and role in named[2].split("+"))
    if named is None or len(roles) < len(set(named[2].split("+"))):
        expected = f"`key` or `name:role+role:key` with roles of {', '.join(get_args(Role))}"
        raise ValueError(f"API_KEYS: expected entries of the form {expected}; one with a colon is neither")
    if named[1] in (LOCAL.name, ADMIN.name):
        raise ValueError(f"API_KEYS: the name {named[1]!r} is the server's own; take another")
    implied = CLIENT_ROLES if roles & {"worker", "admin"} else frozenset[Role]()
    return named[3], Caller(named[1], roles | implied)
