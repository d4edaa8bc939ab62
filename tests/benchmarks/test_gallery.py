import json

import numpy as np
import pytest

from benchmarks.gallery import main
from grasp_client.imaging import encode_npy, encode_png_depth, encode_png_rgb

DEPTH = np.full((120, 160), 0.6, np.float32)
DEPTH[50:70, 60:100] = 0.55
CAMERA = {"fx": 150, "fy": 150, "cx": 79.5, "cy": 59.5}


def test_a_page_shows_answers_warnings_and_refusals(tmp_path):
    (tmp_path / "a_depth_0.npy").write_bytes(encode_npy(DEPTH))
    for name, depth, request in (
        ("odd", DEPTH, {"camera": {**CAMERA, "cx": 0.0}}),
        ("refused", 0 * DEPTH, {"camera": CAMERA}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "depth.png").write_bytes(encode_png_depth(depth))
        (tmp_path / name / "request.json").write_text(json.dumps(request))
    assert main([str(tmp_path), "--out", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "index.html").read_text()
    assert page.count("<img") == 2
    assert "principal_point: " in page
    assert "refused: the depth image has no reading" in page
    assert len(list((tmp_path / "page").glob("*.png"))) == 2


def test_what_colours_alone_are_answered_stands_beside_what_depth_is(tmp_path):
    colours = np.full((240, 320, 3), 200, np.uint8)
    colours[100:140, 120:200] = (200, 30, 30)
    (tmp_path / "a_depth_0.npy").write_bytes(encode_npy(DEPTH))
    (tmp_path / "a_color_0.png").write_bytes(encode_png_rgb(colours))
    (tmp_path / "a.intr").write_text(json.dumps({f"_{name}": value for name, value in CAMERA.items()}))
    assert main([str(tmp_path), "--out", str(tmp_path / "page")]) == 0
    depth, alone = (tmp_path / "page" / "index.html").read_text().split("<figure>")[1:]
    assert "a_depth_0.npy<br>dense: 0." in depth
    assert "a_color_0.png, colour alone<br>heatmap: 0." in alone
    assert "no_depth" in alone


def test_a_folder_without_pictures_says_what_is_expected(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "request.json" in capsys.readouterr().err


@pytest.mark.parametrize("help_", ["--help"])
def test_help(help_, capsys):
    with pytest.raises(SystemExit):
        main([help_])
    assert "FOLDER" in capsys.readouterr().out
