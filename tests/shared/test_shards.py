"""Shards: what is written is what is read, once, whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from records import store
from waiting import wait_until

from grasp_client.contract import Grasp, GraspMeta, ImageSpec, Outcome
from shared.durable import replace_file
from shared.shards import UNFINISHED, ShardError, ShardReader, ShardWriter, shard_folders

POSE = np.eye(4).tolist()


def outcome(name: str, depth: np.ndarray | None, success: bool = True) -> Outcome:
    grasp = Grasp(kind="parallel_jaw", quality=0.5, center_px=[4, 3], angle=0.1, depth=0.5, width=0.04, pose_camera=POSE)
    images = {} if depth is None else {"depth": depth}
    specs = {key: ImageSpec(shape=list(image.shape), dtype=image.dtype.name, scale=0.001) for key, image in images.items()}
    failure = None if success else "missed"
    meta = GraspMeta(grasp=grasp, planner="antipodal", success=success, failure=failure, images=specs, time=100.0 + len(name))
    return Outcome(id=name, meta=meta, images=images)


def test_outcomes_come_back_as_they_were_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    written = [outcome(f"w:{i}:0", rng.integers(0, 900, (5, 7)).astype(np.uint16), i % 2 == 0) for i in range(4)]
    reader = ShardReader(store(tmp_path, written))
    assert reader.ids() == [o.id for o in written]
    assert len(reader) == 4
    assert reader.kinds == ["grasp"] * 4
    for before, after in zip(written, reader, strict=True):
        assert after.meta == before.meta
        np.testing.assert_array_equal(after.images["depth"], before.images["depth"])
        assert not after.images["depth"].flags.writeable


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_image_type_is_aligned_and_exact(tmp_path: Path, dtype: str) -> None:
    odd = (np.arange(15).reshape(3, 5) * 1.5).astype(dtype)
    reader = ShardReader(store(tmp_path, [outcome("a", odd), outcome("b", odd[:2] + 1)]))
    np.testing.assert_array_equal(reader[1].images["depth"], odd[:2] + 1)
    assert reader[1].images["depth"].flags.aligned


def test_an_image_shared_by_attempts_is_stored_once(tmp_path: Path) -> None:
    depth = np.full((64, 64), 500, np.uint16)
    reader = ShardReader(store(tmp_path, [outcome(f"w:0:{i}", depth.copy()) for i in range(10)]))
    assert (reader.folder / "images.bin").stat().st_size == depth.nbytes
    assert {reader.image_key(i, "depth") for i in range(10)} == {0}


def test_outcomes_without_images_can_be_stored(tmp_path: Path) -> None:
    reader = ShardReader(store(tmp_path, [outcome("a", None)]))
    assert reader[0].images == {}


def test_shards_are_numbered_in_order(tmp_path: Path) -> None:
    paths = [store(tmp_path, [outcome(str(i), None)]) for i in range(11)]
    assert shard_folders(tmp_path) == paths
    assert [ShardReader(path).ids() for path in shard_folders(tmp_path)] == [[str(i)] for i in range(11)]


@pytest.mark.parametrize(
    ("outcomes", "message"), [([], "at least one"), ([outcome("a", None), outcome("a", None)], "distinct outcome ids")]
)
def test_writer_refuses_nothing_and_repeats(tmp_path: Path, outcomes: list[Outcome], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        store(tmp_path, outcomes)
    assert list(tmp_path.iterdir()) == []


def test_broken_shards_are_named(tmp_path: Path) -> None:
    folder = store(tmp_path, [outcome("a", np.zeros((64, 64), np.float32))])
    (folder / "images.bin").write_bytes(b"short")
    with pytest.raises(ShardError, match=r"has 5 bytes, .* needs 16384"):
        ShardReader(folder)[0]
    (folder / "outcomes.jsonl").write_text("")
    with pytest.raises(ShardError, match="different outcomes"):
        ShardReader(folder)[0]
    (folder / "index.json").write_text(json.dumps({"v": 99}))
    with pytest.raises(ShardError, match="index version 99"):
        ShardReader(folder)


WRITE_FOREVER = """
import sys, pathlib
sys.path[:0] = {tests!r}
import numpy as np
from records import store
from test_shards import outcome
folder = pathlib.Path({folder!r})
for i in range(10**6):
    path = store(folder, [outcome(f"{{sys.argv[1]}}:{{i}}:{{k}}", np.full((64, 64), i + k, np.uint16)) for k in range(8)])
    print(path, flush=True)
"""


def test_writers_that_are_killed_leave_only_whole_shards(tmp_path: Path) -> None:
    code = WRITE_FOREVER.format(tests=[str(folder) for folder in Path(__file__).parents[:2]], folder=str(tmp_path))
    writers = [subprocess.Popen([sys.executable, "-c", code, name], stdout=subprocess.PIPE) for name in ("x", "y")]
    wait_until(lambda: len(shard_folders(tmp_path)) >= 20)
    reported = set()
    for process in writers:
        os.kill(process.pid, signal.SIGKILL)
        reported |= set(process.communicate()[0].decode().split())
    shards = shard_folders(tmp_path)
    ids = [name for shard in shards for name in ShardReader(shard).ids()]
    assert len(shards) >= 20
    assert reported <= {str(shard) for shard in shards}
    assert len(set(ids)) == len(ids) == 8 * len(shards)
    assert all(o.images["depth"][0, 0] == int(o.id.split(":")[1]) + int(o.id.split(":")[2]) for o in ShardReader(shards[-1]))
    ShardWriter(tmp_path).remove_unfinished()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(UNFINISHED)]


def test_replaced_file_is_whole_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]
