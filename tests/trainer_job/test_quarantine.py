"""Damaged shards: set aside with the reason, the rest is read, and every outcome keeps its place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from block_world import block_outcome
from records import store

from grasp_client.contract import GraspMeta
from shared.shards import ShardError, ShardReader, shard_folders
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.data.replay_buffer import ReplayBuffer
from trainer_job.ingest.quarantine import SALVAGED, check_shards, quarantined, set_aside
from trainer_job.tasks import task_of_model

TASK = task_of_model("dense")
NAMES = [f"w:{i}:0" for i in range(6)]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three shards of two outcomes each."""
    for start in (0, 2, 4):
        store(tmp_path / "shards", [block_outcome(start), block_outcome(start + 1)])
    return tmp_path / "shards"


def library_of(shards: Path) -> ReplayBuffer:
    library = ReplayBuffer(OutcomeIndex(shards), FeatureCache(shards.parent / "features", TASK))
    library.refresh()
    return library


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda shard: os.truncate(shard / name, size)


def without(name: str) -> Callable[[Path], None]:
    return lambda shard: (shard / name).unlink()


def without_field(name: str) -> Callable[[Path], None]:
    def damage(shard: Path) -> None:
        index = json.loads((shard / "index.json").read_text())
        del index[name]
        (shard / "index.json").write_text(json.dumps(index))

    return damage


def line_without(name: str) -> Callable[[Path], None]:
    def damage(shard: Path) -> None:
        first, second = (shard / "outcomes.jsonl").read_text().splitlines()
        line = json.loads(first)
        del line[name]
        (shard / "outcomes.jsonl").write_text(f"{json.dumps(line)}\n{second}\n")

    return damage


def flipped_line(shard: Path) -> None:
    text = (shard / "outcomes.jsonl").read_text()
    (shard / "outcomes.jsonl").write_text(text.replace('"rank":0', '"rank":1', 1))


def half_of_the_images(shard: Path) -> None:
    os.truncate(shard / "images.bin", ShardReader(shard).image_key(1, "depth") + 5)


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (cut("index.json", 10), [0, 1]),
        (cut("index.json", 0), [0, 1]),
        (without("index.json"), [0, 1]),
        (without_field("ids"), [0, 1]),
        (without_field("v"), [0, 1]),
        (without_field("kinds"), [0, 1, 2]),  # as version 1 had it: nothing is damaged
        (line_without("meta"), [1]),
        (line_without("id"), [1]),
        (line_without("at"), [1]),
        (cut("outcomes.jsonl", 1500), [0]),
        (without("outcomes.jsonl"), []),
        (half_of_the_images, [0]),
        (cut("images.bin", 3), []),
        (without("images.bin"), []),
        (flipped_line, [1]),
        (lambda shard: (shutil.rmtree(shard), shard.write_text("no folder")), []),
    ],
)
def test_the_rest_is_read_in_the_same_order(shards: Path, damage: Callable[[Path], None], kept: list[int]) -> None:
    damage(shards / "shard-000002")
    check_shards(shards)
    intact = len(kept) == 3
    assert len(quarantined(shards)) == (0 if intact else 1)
    if not intact:
        reason = (shards.parent / "shards-damaged" / "shard-000002.txt").read_text()
        assert f"{len(kept)} of " in reason
    library = library_of(shards)
    expected = ["w:0:0", "w:1:0", *(f"w:{2 + row}:0" for row in kept[:2]), "w:4:0", "w:5:0"]
    assert [record.id for record in library.records] == expected
    assert [record.row for record in library.records[2:-2]] == kept[:2]
    assert np.isfinite(library.examples(np.arange(len(library))).features).all()
    check_shards(shards)  # what was kept is whole
    assert len(quarantined(shards)) == (0 if intact else 1)


def test_an_image_that_is_not_what_was_written_is_found_when_it_is_read(shards: Path) -> None:
    path = shards / "shard-000002" / "images.bin"
    data = bytearray(path.read_bytes())
    data[ShardReader(path.parent).image_key(1, "depth")] ^= 1
    path.write_bytes(data)
    check_shards(shards)  # looks at no image: there may be gigabytes
    with pytest.raises(ShardError, match="is not what was written") as raised:
        library_of(shards)
    set_aside(raised.value)
    library = library_of(shards)
    assert [record.id for record in library.records] == [name for name in NAMES if name != "w:3:0"]
    assert library.refused == {"damaged": 1}


def test_features_that_were_chosen_before_stay_right_when_a_shard_is_set_aside(shards: Path) -> None:
    library = library_of(shards)
    before = library.examples(np.arange(6))
    line_without("meta")(shards / "shard-000002")
    check_shards(shards)
    after = library.examples(np.arange(6))
    np.testing.assert_array_equal(after.features, np.delete(before.features, 2, axis=0))
    np.testing.assert_array_equal(after.labels, np.delete(before.labels, 2))
    shutil.rmtree(shards / "shard-000003")
    assert len(library.examples(np.arange(6))) == 3


