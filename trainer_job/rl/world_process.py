"""The process in which simulated worlds run beside the learner. It needs no torch, and the learner no simulator."""

import signal
from importlib.metadata import entry_points
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

GROUP = "grasploop.environments"
"""Entry points: a name, and what makes several worlds of it: a gymnasium vector environment that restarts an episode in the
step that ended it, and has `snapshot`, `restore`, `curriculum` and `interface`."""


def environments() -> list[str]:
    """Names of those that are installed."""
    return sorted(found.name for found in entry_points(group=GROUP))


def make_worlds(name: str, count: int, options: dict[str, Any]) -> Any:
    """Raises ValueError when no such environment is installed."""
    for found in entry_points(group=GROUP, name=name):
        return found.load()(num_envs=count, **options)
    raise ValueError(
        f"no environment {name!r}; there are {', '.join(environments()) or 'none'}: pip install 'grasploop[rl]' brings them"
    )


def main(pipe: Connection, name: str, count: int, options: dict[str, Any]) -> None:
    """`serve` as what a process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells the learner as well, which ends this by closing the pipe
    serve(pipe, name, count, options)


def serve(pipe: Connection, name: str, count: int, options: dict[str, Any]) -> None:
    """Answers requests (method, arguments) by (True, answer) or (False, what went wrong), until the other end goes away."""
    worlds = None
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            break
        try:
            if worlds is None:
                worlds = make_worlds(name, count, options)
            answer = True, _answer(worlds, method, arguments)
        except Exception as error:  # not every error survives the way between processes, its words do
            answer = False, f"{type(error).__name__}: {error}"
        pipe.send(answer)
    if worlds is not None:
        worlds.close()


def _answer(worlds: Any, method: str, arguments: tuple[Any, ...]) -> Any:
    if method == "spaces":
        return worlds.single_observation_space, worlds.single_action_space, worlds.interface
    if method == "reset":
        return worlds.reset(seed=arguments[0])[0]
    if method == "step":
        observations, rewards, ended, cut, infos = worlds.step(arguments[0])
        final = infos.get("final_info", {})
        succeeded = final.get("is_success", [False] * worlds.num_envs)
        return observations, rewards, ended | cut, [bool(each) for each in succeeded], worlds.curriculum.level
    return getattr(worlds, method)(*arguments)


class WorldProcess:
    """A process with what the entry point `name` makes of `count` worlds; it ends with `close`."""

    def __init__(self, name: str, count: int, **options: Any) -> None:
        context = get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=main, args=(other, name, count, options), daemon=True)
        self._process.start()
        other.close()

    def send(self, method: str, *arguments: Any) -> None:
        self._pipe.send((method, arguments))

    def receive(self) -> Any:
        """The answer to what was sent. Raises RuntimeError with what went wrong over there."""
        try:
            fine, answer = self._pipe.recv()
        except EOFError:
            raise RuntimeError("the process of the simulated worlds ended unexpectedly") from None
        if not fine:
            raise RuntimeError(f"in the simulated worlds: {answer}")
        return answer

    def ask(self, method: str, *arguments: Any) -> Any:
        """Have a method called over there; its answer. Raises as `receive`."""
        self.send(method, *arguments)
        return self.receive()

    def close(self) -> None:
        self._pipe.close()
        self._process.join()
