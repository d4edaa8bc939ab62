"""The benchmark of whole plans times real answers."""

from places import SHIPPED

from benchmarks.planners import measure, scenes, yardstick


def test_every_planner_meets_the_same_scenes_and_answers():
    seen = scenes(2, 240, 180, "clean")
    assert [item[0].depth.shape for item in seen] == [(180, 240)] * 2
    for name in ("antipodal", "dense"):
        row = measure(name, SHIPPED, seen, repeats=1)
        assert (row["plans"], row["answered"]) == (2, 2)
        assert 0 < row["p50_ms"] <= row["p95_ms"]
    assert yardstick() > 0