@pytest.mark.parametrize("moved", [False, True])
def test_a_kill_while_it_is_set_aside_loses_nothing(shards: Path, moved: bool) -> None:
    salvaged = shards / f"{SALVAGED}shard-000002"
    shutil.copytree(shards / "shard-000002", salvaged)
    if moved:
        shutil.rmtree(shards / "shard-000002")
    check_shards(shards)
    assert not salvaged.exists()
    assert [record.id for record in library_of(shards).records] == NAMES
    assert len(shard_folders(shards)) == 3


def test_the_same_number_can_be_set_aside_twice(shards: Path) -> None:
    for _ in range(2):
        cut("index.json", 3)(shards / "shard-000002")
        check_shards(shards)
    assert [path.name for path in quarantined(shards)] == ["shard-000002", "shard-000002-2"]
    assert len(library_of(shards)) == 6


@pytest.mark.parametrize("name", ["features.npy", "aux.npy", "rows.npy", "source.json"])
def test_damaged_features_are_computed_again(shards: Path, name: str) -> None:
    before = library_of(shards).examples(np.arange(6))
    for folder in (shards.parent / "features" / TASK.spec.name).iterdir():
        os.truncate(folder / name, 9)
    np.testing.assert_array_equal(library_of(shards).examples(np.arange(6)).features, before.features)


def test_stored_outcomes_that_do_not_fit_are_skipped_and_counted(shards: Path) -> None:
    """As those of a version that had no limits."""
    shard = shards / "shard-000002"
    lines = [json.loads(line) for line in (shard / "outcomes.jsonl").read_text().splitlines()]
    lines[0]["meta"]["scene"]["seed"] = -1
    lines[1]["meta"]["grasp"]["pose_camera"][0][3] = 1e300
    (shard / "outcomes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    index = json.loads((shard / "index.json").read_text())
    (shard / "index.json").write_text(json.dumps({"v": 2, "ids": index["ids"], "kinds": index["kinds"]}))
    check_shards(shards)
    assert quarantined(shards) == []
    library = library_of(shards)
    assert [record.id for record in library.records] == ["w:0:0", "w:1:0", "w:4:0", "w:5:0"]
    assert library.refused == {"invalid": 2}


def test_features_that_are_not_finite_are_refused_and_counted(tmp_path: Path) -> None:
    class Odd(type(TASK)):  # type: ignore[misc]
        def features(self, outcomes):
            features, aux = super().features(outcomes)
            return np.where(outcomes[0].id == "w:1:0", 1e30, features), aux

    store(tmp_path / "shards", [block_outcome(i) for i in range(3)])
    library = ReplayBuffer(OutcomeIndex(tmp_path / "shards"), FeatureCache(tmp_path / "features", Odd(TASK.recipe)))
    library.refresh()
    assert [record.id for record in library.records] == ["w:0:0", "w:2:0"]
    assert library.refused == {"not_finite": 1}


def test_a_full_disk_is_gone_on_from(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = ReplayBuffer(OutcomeIndex(shards), FeatureCache(shards.parent / "features", TASK))
    write, calls = Path.write_bytes, []

    def full(path: Path, data: bytes) -> int:
        calls.append(path)
        if len(calls) > 4:
            raise OSError(28, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            library.refresh()
    assert sorted(path.name for path in (shards.parent / "features" / TASK.spec.name).iterdir()) == ["shard-000001"]
    library.refresh()
    assert [record.id for record in library.records] == NAMES


def test_of_compressed_lines_those_before_the_damage_are_read(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    small = [block_outcome(k) for k in range(20)]
    for outcome in small:
        outcome.images["depth"] = outcome.images["depth"][:8, :8]
        outcome.meta.images["depth"].shape = [8, 8]
    packed = store(shards, small) / "outcomes.jsonl.gz"
    os.truncate(packed, packed.stat().st_size - 600)
    check_shards(shards)
    (shard,) = shard_folders(shards)
    kept = [outcome.id for _, outcome in ShardReader(shard).of_kind(GraspMeta)]
    assert kept == [outcome.id for outcome in small[: len(kept)]]
    assert 0 < len(kept) < 20


def test_a_line_more_than_the_index_knows_is_set_aside_too(shards: Path) -> None:
    torn = shards / "shard-000002"
    text = (torn / "outcomes.jsonl").read_bytes()
    (torn / "outcomes.jsonl").write_bytes(text + b"\0\0\n")
    check_shards(shards)
    assert "2 of 3 outcomes could be read" in quarantined(shards)[0].with_suffix(".txt").read_text()
    ids = [name for folder in shard_folders(shards) for name in ShardReader(folder).ids()]
    assert [name for name in ids if name.startswith("w:")] == NAMES
    assert len(ids) == 7
