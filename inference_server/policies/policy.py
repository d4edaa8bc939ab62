"""A policy's own terms, as its card tells them: the camera that it knows and where it sits, and what its numbers stand for."""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from grasp_client.contract import CameraIntrinsics, Pose, first_problem
from grasp_client.observation import Observation
from inference_server.errors import ServerError
from planning.base import LoadedNetwork
from planning.networks.device import to_device
from shared.features.eye_in_hand import SIDE, View, picture
from shared.registry import BrokenModel

ARCHITECTURES = ("picture-actor", "grasp-actor")
MOST_SHIFT, MOST_TURN = 0.001, math.radians(0.3)
"""m and rad that a camera may sit off a policy's mount: those of colours learned with a true one
(docs/reports/2026-11-30-closed-loop.md)."""
LEAST_SEEN = 0.9
"""Share of what a policy's camera sees that a sent picture must show."""
COARSE = 1.5
"""Sent pixels per pixel of a policy from which colours are averaged."""
SECONDS = 6e-4
"""Of one core for an action."""


class Policy(BaseModel):
    """The field `policy` of a card; see HandEnv.interface of the environments for the meaning of each."""

    model_config = ConfigDict(extra="ignore")

    observation: View
    camera: CameraIntrinsics
    mount: Pose
    movement: list[list[float]] = Field(min_length=4, max_length=4)
    still: list[float] = Field(min_length=4, max_length=4)
    position: list[list[float]] = Field(min_length=3, max_length=3)
    steps: int = Field(ge=1)
    close_above: float | None = None


def policy_of(network: LoadedNetwork) -> Policy:
    """What a version says of itself. Raises ServerError 422 for a model that is no policy, BrokenModel for a bad card."""
    if network.card.architecture not in ARCHITECTURES:
        message = f"model {network.name!r} ({network.card.architecture}) is no policy: it cannot act"
        raise ServerError(422, "no_policy", message)
    try:
        return Policy.model_validate((network.card.model_extra or {}).get("policy"))
    except ValidationError as error:
        message = f"{network.name} version {network.version} has a card with a wrong policy: {first_problem(error)}"
        raise BrokenModel(message) from error


def check_mount(network: LoadedNetwork, policy: Policy, pose: Pose) -> None:
    """Raises ServerError 422 when the camera sits elsewhere on the hand than where the policy learned to see."""
    told, learned = np.array(pose), np.array(policy.mount)
    shift = float(np.linalg.norm(told[:3, 3] - learned[:3, 3]))
    turn = math.acos(min(1.0, max(-1.0, (float(np.trace(told[:3, :3].T @ learned[:3, :3])) - 1) / 2)))
    if shift > MOST_SHIFT or turn > MOST_TURN:
        raise ServerError(
            422,
            "other_mount",
            f"{network.name} version {network.version} learned with its camera at hand_camera_pose "
            f"{np.round(learned, 4).tolist()}; the one sent is {shift * 1e3:.1f} mm and {math.degrees(turn):.1f}° off, at most "
            f"{MOST_SHIFT * 1e3:g} mm and {math.degrees(MOST_TURN):g}° are taken",
        )


def picture_for(network: LoadedNetwork, policy: Policy, observation: Observation, camera: CameraIntrinsics) -> np.ndarray:
    """(channels, SIDE, SIDE) uint8: what the policy's own camera would show.

    Raises ServerError 422 for a picture of the wrong kind, or that shows too little of what that camera sees.
    """
    wanted = "depth" if policy.observation == "depth" else "rgb"
    image = getattr(observation, wanted)
    if image is None:
        sent = "rgb" if wanted == "depth" else "depth"
        raise ServerError(
            422, "other_observation",
            f"{network.name} version {network.version} acts on {policy.observation}, the picture sent is {sent}: send "
            f"{wanted}, or ask for another policy",
        )  # fmt: skip
    seen = as_seen_by(policy.camera, image, camera)
    return picture(policy.observation, *((seen, None) if wanted == "depth" else (None, seen)))


def as_seen_by(wanted: CameraIntrinsics, image: np.ndarray, camera: CameraIntrinsics) -> np.ndarray:
    """(SIDE, SIDE[, 3]): depth or colours of an image as a camera with other intrinsics in the same place would give them.

    Depth is sampled, since a mean of near and far is neither; colours are averaged where pixels are merged. Raises ServerError
    422.
    """
    try:
        fitted = camera.fitted(*image.shape[:2])
    except ValueError as error:
        raise ServerError(422, "camera_size", f"camera: {error}") from error
    rows, columns = image.shape[:2]
    bent = np.array(fitted.distortion or [])
    if image.shape[:2] == (SIDE, SIDE) and not bent.any() and np.allclose(_matrix(fitted), _matrix(wanted), atol=1e-3):
        return image
    v, u = np.mgrid[:SIDE, :SIDE]
    rays = np.stack([(u - wanted.cx) / wanted.fx, (v - wanted.cy) / wanted.fy, np.ones((SIDE, SIDE))], axis=-1)
    found, _ = cv2.projectPoints(rays.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), _matrix(fitted), bent)
    pixels = np.clip(found, -1e6, 1e6).reshape(SIDE, SIDE, 2).astype(np.float32)
    inside = ((pixels > -0.5) & (pixels < np.array([columns, rows]) - 0.5)).all(-1)
    if inside.mean() < LEAST_SEEN:
        raise ServerError(
            422, "narrow_view",
            f"the picture shows {inside.mean():.0%} of what the policy's camera sees, at least {LEAST_SEEN:.0%} are needed: it "
            f"sees {_field(SIDE, wanted.fx)} x {_field(SIDE, wanted.fy)} degrees about the optical axis, the sent one "
            f"{_field(columns, fitted.fx)} x {_field(rows, fitted.fy)}",
        )  # fmt: skip
    ratio = fitted.fx / wanted.fx
    if image.ndim == 2:
        return cv2.remap(image, pixels[..., 0], pixels[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    if ratio > COARSE:
        image = cv2.blur(image, (round(ratio), round(ratio)))
    return cv2.remap(image, pixels[..., 0], pixels[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _matrix(camera: CameraIntrinsics) -> np.ndarray:
    return np.array([[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]])


def _field(pixels: int, focal: float) -> int:
    return round(math.degrees(2 * math.atan(pixels / 2 / focal)))


def act_all(network: LoadedNetwork, policy: Policy, pictures: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Fields of an Action for each picture: the most likely action, in one pass."""
    with torch.inference_mode():
        said = network.module(to_device(np.stack(pictures), network.device)).cpu().numpy().astype(float)
    actions, seen = said[:, :-3], said[:, -3:]
    closes = actions[:, -1] > policy.close_above if policy.close_above is not None else np.zeros(len(said), bool)
    movements = actions @ np.array(policy.movement).T + np.array(policy.still)
    movements[closes] = 0.0  # it has arrived
    positions = seen @ np.array(policy.position).T
    return [
        {"delta": move[:3].tolist(), "yaw": float(move[3]), "close": bool(close), "position": position.tolist()}
        for move, close, position in zip(movements, closes, positions, strict=True)
    ]
