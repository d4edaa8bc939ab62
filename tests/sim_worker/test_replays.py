"""What is kept without images is rendered again bit for bit, and takes little room.

REPLAYED_SCENES=1000 pytest -m slow tests/sim_worker/test_replays.py     # so many scenes; the default is a tenth of it
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from grasp_client.contract import Grasp, GraspMeta, Gripper, Outcome
from shared.outcome_codec import build_outcome, decode_outcome, encode_outcome, image_bytes
from shared.shards import ShardReader, ShardWriter, digest
from shared.streams.outcome_batches import pack_outcomes, unpack_outcomes
from sim_worker.collect.collector import CollectionRecipe, Collector
from sim_worker.replays import Views, without_images
from sim_worker.sampling.variety import varied
from sim_worker.tasks.labels import Mix
from sim_worker.world import SceneError, SceneSpec, World

SCENES = int(os.environ.get("REPLAYED_SCENES", "100"))
KINDS = ("single", "packed", "single", "single")


def spec_of(number: int, kind: str | None = None) -> SceneSpec:
    vary = ("hands", "cameras", "sides") if number % 2 else ()
    profile = ("clean", "standard", "hard")[number % 3]
    return varied(
        SceneSpec(seed=1_000 + number, kind=kind or KINDS[number % 4], profile=profile, vary=vary),  # type: ignore[arg-type]
        Gripper(),
    )[0]


def check_views(scenes: int, kinds: tuple[str | None, ...] = (None,)) -> None:
    """Views of scenes and their replays, in another order and another world, are the same bytes."""
    world, views, seen = World(), Views(), []
    for number in range(scenes):
        spec = spec_of(number, kinds[number % len(kinds)])
        try:
            view = world.build(spec).observe()
        except SceneError:  # of things that do not come to rest: no attempt either
            continue
        outcome = labelled(spec, view.observation.depth, view.rgb)
        seen.append((outcome, without_images(outcome, spec)))
    assert len(seen) > 0.9 * scenes
    for before, kept in reversed(seen):
        replay = kept.meta.replay
        assert replay
        again = views.render(replay.scene, ["depth", "rgb"])
        assert {name: image_bytes(image) for name, image in again.items()} == {
            name: image_bytes(image) for name, image in before.images.items()
        }
        assert {name: digest(image_bytes(image)) for name, image in again.items()} == replay.checksums


def labelled(spec: SceneSpec, depth: np.ndarray, rgb: np.ndarray) -> Outcome:
    pose = np.eye(4).tolist()
    grasp = Grasp(kind="parallel_jaw", quality=0.5, center_px=[4, 3], angle=0.1, depth=0.5, width=0.04, pose_camera=pose)
    fields = {"grasp": grasp, "planner": "antipodal", "success": True}
    return build_outcome(GraspMeta, f"w:{spec.seed}:0", depth, rgb, fields)


def test_a_scene_of_more_words_than_may_be_sent_keeps_its_images() -> None:
    spec = SceneSpec(seed=1, objects=tuple(f"box/{side}x20x20" for side in range(20, 320)))
    outcome = labelled(spec, np.full((4, 5), 0.6, np.float32), np.zeros((4, 5, 3), np.uint8))
    assert without_images(outcome, spec) is outcome


def test_views_of_twenty_scenes_are_rendered_again_bit_for_bit() -> None:
    check_views(20)


@pytest.mark.slow
def test_views_of_scenes_of_any_kind_are_rendered_again_bit_for_bit() -> None:
    check_views(SCENES, (None, None, "bin", "shelf", "leaning", "enclosed", "scattered"))


def labels_of(records: str, out: Path) -> ShardReader:
    recipe = CollectionRecipe(
        seed=3, kinds=["pile"], profiles=["standard"], object_set="train", objects_dir=None, counts=(3, 3), scenes_per_shard=1,
        mix=Mix(32, 0, 0, 0), feasible="", planner="", rgb=False, gripper=Gripper(), records=records,
    )  # fmt: skip
    out.mkdir()
    Collector(recipe, out, Path("models"), None).shard(0)
    return ShardReader(next(out.iterdir()))


def test_a_collection_without_images_says_the_same_in_400_bytes_a_label(tmp_path: Path) -> None:
    images, replays = labels_of("images", tmp_path / "images"), labels_of("replay", tmp_path / "replays")
    assert images.ids() == replays.ids()
    assert len(replays) == 32
    view = Views().render(replays[0].meta.replay.scene, ["depth"])["depth"]  # type: ignore[union-attr]
    for before, after in zip(images, replays, strict=True):
        assert after.images == {}
        np.testing.assert_array_equal(before.images["depth"], view)
        unlike = {"replay", "time"}
        assert before.meta.model_dump(exclude=unlike) == after.meta.model_dump(exclude=unlike)
    encoded = [encode_outcome(outcome) for outcome in replays]
    body = pack_outcomes(encoded)
    assert sum(map(len, body.values())) / 32 <= 400, "in the queue"
    assert unpack_outcomes(body) == encoded
    assert [decode_outcome(each).meta for each in encoded] == [outcome.meta for outcome in replays]
    sixteen = [
        encode_outcome(each.model_copy(update={"id": f"{number}:{each.id}"})) for number in range(16) for each in replays
    ]
    shard = ShardWriter(tmp_path / "shards").write(sixteen, [("w", number) for number in range(1, 513)])
    assert sum(path.stat().st_size for path in shard.iterdir()) / 512 <= 400, "on disk"
    assert [outcome.meta for outcome in ShardReader(shard)] == [outcome.meta for outcome in replays] * 16


def test_scenes_of_files_keep_their_images(tmp_path: Path) -> None:
    spec = SceneSpec(seed=1, object_set="folder", objects_dir=tmp_path)
    outcome = labelled(spec, np.ones((16, 16)), np.zeros((16, 16, 3), np.uint8))
    assert without_images(outcome, spec) is outcome
    with pytest.raises(ValueError, match="made of no files"):
        Views().render(spec.model_dump_json(), ["depth"])
