import numpy as np
import pytest
from published import published
from published_formats import dexnet_folder, heat_file

from trainer_job.analyze import statistics
from trainer_job.data import dexnet, pictures


@pytest.mark.parametrize(("kind", "size"), [("dexnet-2.0", 32), ("dexnet-3.0", 32), ("dexnet-4.0", 96)])
def test_tensor_folders_are_read_in_full_and_order(tmp_path, kind, size):
    folder = dexnet_folder(tmp_path / "set", kind, (20, 20, 7), size)
    data = dexnet.read(folder, kind, tmp_path / "cache")
    assert data.images.shape == (47, size, size)
    assert data.images.dtype == np.float32
    with np.load(folder / "tensors" / f"{dexnet.FORMATS[kind].images}_00002.npz") as last:
        assert np.array_equal(data.images[40:], last["arr_0"][..., 0])
    assert data.poses[:, 0].mean() == pytest.approx(0.68, abs=0.01)
    assert np.array_equal(data.labels, data.metrics > dexnet.FORMATS[kind].threshold)
    assert 0 < data.labels.mean() < 1


def test_suction_poses_bring_the_lean_of_the_approach(tmp_path):
    suction = dexnet.read(dexnet_folder(tmp_path / "cup", "dexnet-3.0", (20, 5)), "dexnet-3.0", tmp_path / "cache")
    assert suction.poses[:, 1] == pytest.approx(np.r_[np.arange(20), np.arange(5)] / 100)
    jaw = dexnet.read(dexnet_folder(tmp_path / "jaw", "dexnet-2.0", (20,)), "dexnet-2.0", tmp_path / "cache")
    assert not jaw.poses[:, 1].any()


def test_the_second_reading_uses_what_was_unpacked(tmp_path):
    folder = dexnet_folder(tmp_path / "set", "dexnet-2.0", (20,))
    first = dexnet.read(folder, "dexnet-2.0", tmp_path / "cache")
    (folder / "tensors" / "depth_ims_tf_table_00000.npz").unlink()
    again = dexnet.read(folder, "dexnet-2.0", tmp_path / "cache")
    assert np.array_equal(first.images, again.images)
    assert isinstance(again.images, np.memmap)


def test_splits_keep_rows_apart(tmp_path):
    folder = dexnet_folder(tmp_path / "set", "dexnet-2.0", (50, 50))
    (folder / "splits" / "object_wise").mkdir(parents=True)
    for part, rows in (("train", np.arange(60)), ("val", np.arange(60, 100))):
        np.savez(folder / "splits" / "object_wise" / f"{part}_indices.npz", arr_0=rows)
    data = dexnet.read(folder, "dexnet-2.0", tmp_path / "cache")
    training, validation = data.split("ordered", 0.2, 0)
    assert validation.rows.tolist() == list(range(20))
    assert training.rows.tolist() == list(range(20, 100))
    training, validation = data.split("random", 0.2, 1)
    assert len(validation) == 20
    assert not set(training.rows) & set(validation.rows)
    assert data.split("object_wise", 0.2, 0)[1].rows.tolist() == list(range(60, 100))
    with pytest.raises(ValueError, match="object_wise"):
        data.split("image_wise", 0.2, 0)


def test_statistics_are_those_of_the_rows(tmp_path):
    data = dexnet.read(dexnet_folder(tmp_path / "set", "dexnet-3.0", (64,)), "dexnet-3.0", tmp_path / "cache")
    found = statistics(data)
    assert found["n"] == 64
    assert found["image_mean"] == pytest.approx(float(np.mean(data.images, dtype=np.float64)), abs=1e-7)
    assert found["image_std"] == pytest.approx(float(np.std(data.images, dtype=np.float64)), abs=1e-6)
    assert found["positive_share"] == data.labels.mean()


def test_wrong_folders_are_explained(tmp_path):
    with pytest.raises(ValueError, match=r"robust_ferrari_canny_00000\.npz"):
        dexnet.read(tmp_path, "dexnet-2.0", tmp_path / "cache")
    folder = dexnet_folder(tmp_path / "set", "dexnet-2.0", (10, 10))
    np.savez(folder / "tensors" / "hand_poses_00001.npz", arr_0=np.zeros((9, 7)))
    with pytest.raises(ValueError, match="10 images, 9 poses"):
        dexnet.read(folder, "dexnet-2.0", tmp_path / "cache")


def test_published_heat_labels_are_read():
    data = pictures.read(published("formats/mobileunet_val_dataset.npz"), rotations=2)
    assert data.images.shape == (200, 64, 64, 3)
    assert np.bincount(data.maps).tolist() == [193, 7]
    assert data.success.all()


def test_wrong_heat_labels_are_explained(tmp_path):
    with pytest.raises(ValueError, match="expected an npz with imgs"):
        pictures.read(tmp_path / "absent.npz", 2)
    np.savez(tmp_path / "grey.npz", imgs=np.zeros((3, 8, 8), np.uint8), actions=np.zeros((3, 3), int))
    with pytest.raises(ValueError, match="got \\(3, 8, 8\\)"):
        pictures.read(tmp_path / "grey.npz", 2)
    with pytest.raises(ValueError, match="rotations"):
        pictures.read(heat_file(tmp_path / "two.npz", 20), rotations=1)
