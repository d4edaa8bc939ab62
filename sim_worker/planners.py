"""Planners by name: on a server, in this process, or a baseline.

random, edges, centroid, flattest    baselines of sim_worker.benchmark.baselines
antipodal, dense, dense:3            in this process (needs the server's packages); after the colon a model version
http://host:8000                     on a server, which chooses (`auto`)
dense@http://host:8000, dense:3@...  on a server, by name and version
"""

from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from grasp_client import GraspClient
from grasp_client.observation import GraspPlanner
from sim_worker.benchmark.baselines import BASELINES

LOCAL_PLANNER_GROUP = "grasploop.local_planner"


@dataclass(frozen=True)
class NamedPlanner:
    """A planner, how it is spelt, and what to put into the request's `planner` and `model_version`."""

    spec: str
    planner: GraspPlanner
    name: str = "auto"
    model_version: int | None = None


def load_planner(spec: str, models_dir: Path, api_key: str | None = None) -> NamedPlanner:
    """The planner that `spec` spells (see above). Raises ValueError when there is none of that name."""
    wanted, _, url = spec.partition("@") if "://" not in spec.split("@")[0] else ("auto", "", spec)
    name, _, version_text = wanted.partition(":")
    if version_text and not version_text.isdigit():
        raise ValueError(f"expected a model version after the colon in {spec!r}, such as {name}:3")
    version = int(version_text) if version_text else None
    if url:
        return NamedPlanner(spec, GraspClient(url, api_key=api_key), name, version)
    if name in BASELINES:
        return NamedPlanner(spec, BASELINES[name], name)
    return NamedPlanner(spec, _local(name, models_dir, version), name, version)


def _local(name: str, models_dir: Path, version: int | None) -> GraspPlanner:
    found = list(entry_points(group=LOCAL_PLANNER_GROUP))
    if not found:
        raise ValueError(
            f"planner {name!r} is no baseline ({', '.join(BASELINES)}) and planners in this process are not installed: "
            f"install grasploop[server], or name a server as {name}@http://127.0.0.1:8000"
        )
    make = found[0].load()
    try:
        result: GraspPlanner = make(name, models_dir, version)
        return result
    except Exception as error:  # its error classes belong to the server's package, which is not imported here
        raise ValueError(f"planner {name!r} cannot be loaded: {error}") from error
