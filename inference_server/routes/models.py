"""Planners, hands and models: what can be asked for, and which version is champion."""

import asyncio
import json
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request

from grasp_client.contract import PRESETS, Gripper, Grippers, ModelEntry, ModelPointers, Models, PlannerEntry, Planners
from inference_server.admission import service_of
from inference_server.errors import ServerError, documented
from inference_server.security.auth import require_admin
from inference_server.service import Service
from shared.registry import BrokenModel, Registry, UnknownModel, UnknownVersion

router = APIRouter(tags=["models"])

COMMANDS = "grasp:registry"
"""Redis list of commands that the owner of the registry (the trainer) applies, where this server may only read it."""
POINTER_SECONDS = 10.0

ModelName = Annotated[str, Path(max_length=64, description="name of a model in the registry")]
Action = Literal["promote", "rollback"]
READING = documented(401, 403, 404)
ADMIN = documented(401, 403, 404, 422, 503)


@router.get("/planners", responses=documented(401, 403))
async def planners(request: Request) -> Planners:
    """The planners of this server, what they need, and which model version they use now."""
    service = service_of(request)
    serving, available = service.weights.versions(), service.planning.available()
    return Planners(
        planners=[
            PlannerEntry(
                name=planner.name,
                description=planner.description,
                inputs=sorted(planner.inputs),
                grippers=sorted(planner.grippers),
                model=planner.model_name,
                version=serving.get(planner.model_name or ""),
                ready=planner.name in available,
                cpu_seconds=round(service.planning.cpu_seconds(planner), 4),
            )
            for planner in service.planners.values()
        ]
    )


@router.get("/grippers", responses=documented(401, 403))
def grippers() -> Grippers:
    """The hands that `gripper` may name in a request, with their sizes."""
    return Grippers(grippers={name: Gripper.model_validate(name) for name in PRESETS})


@router.get("/models", responses=documented(401, 403))
def models(request: Request) -> Models:
    """The models of the registry with their versions."""
    service = service_of(request)
    return Models(models=[_pointers(service, name) for name in service.registry.names()])


@router.get("/models/{name}", responses=READING)
def model(
    request: Request, name: ModelName, limit: Annotated[int, Query(ge=1, le=1000, description="most cards, newest first")] = 50
) -> ModelEntry:
    """One model with the cards of its newest versions, and the versions among these whose cards cannot be read."""
    service = service_of(request)
    pointers = _pointers(service, name)
    cards, broken = [], []
    for version in pointers.versions[: -limit - 1 : -1]:
        try:
            cards.append(service.registry.card(name, version).model_dump())
        except BrokenModel:
            broken.append(version)
    return ModelEntry(**pointers.model_dump(), cards=cards, broken=broken)


@router.post("/models/{name}/promote", responses=ADMIN, dependencies=[Depends(require_admin)])
async def promote(
    request: Request, name: ModelName, version: Annotated[int, Query(ge=1, description="version to make the champion")]
) -> ModelPointers:
    """Make a version the champion, and serve it."""
    service = service_of(request)
    service.registry.card(name, version)
    await _move(service, "promote", name, version)
    return await _serve(service, name)


@router.post("/models/{name}/rollback", responses=ADMIN, dependencies=[Depends(require_admin)])
async def rollback(request: Request, name: ModelName) -> ModelPointers:
    """Move the champion pointer back to the champion before this one, and serve that."""
    service = service_of(request)
    champion, previous = service.registry.champion(name), service.registry.previous(name)
    if previous is None or previous == champion:
        raise UnknownVersion(f"{name} has no earlier champion to go back to (champion: {champion})")
    await _move(service, "rollback", name, previous)
    return await _serve(service, name)


@router.post("/models/{name}/reload", responses=ADMIN, dependencies=[Depends(require_admin)])
async def reload(request: Request, name: ModelName) -> ModelPointers:
    """Look at the champion pointer now, and try again a version that failed to load."""
    return await _serve(service_of(request), name)


async def _serve(service: Service, name: str) -> ModelPointers:
    if name in service.weights.architectures:
        await asyncio.to_thread(service.weights.look, name, insist=True)
    return await asyncio.to_thread(_pointers, service, name)


async def _move(service: Service, action: Action, name: str, target: int) -> None:
    """Move the pointer here, or ask the trainer to where the registry is read-only. Raises ServerError 503."""
    if service.registry.writable():
        await asyncio.to_thread(_move_here, service.registry, action, name, target)
        return
    command: dict[str, Any] = {"action": action, "name": name, "version": target}
    await asyncio.to_thread(service.outcomes.command, COMMANDS, json.dumps(command))
    until = time.monotonic() + POINTER_SECONDS
    while service.registry.champion(name) != target:
        if time.monotonic() > until:
            raise ServerError(
                503, "pointer_not_moved",
                f"the registry is read-only here and the trainer has not applied the {action} within {POINTER_SECONDS:g} s; "
                "it stays queued: is the trainer running?", retry_after=10,
            )  # fmt: skip
        await asyncio.sleep(0.05)


def _move_here(registry: Registry, action: Action, name: str, target: int) -> None:
    if action == "promote":
        registry.promote(name, target)
    else:
        registry.rollback(name)
    registry.record(name, target, {"action": "promoted" if action == "promote" else "rolled back to", "reason": "by request"})


def _pointers(service: Service, name: str) -> ModelPointers:
    registry = service.registry
    versions, test = registry.versions(name), registry.ab_test(name)
    if not versions:
        raise UnknownModel(f"no model {name!r}; there are {', '.join(registry.names()) or 'none'}")
    return ModelPointers(
        name=name,
        versions=versions,
        champion=registry.champion(name),
        candidate=registry.candidate(name),
        previous=registry.previous(name),
        ab_test=test.text if test else None,
        serving=service.weights.versions().get(name),
        failure=service.weights.failures().get(name),
    )
