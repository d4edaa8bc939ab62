"""Forty recorded requests: that they are forty, the same at every call, and that what differs in their answers is found."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import same_answers
from benchmarks.compare import trees
from benchmarks.compare.answers import Answer, differences, largest, read
from benchmarks.compare.forty import recorded
from benchmarks.compare.trees import HERE, ROOT, Tree, tree_of
from benchmarks.same_answers import INTENDED, Compared, ask_all

JSON = {"content-type": "application/json"}


def plan(quality: float, **more: object) -> Answer:
    grasps = [{"quality": quality, "center_px": [1.0, 2.0]}, {"quality": 0.1, "center_px": [3.0, 4.0]}]
    body = {"request_id": os.urandom(4).hex(), "timings_ms": {"plan": quality}, "grasps": grasps, "warnings": [], **more}
    return read(200, JSON, json.dumps(body).encode())


def test_forty_requests_ask_every_planner_at_every_endpoint() -> None:
    requests = recorded()
    assert len({each.name for each in requests}) == len(requests) == 40
    asked = {name for each in requests for name in each.planner.split(", ")}
    entry_points = trees.tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]  # type: ignore[attr-defined]
    # `refined` has no network that ships, and the trees that are compared with do not know `tilted`.
    assert asked == set(entry_points["grasploop.planners"]) - {"refined", "tilted"}
    paths = {each.path.split("?")[0] for each in requests}
    assert paths >= {"/predict_grasp", "/predict_grasp/batch", "/heatmap", "/gqcnn", "/process"}
    assert any(path.startswith("/v2/") for path in paths)


def test_the_requests_are_the_same_at_every_call() -> None:
    first = recorded()
    recorded.cache_clear()
    assert recorded() == first


def test_every_number_counts_but_times_and_ids_do_not() -> None:
    assert differences(plan(0.5), plan(0.5 + 1e-7)) == []
    [difference] = differences(plan(0.5), plan(0.5 + 2e-6))
    assert difference.where == "grasps[0].quality"
    assert largest(plan(0.5), plan(0.5 + 2e-6)) == pytest.approx(2e-6)


def test_what_is_lost_counts_and_what_is_added_does_not() -> None:
    [lost] = differences(plan(0.5, rejections={"border": 3}), plan(0.5, rejections={}))
    assert lost.where == "rejections.border"
    assert differences(plan(0.5, rejections={}), plan(0.5, rejections={"border": 3})) == []
    [fewer] = differences(plan(0.5, planes=[1, 2]), plan(0.5, planes=[1]))
    assert (fewer.where, fewer.base, fewer.now) == ("planes", "2 of them", "1 of them")


def test_wording_does_not_count_but_codes_and_the_number_of_warnings_do() -> None:
    refused = [
        read(422, JSON, json.dumps({"error": {"code": code, "message": text, "detail": None}}).encode())
        for code, text in (("border", "one"), ("border", "another"), ("other", "one"))
    ]
    assert differences(refused[0], refused[1]) == []
    assert [each.where for each in differences(refused[0], refused[2])] == ["error.code"]
    assert differences(plan(0.5, warnings=["dark"]), plan(0.5, warnings=["too dark"])) == []
    assert differences(plan(0.5, warnings=["dark"]), plan(0.5)) != []
    assert [each.where for each in differences(plan(0.5), refused[0])] == ["status"]


def test_maps_and_packed_replies_are_compared_as_arrays() -> None:
    def dense(array: np.ndarray) -> Answer:
        stream = io.BytesIO()
        np.save(stream, array)
        return read(200, {"content-type": "application/x-npy"}, stream.getvalue())

    maps = np.zeros((2, 3, 4), np.float32)
    changed = maps.copy()
    changed[1, 2, 3] = 0.25
    [difference] = differences(dense(maps), dense(changed))
    assert (difference.where, difference.amount) == ("[1, 2, 3]", 0.25)
    assert differences(dense(maps), dense(np.full_like(maps, np.nan))) != []
    assert differences(dense(maps), dense(maps[:1])) != []

    def packed(last: float) -> Answer:
        table = np.array([[1, 2, 3, 0.5, last]], "<f4")
        return read(200, JSON, json.dumps({"shape": [1, 5], "dtype": "float32", "data": table.tobytes().hex()}).encode())

    assert packed(0.9).grasps() == 1
    [difference] = differences(packed(0.9), packed(0.8))
    assert difference.where == "[0, 4]"


def test_tensors_are_read_from_numbers_and_from_bytes() -> None:
    values = np.array([0.9, 0.5], "<f4")
    output = {"name": "quality", "shape": [2], "datatype": "FP32"}
    numbers = read(200, JSON, json.dumps({"outputs": [{**output, "data": values.tolist()}]}).encode())
    head = json.dumps({"outputs": [{**output, "parameters": {"binary_data_size": 8}}]}).encode()
    length = {"inference-header-content-length": str(len(head))}
    binary = read(200, {"content-type": "application/octet-stream", **length}, head + values.tobytes())
    assert numbers.grasps() == binary.grasps() == 2
    assert differences(numbers, binary) == []


def test_a_reason_covers_only_what_it_is_about() -> None:
    covered = {reason: {each.name for each in recorded() if applies(each)} for reason, applies in INTENDED.items()}
    assert covered["depth-decoding"] == {"v2 binary uint16", "gqcnn grasps on an image"}
    assert "suction leaning" not in covered["analytic-score"]
    [suction] = [each for each in recorded() if each.name == "suction leaning"]
    assert not Compared(suction, plan(0.5), plan(0.6), None).passes
    assert Compared(suction, plan(0.5), plan(0.6), "analytic-score").passes
    assert Compared(suction, plan(0.5), plan(0.5), None).passes
    refused = Answer(422, {})
    assert not Compared(suction, refused, refused, None).passes


def test_code_and_entry_points_come_from_the_tree(tmp_path: Path) -> None:
    program = (
        "import inference_server\nfrom importlib.metadata import entry_points, version\n"
        "print(inference_server.__file__, version('grasploop'), *entry_points(group='grasploop.planners').names)"
    )
    with tree_of("HEAD") as tree:
        [metadata, root] = tree.path
        info = next(metadata.glob("grasploop-*.dist-info"))
        (info / "entry_points.txt").write_text("[grasploop.planners]\nonly = somewhere:Else\n")
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: grasploop\nVersion: 7\n")
        environment = {**os.environ, "PYTHONPATH": tree.python_path}
        said = subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, env=environment, text=True).split()
    assert Path(said[0]).is_relative_to(root)
    assert said[1:] == ["7", "only"]
    assert not root.exists()


def test_an_unknown_commit_is_named() -> None:
    with pytest.raises(ValueError, match="no-such-commit"), tree_of("no-such-commit"):
        pass


@pytest.fixture
def two_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("antipodal without a camera", "dense leaning")
    monkeypatch.setattr(same_answers, "recorded", lambda: [each for each in recorded() if each.name in names])


@pytest.mark.slow
@pytest.mark.usefixtures("two_requests")
def test_a_changed_model_is_noticed(tmp_path: Path) -> None:
    def warmer(card: dict) -> None:
        card["calibration"]["slope"] *= 1.001

    with tree_of(HERE) as tree:
        base = ask_all(tree, tmp_path / "base")
        again = ask_all(tree, tmp_path / "again")
        changed = ask_all(_with_card(tree, tmp_path / "tree", warmer), tmp_path / "changed")
    assert all(answer.status == 200 and answer.grasps() for answer in base)
    assert [differences(*pair) for pair in zip(base, again, strict=True)] == [[], []]
    antipodal, dense = (differences(*pair) for pair in zip(base, changed, strict=True))
    assert not antipodal
    assert dense


def _with_card(tree: Tree, folder: Path, change: Callable[[dict], None]) -> Tree:
    """The tree with the champion of `dense` changed."""
    shutil.copytree(tree.root / "models", folder / "models")
    model = folder / "models" / "dense"
    path = model / (model / "champion").read_text().strip() / "card.json"
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))
    return Tree("changed", folder, tree.path)
