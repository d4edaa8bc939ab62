"""One PyBullet client without a window, and the physics that every label is made with."""

import contextlib
import ctypes
import importlib.util
import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pybullet
from pybullet_utils.bullet_client import BulletClient

HZ = 120
"""Steps per second while objects come to rest."""
ATTEMPT_HZ = 240
"""Steps per second while a hand acts. At 120, 3 labels in 100 differ from those at 240: fingers meet an object 1 mm inside
its surface and borderline grips are lost."""
SOLVER_ITERATIONS = 50
"""Fewer iterations make grips stickier: 20 instead of 50 raised success by 3 points in the measurements behind this choice."""
GRAVITY = 9.81
OBJECT_FRICTION = 0.8
"""Of every object. PyBullet multiplies the coefficients of the two bodies: pads carry the scene's friction over this."""
TABLE_FRICTION = 0.8
HULL_SKIN = 0.001
"""m. Bullet keeps this margin around convex meshes: their contact surface lies outside the drawn one. Primitives have none."""
FAR_AWAY = 50.0
"""m below the table: where a body waits that is not in play."""

# Bodies that sleep cost nothing while a hand works elsewhere in the scene, and do not creep.
SLEEP = pybullet.ACTIVATION_STATE_ENABLE_SLEEPING | pybullet.ACTIVATION_STATE_SLEEP
CAN_SLEEP = pybullet.ACTIVATION_STATE_ENABLE_SLEEPING
AWAKE = pybullet.ACTIVATION_STATE_ENABLE_SLEEPING | pybullet.ACTIVATION_STATE_WAKE_UP

Vector = Sequence[float]


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """PyBullet prints from C++ to the process's standard output: keep it out of there."""
    flush = ctypes.CDLL(None).fflush  # into a pipe C prints when its buffer is full, or at the end
    saved, sink = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        flush(None)
        os.dup2(sink, 1)
        yield
    finally:
        flush(None)
        os.dup2(saved, 1)
        os.close(saved)
        os.close(sink)


class _Client(BulletClient):  # type: ignore[misc]
    """Binds each of PyBullet's functions once: an attempt makes hundreds of calls, and the usual client binds at every one."""

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = super().__getattr__(name)
        return value


class Physics:
    """A PyBullet client: reset, step, settle. `hz`, `iterations` and `sleeping` differ from the defaults only to measure them.

    `renderer`: `cpu` gives the same image on every machine; `egl` is OpenGL, faster on a GPU for large images.
    """

    def __init__(
        self,
        hz: int = HZ,
        iterations: int = SOLVER_ITERATIONS,
        sleeping: bool = True,
        renderer: Literal["cpu", "egl"] = "cpu",
    ) -> None:
        with quiet_stdout():
            self.client: Any = _Client(pybullet.DIRECT)
        self.hz, self.iterations, self.sleeping = hz, iterations, sleeping
        self.hardware_renderer = renderer == "egl"
        if self.hardware_renderer:
            self._load_egl()
        self.seconds = 0.0
        self.reset()

    def _load_egl(self) -> None:
        plugin = importlib.util.find_spec("eglRenderer")
        with quiet_stdout():
            loaded = self.client.loadPlugin(plugin.origin, "_eglRendererPlugin") if plugin and plugin.origin else -1
        if loaded < 0:
            raise RuntimeError("renderer 'egl': no EGL driver answers here; use renderer='cpu'")

    def reset(self) -> None:
        """An empty world. A fresh one per scene state keeps solver and contact caches from leaking into the next."""
        self.client.resetSimulation()
        # Pairs in the order of body ids: else the order, and with it the outcome, depends on what was simulated before.
        self.client.setPhysicsEngineParameter(
            fixedTimeStep=1.0 / self.hz, numSolverIterations=self.iterations, deterministicOverlappingPairs=1
        )
        self.client.setGravity(0, 0, -GRAVITY)

    def step(self, count: int = 1) -> None:
        step = self.client.stepSimulation
        for _ in range(count):
            step()
        self.seconds += count / self.hz

    @contextlib.contextmanager
    def finer(self, hz: int) -> Iterator[None]:
        """Step at no less than `hz` inside the block.

        PyBullet turns a motor's force into an impulse with the time step of the moment: drive motors inside the block.
        """
        usual, self.hz = self.hz, max(hz, self.hz)
        self.client.setTimeStep(1.0 / self.hz)
        try:
            yield
        finally:
            self.hz = usual
            self.client.setTimeStep(1.0 / usual)

    def steps_in(self, seconds: float) -> int:
        return max(1, round(seconds * self.hz))

    def speeds(self, bodies: Sequence[int]) -> list[tuple[float, float]]:
        """Linear (m/s) and angular (rad/s) speed of each body."""
        speeds = []
        for body in bodies:
            (vx, vy, vz), (wx, wy, wz) = self.client.getBaseVelocity(body)
            speeds.append(((vx * vx + vy * vy + vz * vz) ** 0.5, (wx * wx + wy * wy + wz * wz) ** 0.5))
        return speeds

    def settle(self, bodies: Sequence[int], seconds: float, linear: float = 0.005, angular: float = 0.1) -> bool:
        """Step until every body has been at rest for 0.1 s; False if that did not happen within `seconds`."""
        quiet, stride = 0, self.steps_in(0.025)
        for _ in range(self.steps_in(seconds) // stride):
            self.step(stride)
            quiet = quiet + 1 if all(v < linear and w < angular for v, w in self.speeds(bodies)) else 0
            if quiet == 4:
                return True
        return False

    def close(self) -> None:
        self.client.disconnect()
