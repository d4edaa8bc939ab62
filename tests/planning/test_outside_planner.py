"""The planner of docs/how_to/add_a_planner.md in another package: as the page shows it, and as written before names moved."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from grasp_client.contract import CameraIntrinsics, PlanRequest
from grasp_client.observation import GraspPlanner, Observation
from planning import base, batched_inference
from planning.base import PlannerError
from planning.discovery import discover
from planning.local import local_planner

pytestmark = pytest.mark.filterwarnings("ignore:.* has moved to :DeprecationWarning")
PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "add_a_planner.md"
MOVED = {
    "from planning.base import LoadedNetwork, PlanItem, Planner": (
        "from inference_server.planners.planner import Item, LoadedNetwork, Planner"
    ),
    "from grasp_client.contract import Grasp, GraspPlan": "from shared.contract import Grasp, GraspPlan",
    "from grasp_client.geometry import approach_frame, deproject": "from shared.geometry import approach_frame, deproject",
    "PlanItem": "Item",
}
ALIASES = (
    "shared.contract",
    "shared.geometry",
    "shared.planner",
    "inference_server.planners.planner",
    "inference_server.planners.together",
)


def on_the_page() -> str:
    source = re.search(r"```python\n(# my_planners/centroid.py\n.*?)```", PAGE.read_text(), re.DOTALL)
    assert source, f"{PAGE} shows no planner"
    return source[1]


def written_before() -> str:
    source = on_the_page()
    for now, before in MOVED.items():
        assert now in source
        source = source.replace(now, before)
    return source


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old names as nobody has imported them yet."""
    for name in (*ALIASES, "centroid_of_somebody"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture(params=[on_the_page, written_before])
def planner(
    request: pytest.FixtureRequest, forgotten: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GraspPlanner]:
    """The planner, found by the entry point of an installed package."""
    (tmp_path / "centroid_of_somebody.py").write_text(request.param())
    metadata = tmp_path / "somebody-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[grasploop.planners]\ncentroid = centroid_of_somebody:CentroidPlanner\n")
    monkeypatch.syspath_prepend(tmp_path)
    discover.cache_clear()
    if request.param is on_the_page:
        yield local_planner("centroid")
    else:
        with pytest.warns(DeprecationWarning, match=r"inference_server\.planners\.planner has moved to planning\.base"):
            found = local_planner("centroid")
        yield found
    discover.cache_clear()


def test_it_is_found_and_plans(planner: GraspPlanner) -> None:
    depth = np.full((60, 80), 0.7, np.float32)
    depth[20:40, 30:50] = 0.65
    camera = CameraIntrinsics(fx=100, fy=100, cx=39.5, cy=29.5)
    plan = planner.plan(Observation(depth), PlanRequest(planner="centroid", camera=camera))
    [grasp] = plan.grasps
    assert grasp.center_px == [39.5, 29.5]
    assert grasp.pose_camera is not None
    np.testing.assert_allclose(np.array(grasp.pose_camera)[:3, 3], [0, 0, 0.67], atol=1e-6)


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("name", ALIASES)
def test_an_old_name_says_where_it_went(name: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"{name} has moved to") as caught:
        importlib.import_module(name)
    assert len(caught) == 1


def test_old_names_are_the_same_classes() -> None:
    from inference_server.planners import planner, together
    from shared.contract import PlanRequest as OldRequest
    from shared.planner import Observation as OldObservation

    assert (planner.Planner, planner.LoadedNetwork) == (base.Planner, base.LoadedNetwork)
    assert planner.PlannerError is PlannerError
    assert (together.StepPlanner, together.Ask) == (batched_inference.BatchedPlanner, batched_inference.NetworkCall)
    assert (OldRequest, OldObservation) == (PlanRequest, Observation)
