"""The commands of GraspLoop's own distributions, so that `grasploop` can name those that are not installed."""

from typing import NamedTuple


class KnownCommand(NamedTuple):
    """description: one line. extra: of the distribution `grasploop`, with what the command imports; None: the client's own."""

    description: str
    extra: str | None


KNOWN = {
    "predict": KnownCommand("send an image to a server, print its grasps, draw them", None),
    "run": KnownCommand("run the whole loop on this machine: queue, server, workers, trainer", "local"),
    "serve": KnownCommand("serve grasps over HTTP", "server"),
    "worker": KnownCommand("grasp in simulation what a server plans, and report the outcomes", "sim"),
    "trainer": KnownCommand("train on outcomes as they arrive, and promote what grasps better", "trainer"),
    "collect": KnownCommand("collect labelled grasps in simulation", "sim"),
    "collect-rgb": KnownCommand("collect colour windows with true heights and tried grasps", "sim"),
    "benchmark": KnownCommand("measure planners in simulation, on the same scenes", "sim"),
    "train": KnownCommand("train a network by a recipe", "trainer"),
    "analyze": KnownCommand("examine a trained network: curves, calibration, mistakes", "trainer"),
    "evaluate": KnownCommand("play episodes of a policy that acts step by step", "rl"),
    "history": KnownCommand("show the versions of a model and what came of them", "trainer"),
    "import-weights": KnownCommand("import weights that others trained into the registry", "trainer"),
    "export-release": KnownCommand("copy champions into a registry that ships", "trainer"),
    "pretrain": KnownCommand("make every model that ships, from seeds", "local"),
}
