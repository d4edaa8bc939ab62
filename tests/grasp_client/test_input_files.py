import json

import pytest

from grasp_client.cli.input_files import read_approach, read_gripper, read_pose

POSE = [[0.0, -1.0, 0.0, 0.4], [-1.0, 0.0, 0.0, -0.1], [0.0, 0.0, -1.0, 0.8], [0.0, 0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pose.json", json.dumps(POSE)),
        ("pose.txt", "\n".join(" ".join(map(str, row)) for row in POSE) + "\n\n"),
        ("pose.csv", "\n".join(",".join(map(str, row)) for row in POSE)),
        ("camera.tf", "camera\nworld\n0.4 -0.1 0.8\n0 -1 0\n-1 0 0\n0 0 -1\n"),
    ],
)
def test_pose_files(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    assert read_pose(path) == POSE


@pytest.mark.parametrize(("name", "content"), [("pose.txt", "1 2 3"), ("camera.tf", "a\nb\n1 2 3"), ("pose.json", "[[1,")])
def test_other_pose_files_say_what_is_expected(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match="expected 4x4 numbers"):
        read_pose(path)


def test_gripper_from_text_and_file(tmp_path):
    path = tmp_path / "hand.json"
    path.write_text('{"kind": "suction", "cup_radius": 0.02}')
    assert read_gripper(str(path)).cup_radius == 0.02
    assert read_gripper(' {"max_width": 0.05}').max_width == 0.05
    assert read_gripper("wsg_50").max_width == 0.11
    with pytest.raises(ValueError, match=r"expected franka_hand, .*JSON such as"):
        read_gripper("wsg")
    with pytest.raises(ValueError, match=r"--gripper robotic_2f_85: did you mean robotiq_2f_85\? expected franka_hand"):
        read_gripper("robotic_2f_85")


def test_approaches_from_text():
    assert read_approach("0,0,-1,0.3").model_dump() == {"axis": [0, 0, -1], "max_angle": 0.3}
    assert read_approach("camera").axis == "camera"
    assert read_approach("camera,0.5").max_angle == 0.5
    for wrong in ("0,0", "camera,a", "cameras", "1,2,3,4,5"):
        with pytest.raises(ValueError, match="expected x,y,z or camera"):
            read_approach(wrong)
