import math

import torch

from shared.features.radial import leans, radial_windows

SIDE = 16


def ramps(size=64):
    """(2, size, size): of every pixel its u and its v."""
    v, u = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
    return torch.stack([u, v])


def seen(middles, nadirs, **options):
    """(N, 2, SIDE, SIDE): which pixel (u, v) each pixel of a window shows."""
    middles, nadirs = torch.tensor(middles), torch.tensor(nadirs)
    return radial_windows(ramps().expand(len(middles), -1, -1, -1), middles, nadirs, SIDE, **options)


def test_a_window_to_the_right_of_the_nadir_is_cut_out_as_it_is():
    [window] = seen([[40.5, 30.5]], [[10.5, 30.5]])
    u, v = ramps()[:, 23:39, 33:49]
    torch.testing.assert_close(window, torch.stack([u, v]))


def test_outward_is_always_to_the_right():
    middles = torch.tensor([[40.0, 30.0], [20.0, 30.0], [30.0, 45.0], [22.0, 38.0]])
    nadir = torch.tensor([30.0, 30.0])
    windows = seen(middles.tolist(), [nadir.tolist()] * 4)
    across = windows[..., 8, 12] - windows[..., 8, 4]
    outward = torch.nn.functional.normalize(middles - nadir, dim=1)
    torch.testing.assert_close(across, 8 * outward, atol=1e-4, rtol=0)


def test_mirrors_and_turns_leave_the_middle_and_change_the_rest():
    plain, mirrored, turned = seen(
        [[40.0, 30.0]] * 3,
        [[30.0, 30.0]] * 3,
        mirrors=torch.tensor([False, True, False]),
        turns=torch.tensor([0.0, 0.0, math.pi / 2]),
    )
    torch.testing.assert_close(mirrored, plain.flip(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(turned.mean((1, 2)), plain.mean((1, 2)), atol=1e-4, rtol=0)
    across = turned[:, 8, 12] - turned[:, 8, 4]
    torch.testing.assert_close(across, torch.tensor([0.0, 8.0]), atol=1e-4, rtol=0)


def test_beyond_the_picture_its_rim_repeats():
    [window] = seen([[63.0, 30.0]], [[30.0, 30.0]])
    assert window[0].max() == 63
    assert window[0, :, -1].unique().tolist() == [63]


def test_lean_is_the_tangent_of_the_view():
    assert leans(torch.tensor([[33.0, 34.0]]), torch.tensor([[30.0, 30.0]]), 10.0).tolist() == [0.5]
