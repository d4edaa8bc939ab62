"""The socket: receives messages, has them planned like any request, and sends the answers.

A ROUTER answers many REQ clients at once, where a REP would let them wait for each other. They are one client of the queue: the
protocol knows no keys.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import zmq
import zmq.asyncio

from grasp_client.contract import Gripper
from inference_server.errors import as_server_error
from inference_server.graspgen import messages
from inference_server.request_context import RequestContext
from inference_server.service import Service
from shared.settings import ServerSettings

logger = logging.getLogger(__name__)

CLIENT = "graspgen"
"""What all of them are called in the queue."""
AT_ONCE = 16
"""Messages in memory; further ones wait in the socket."""
MESSAGE_BYTES = 32 * 2**20
"""Largest message: a million points twice, and what is around."""
WAITING = 64
"""Messages that wait in the socket for each client."""


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[None]:
    """Answer GraspGen's clients at `graspgen_port` while the block runs. Raises ValueError where that is taken."""
    settings = service.settings
    socket = zmq.asyncio.Context.instance().socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 1000)
    socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES)
    socket.setsockopt(zmq.RCVHWM, WAITING)
    try:
        socket.bind(f"tcp://{settings.host}:{settings.graspgen_port}")
    except zmq.ZMQError as error:
        socket.close()
        raise ValueError(f"graspgen_port {settings.graspgen_port} on {settings.host}: {error}") from error
    task = asyncio.create_task(_receive(socket, service))
    logger.info("GraspGen's clients are answered at tcp://%s:%s", settings.host, settings.graspgen_port)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        socket.close()


def check(settings: ServerSettings) -> Gripper:
    """The gripper of GraspGen's clients. Raises ValueError for settings that cannot work."""
    if (settings.api_keys or settings.admin_key) and not settings.allow_open:
        raise ValueError("graspgen_port has no keys, so that it would open what API_KEYS closes: unset it, or set ALLOW_OPEN=1")
    up(settings)
    return Gripper.model_validate(settings.graspgen_gripper)


def up(settings: ServerSettings) -> list[list[float]] | None:
    """Pose of the clouds' frame in one whose z points up, (4, 4); None for clouds in the frame of a camera that looks down."""
    named: dict[str, list[list[float]] | None] = {
        "camera": None,
        "z": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        "y": [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]],
    }
    return named[settings.graspgen_up]


async def _receive(socket: zmq.asyncio.Socket, service: Service) -> None:
    room, gripper = asyncio.Semaphore(AT_ONCE), check(service.settings)
    tasks: set[asyncio.Task[None]] = set()
    try:
        while True:
            await room.acquire()
            frames: list[bytes] = await socket.recv_multipart()
            task = asyncio.create_task(_answer(socket, service, gripper, frames))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            task.add_done_callback(lambda _: room.release())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(socket: zmq.asyncio.Socket, service: Service, gripper: Gripper, frames: list[bytes]) -> None:
    *envelope, message = frames
    try:
        reply = await _reply(service, gripper, message)
    except Exception as error:
        told = as_server_error(error)
        reply = messages.write({"error": told.message, "code": told.code, "status": told.status})
    await socket.send_multipart([*envelope, reply])


async def _reply(service: Service, gripper: Gripper, message: bytes) -> bytes:
    started, settings = time.monotonic(), service.settings
    deadline = started + settings.deadline_ms / 1e3
    told = await service.decoders.run(CLIENT, deadline, messages.read, message)
    action = told.get("action")
    if action == "health":
        return messages.write({"status": "ok" if service.ready() else "not ready"})
    if action == "metadata":
        served = dict(service.weights.versions())
        about = {"server": "grasploop", "gripper_name": str(settings.graspgen_gripper), "models": served}
        return messages.write({**about, "base_offset": settings.graspgen_base_offset, "up": settings.graspgen_up})
    if action != "infer":
        return messages.write({"error": f"unknown action {str(action)[:40]!r}: expected health, metadata or infer"})
    slot = service.batcher.reserve(CLIENT, deadline)
    request = RequestContext(uuid.uuid4().hex, slot, started, deadline, owner=CLIENT)
    try:
        item = await service.decoders.run(CLIENT, deadline, messages.item_of, told, gripper, up(settings))
        plan = await service.planning.plan(request, item)
    finally:
        if slot.open:
            slot.release()
    return messages.reply_of(plan, settings.graspgen_base_offset)
