"""Commands for the registry from a server that may only read it: JSON entries of a Redis list, applied by the trainer."""

import logging
from typing import Any, Literal

import redis
from pydantic import BaseModel, ConfigDict

from shared.registry import Registry, RegistryError
from shared.streams import of_type

log = logging.getLogger(__name__)

COMMANDS = "grasp:registry"


class RegistryCommand(BaseModel):
    """`version` is needed to promote; a rollback goes to the previous champion."""

    model_config = ConfigDict(extra="ignore")

    action: Literal["promote", "rollback"]
    name: str
    version: int | None = None


def apply_commands(client: redis.Redis, registry: Registry) -> int:
    """Applies what waits, oldest first, and returns how many were applied. A command is removed only when it is done."""
    queue: Any = client
    applied = 0
    while (raw := of_type(queue, {COMMANDS: "list"}, lambda: queue.lindex(COMMANDS, 0))) is not None:
        try:
            _apply(RegistryCommand.model_validate_json(raw), registry)
            applied += 1
        except (ValueError, RegistryError) as error:
            log.warning("registry command refused", extra={"command": raw[:200].decode(errors="replace"), "error": str(error)})
        queue.lrem(COMMANDS, 1, raw)
    return applied


def _apply(command: RegistryCommand, registry: Registry) -> None:
    if command.action == "promote":
        if command.version is None:
            raise ValueError("promote needs a version")
        if registry.champion(command.name) == command.version:
            return
        registry.promote(command.name, command.version)
        version = command.version
    else:
        version = registry.rollback(command.name)
    action = "promoted" if command.action == "promote" else "rolled back to"
    registry.record(command.name, version, {"action": action, "reason": "by command"})
    log.info("registry command applied", extra={"action": command.action, "model": command.name, "version": version})
