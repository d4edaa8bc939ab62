"""Starts children stage by stage, keeps them alive, and stops them in an order that loses nothing."""

import signal
import time
from collections.abc import Callable, Sequence

from services.process import ManagedProcess

TICK_SECONDS = 0.2
START_TRIES = 3
TAIL_LINES = 12


class StartFailed(Exception):
    """A child of an early stage does not get ready."""


class Launcher:
    """stages: each starts when all before it are ready. stop_order: (children, seconds of patience), one after the other."""

    def __init__(
        self,
        stages: Sequence[Sequence[ManagedProcess]],
        stop_order: Sequence[tuple[Sequence[ManagedProcess], float]],
        say: Callable[[str], None],
    ):
        self.stages = [list(stage) for stage in stages]
        self.stop_order = stop_order
        self.say = say
        self.started = 0
        self.stopping = False

    @property
    def children(self) -> list[ManagedProcess]:
        return [child for stage in self.stages for child in stage]

    @property
    def all_ready(self) -> bool:
        return self.started == len(self.stages) and all(child.ready() for child in self.children)

    def tick(self) -> None:
        """One look at everything: restart what died, start the next stage when the running ones are ready."""
        for child in self.children:
            if line := child.tend():
                self.say(line)
            if child.crashes >= START_TRIES and not child.ever_ready:
                tail = child.log_tail(TAIL_LINES)
                raise StartFailed(f"{child.spec.name} does not get ready; the end of its log {child.log_path}:\n{tail}")
        running = [child for stage in self.stages[: self.started] for child in stage]
        if self.started < len(self.stages) and all(child.ready() for child in running):
            for child in self.stages[self.started]:
                child.start()
            self.started += 1

    def run(self, each_tick: Callable[[], None]) -> None:
        """Tick until a signal asks to stop or all that may finish has finished."""
        while not self.stopping and not self._work_is_done():
            self.tick()
            each_tick()
            time.sleep(TICK_SECONDS)

    def stop(self) -> None:
        """Drain group after group; a child that takes longer than its patience is killed."""
        for children, patience in self.stop_order:
            for child in children:
                if child.alive and child.process:
                    child.process.terminate()
            deadline = time.monotonic() + patience
            while any(child.alive for child in children) and time.monotonic() < deadline:
                time.sleep(0.05)
            for child in children:
                if child.alive:
                    self.say(f"{child.spec.name} did not end within {patience:g} s and is killed")
                self.kill(child)

    def kill(self, child: ManagedProcess) -> None:
        """End a child and all that it started."""
        child.signal_group(signal.SIGKILL)
        if child.process:
            child.process.wait()

    def _work_is_done(self) -> bool:
        able = [child for child in self.children if child.spec.may_finish]
        return bool(able) and self.started == len(self.stages) and all(child.finished for child in able)
