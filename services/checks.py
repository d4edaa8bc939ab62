"""What `grasploop doctor` looks at where the services are installed: disk, port, queue, device, models, cores."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import redis
from pydantic import ValidationError

from grasp_client.cli.doctor import Finding
from grasp_client.contract import plain_message
from services.local import PortInUse, check_port
from services.queue import QueueError, server_binary
from shared.durable import LEAST_FREE_BYTES
from shared.registry import Registry
from shared.settings import LocalSettings, ServerSettings
from shared.streams import connect, redacted

ROOM_BYTES = 2**31
"""With less than this a loop of hours may fill the disk."""


def machine() -> Iterator[Finding]:
    """Settings, cores, disk, the port, the queue, the device, the models of the data folder."""
    try:
        settings, serving = LocalSettings(), ServerSettings()
    except ValidationError as error:
        for problem in error.errors():
            name, value = ".".join(map(str, problem["loc"])).upper(), str(problem.get("input"))[:80]
            yield Finding(
                "wrong", "settings", f"{name}={value}: {plain_message(problem)}", "mend it in .env or in the environment"
            )
        return
    yield _cores(settings.workers)
    yield _disk(settings.data_dir)
    yield _port(settings.host, settings.port)
    yield _queue(settings.redis_url)
    yield _device(serving.device)
    yield from _models(settings.data_dir / "models")


def _cores(workers: int) -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers > cores:
        return Finding(
            "odd", "cores", f"{workers} workers on {cores} cores", "WORKERS of one less than there are cores is fastest"
        )
    return Finding("ok", "cores", f"{cores}, of which `make run` gives workers {workers}")


def _disk(folder: Path) -> Finding:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / 2**30:.1f} GiB free at {folder}"
    if not os.access(there, os.W_OK):
        return Finding("wrong", "disk", f"{there} cannot be written", "set DATA_DIR to a folder of your own")
    if free < LEAST_FREE_BYTES:
        return Finding("wrong", "disk", text, "free some, or set DATA_DIR to another disk")
    return Finding(
        "odd" if free < ROOM_BYTES else "ok", "disk", text, "a loop of hours may fill it" if free < ROOM_BYTES else ""
    )


def _port(host: str, port: int) -> Finding:
    try:
        check_port(host, port)
    except PortInUse as error:
        return Finding("odd", "port", str(error), "a server may run already")
    return Finding("ok", "port", f"{host}:{port} is free")


def _queue(url: str | None) -> Finding:
    if url is None:
        try:
            return Finding("ok", "queue", f"`make run` starts {server_binary()}")
        except QueueError as error:
            return Finding("wrong", "queue", str(error), "install Redis or Valkey, or set REDIS_URL")
    try:
        connect(url).ping()
    except (redis.RedisError, ValueError, OSError) as error:
        return Finding("wrong", "queue", f"{redacted(url)} does not answer: {redacted(str(error))}", "see docs/how_to/queue.md")
    return Finding("ok", "queue", f"{redacted(url)} answers")


def _device(wanted: str) -> Finding:
    try:
        import torch
    except ImportError:
        return Finding("ok", "device", "torch is not installed: no networks here")
    if torch.cuda.is_available():
        return Finding("ok", "device", f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    if wanted.startswith("cuda"):
        return Finding(
            "wrong", "device", f"DEVICE={wanted}, but torch {torch.__version__} finds no GPU", "DEVICE=cpu, or mend the driver"
        )
    cure = "the CUDA build of torch uses the GPU that nvidia-smi shows" if shutil.which("nvidia-smi") else ""
    return Finding("odd" if cure else "ok", "device", f"CPU, torch {torch.__version__}", cure)


def _models(folder: Path) -> Iterator[Finding]:
    registry = Registry(folder)
    names = registry.names() if folder.is_dir() else []
    if not names:
        yield Finding("ok", "models", f"none in {folder} yet: the first start of the trainer puts those there that ship")
    for name in names:
        if fault := registry.fault(name):
            yield Finding("wrong", f"model {name}", fault, "the trainer repairs it at its next start")
        else:
            yield Finding(
                "ok", f"model {name}", f"champion {registry.champion(name)} of {len(registry.versions(name))} versions"
            )
