import numpy as np
import pytest

from shared.rgb_windows import ARRAYS, RgbWindows, TriedGrasp, part_path, parts, read, write


def looks(count=3, side=8):
    rng = np.random.default_rng(count)
    return RgbWindows(
        rng.integers(0, 255, (count, side, side, 3), dtype=np.uint8),
        rng.integers(0, 255, (count, side, side), dtype=np.uint8),
        rng.random((count, 3)).astype(np.float32),
        rng.integers(0, 27, (count, 6, side // 4, side // 4), dtype=np.uint8),
        rng.random((count, 2, len(TriedGrasp))).astype(np.float32),
    )


def test_what_is_written_is_read(tmp_path):
    for number in (2, 0):
        write(tmp_path, number, looks(number + 1))
    assert list(parts(tmp_path)) == [0, 2]
    for number, part in parts(tmp_path).items():
        found, wrote = read(part), looks(number + 1)
        assert len(found) == number + 1
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(found, name), getattr(wrote, name))


def test_a_part_that_was_not_finished_is_none(tmp_path):
    (tmp_path / ".part-00000").mkdir()
    (tmp_path / "part-1").mkdir()
    assert parts(tmp_path) == {}
    write(tmp_path, 0, looks())
    assert list(parts(tmp_path)) == [0]
    assert not (tmp_path / ".part-00000").exists()


def test_a_part_without_an_array_and_arrays_that_do_not_fit_are_told(tmp_path):
    write(tmp_path, 0, looks())
    part = part_path(tmp_path, 0)
    np.save(part / "lenses.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"expected colours \(N, S, S, 3\)"):
        read(part)
    np.save(part / "lenses.npy", looks().lenses)
    np.save(part / "tried.npy", looks().tried[:, :, :4])
    with pytest.raises(ValueError, match=r"tried \(N, K, 5\)"):
        read(part)
    (part / "lenses.npy").unlink()
    with pytest.raises(ValueError, match=r"lenses\.npy"):
        read(part)
