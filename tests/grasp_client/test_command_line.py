"""The command line and the clients against a real socket; the server there checks what it gets and gives a fixed answer."""

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from grasp_client import AsyncGraspClient, DeadlineExceeded, GraspClient, input_warnings
from grasp_client.cli.predict import main
from grasp_client.contract import Gripper
from grasp_client.imaging import decode_rgb, encode_npy, encode_png_depth, encode_png_rgb
from grasp_client.input_warnings import InputWarning

DEPTH = np.full((60, 80), 0.7, np.float32)
DEPTH[20:40, 30:50] = 0.65
COLOUR = np.full((60, 80, 3), 200, np.uint8)
POSE = [[1.0, 0.0, 0.0, 0.1], [0.0, -1.0, 0.0, -0.2], [0.0, 0.0, -1.0, 0.35], [0.0, 0.0, 0.0, 1.0]]
GRASP = {
    "kind": "parallel_jaw", "quality": 0.942, "center_px": [40.0, 30.0], "angle": 0.5, "depth": 0.655, "width": 0.041,
    "width_px": 33.1, "pose_camera": POSE, "pose_base": POSE,
}  # fmt: skip
TOTE = {"corners": [[0.7, 0.1, 0.0], [0.3, 0.1, 0.0], [0.3, -0.1, 0.0], [0.7, -0.1, 0.0]], "wall_height": 0.1}
PLAN = {
    "request_id": "r1", "planner": "dense", "model": {"name": "dense", "version": 7}, "grasps": [GRASP],
    "rejections": {"border": 2, "too_wide": 30, "collision": 0}, "timings_ms": {"plan": 18.4},
}  # fmt: skip


class Fixed(BaseHTTPRequestHandler):
    """Keeps each request and gives `server.answers` in order: (status, body) or a threading.Event to wait for."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
        answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]  # type: ignore[attr-defined]
        if isinstance(answer, threading.Event):
            answer.wait(10)
            self.close_connection = True
            return
        status, reply = answer
        content = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Fixed)
    server.daemon_threads = True
    server.got, server.answers = [], [(200, PLAN)]  # type: ignore[attr-defined]
    server.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working folder, with images in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "depth.npy").write_bytes(encode_npy(DEPTH))
    (tmp_path / "depth.png").write_bytes(encode_png_depth(DEPTH))
    (tmp_path / "colour.png").write_bytes(encode_png_rgb(COLOUR))
    (tmp_path / "mask.npy").write_bytes(encode_npy(DEPTH < 0.69))
    (tmp_path / "pose.txt").write_text("1 0 0 0.5\n0 -1 0 0\n0 0 -1 0.7\n0 0 0 1\n")
    return tmp_path


def differs(path: Path, background: np.ndarray) -> float:
    """Share of a picture's pixels that are not its background, whatever its zoom."""
    picture = decode_rgb(path.read_bytes())
    assert picture.shape[1] >= 900, "large enough to look at"
    return float((picture != background).any(axis=-1).mean())


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The real command, from the repository's root, where it is importable however the project was installed."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=Path(__file__).parents[2])


def test_a_depth_image_gives_a_table_and_a_picture(server, folder, capsys):
    arguments = ["depth.npy", "--url", server.url, "--intrinsics", "525,525,39.5,29.5", "--camera-pose", "pose.txt"]
    assert main([*arguments, "--gripper", '{"max_width": 0.05}', "--region", "0,0,79,59", "--n-grasps", "5"]) == 0
    out = capsys.readouterr()
    assert "planner dense, model dense version 7" in out.out
    assert "x, y, z in base frame [m]" in out.out
    assert out.out.splitlines()[3].split() == [
        "1",
        "0.942",
        "40.0",
        "30.0",
        "+28.6",
        "41.0",
        "0.655",
        "+0.100",
        "-0.200",
        "+0.350",
    ]
    assert "rejected: too_wide 30, border 2" in out.out
    path, headers, _ = server.got[0]
    assert (path, headers["X-Shape"]) == ("/predict_grasp", "60,80")
    sent = json.loads(headers["X-Request"])
    assert Gripper.model_validate(sent.pop("gripper")) == Gripper(max_width=0.05)
    assert sent == {
        "camera": {"fx": 525.0, "fy": 525.0, "cx": 39.5, "cy": 29.5},
        "camera_pose": [[1.0, 0.0, 0.0, 0.5], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.7], [0.0, 0.0, 0.0, 1.0]],
        "region": [0.0, 0.0, 79.0, 59.0], "n_grasps": 5,
    }  # fmt: skip
    assert "wrote depth_grasps.png" in out.err
    assert decode_rgb((folder / "depth_grasps.png").read_bytes()).shape == (720, 960, 3)


@pytest.mark.parametrize(
    ("given", "sent"), [("true", True), ("false", False), ("tote.json", TOTE), (json.dumps(TOTE), TOTE)], ids=str
)
def test_a_bin_is_told(server, folder, given, sent):
    (folder / "tote.json").write_text(json.dumps(TOTE))
    assert main(["depth.npy", "--url", server.url, "--bin", given, "--camera-pose", "pose.txt"]) == 0
    assert json.loads(server.got[0][1]["X-Request"])["bin"] == sent


def test_failed_grasps_are_told(server, folder):
    assert main(["depth.npy", "--url", server.url, "--failed", "40,30.5", "--failed", "12,9,-0.5,0.65,0.9"]) == 0
    assert json.loads(server.got[0][1]["X-Request"]) == {
        "failed": [{"center_px": [40.0, 30.5]}, {"center_px": [12.0, 9.0], "angle": -0.5, "depth": 0.65, "quality": 0.9}]
    }


def test_the_overlay_is_drawn_on_the_colour_image(server, folder, capsys):
    assert main(["depth.png", "--rgb", "colour.png", "--segmask", "mask.npy", "--url", server.url, "--overlay", "out.png"]) == 0
    assert "multipart/form-data" in server.got[0][1]["Content-Type"]
    assert 0.002 < differs(folder / "out.png", COLOUR[0, 0]) < 0.3
    assert capsys.readouterr().err == "wrote out.png\n"


def test_a_goal_goes_along_as_a_mask_or_as_a_pixel(server, folder):
    assert main(["depth.png", "--goal", "mask.npy", "--url", server.url, "--overlay", "none"]) == 0
    assert b'name="goal"' in server.got[0][2]
    assert main(["depth.npy", "--point", "40,30", "--url", server.url, "--overlay", "none"]) == 0
    assert json.loads(server.got[1][1]["X-Request"]) == {"point": [40.0, 30.0]}


ACTION = {
    "request_id": "r1", "action": "push", "goal_quality": 0.12, "planner": "push-value", "grasp_planner": "dense",
    "model": {"name": "push-value", "version": 2}, "grasps": [], "clears": [GRASP],
    "pushes": [{"start_camera": POSE, "end_camera": POSE, "start_base": POSE, "end_base": POSE, "length": 0.08,
                "start_px": [10.0, 30.0], "end_px": [60.0, 30.0], "predicted_quality": 0.71, "gain": 0.59}],
    "warnings": ["goal: odd"],
}  # fmt: skip


def test_an_action_is_told_and_drawn(server, folder, capsys):
    arguments = ["depth.png", "--goal", "mask.npy", "--intrinsics", "525,525,39.5,29.5", "--url", server.url, "--action"]
    server.answers = [(200, ACTION)]
    assert main([*arguments, "--overlay", "push.png"]) == 0
    assert server.got[0][0] == "/predict_action"
    told = capsys.readouterr().out
    assert told.startswith("push (the goal's best grasp now: 0.120; pushes by push-value version 2)")
    assert told.splitlines()[3].split() == ["1", "+0.710", "+0.590", "10", "30", "60", "30", "80", "+0.100", "-0.200", "+0.350"]
    assert "warning: goal: odd" in told
    server.answers = [(200, {**ACTION, "action": "none", "pushes": [], "reason": "nothing helps"})]
    assert main([*arguments, "--overlay", "none.png"]) == 0
    assert "nothing helps" in capsys.readouterr().out
    pushed, none = (decode_rgb((folder / name).read_bytes()).astype(int) for name in ("push.png", "none.png"))
    zoom = pushed.shape[1] // 80
    changed = np.argwhere((np.abs(pushed - none) > 30).any(-1)) / zoom
    assert changed[:, 1].min() == pytest.approx(10, abs=4)
    assert changed[:, 1].max() == pytest.approx(60, abs=4)
    assert main([*arguments, "--json", "--overlay", "none"]) == 0
    assert json.loads(capsys.readouterr().out)["action"] == "none"


def test_colour_alone(server, folder):
    assert main(["colour.png", "--url", server.url, "--overlay", "none"]) == 0
    assert b'name="rgb"' in server.got[0][2]
    assert not list(folder.glob("*grasps*"))


def test_a_grey_photograph_is_colour_when_it_is_said_to_be(server, folder):
    (folder / "photo.png").write_bytes(_grey_png(COLOUR[:, :, 0]))
    assert main(["--rgb", "photo.png", "--url", server.url]) == 0
    assert b'name="rgb"' in server.got[0][2]
    assert (folder / "photo_grasps.png").exists()


def _grey_png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def test_a_folder_gives_one_table(server, folder, capsys):
    (folder / "captures").mkdir()
    for name in ("a.npy", "b.npy", "notes.txt", "c.png"):
        (folder / "captures" / name).write_bytes(b"no image" if name == "c.png" else encode_npy(DEPTH))
    server.answers = [(200, {**PLAN, "warnings": ["gravity: it leans"]}), (200, {**PLAN, "grasps": []})]
    assert main(["captures", "--url", server.url, "--overlay", "pictures"]) == 2
    out = capsys.readouterr().out
    assert len(server.got) == 2
    rows = [line.split()[:2] for line in out.splitlines()]
    assert ["a.npy", "1"] in rows
    assert ["b.npy", "0"] in rows
    assert ["c.png", "refused"] in rows
    assert "a.npy: warning: gravity: it leans" in out
    assert "3 images, 2 answered, 1 with a grasp" in out
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == ["a_grasps.png", "b_grasps.png"]


def test_refused_grasps_are_a_table_of_their_own(server, folder, capsys):
    refused = {**GRASP, "reason": "collision", "part": "finger_left", "obstacle_px": [44.0, 31.0]}
    server.answers = [(200, {**PLAN, "refused": [refused]})]
    assert main(["depth.npy", "--url", server.url, "--explain"]) == 0
    assert json.loads(server.got[0][1]["X-Request"]) == {"explain": True}
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["collision", "finger_left", "44", "31", "40.0", "30.0", "+28.6"] in rows


def test_several_views_are_sent_together_and_drawn_on_the_first(server, folder, capsys):
    camera = {"fx": 525.0, "fy": 525.0, "cx": 39.5, "cy": 29.5}
    told = [{"depth": name, "camera": camera, "camera_pose": POSE} for name in ("depth.npy", "depth.png")]
    (folder / "views.json").write_text(json.dumps(told))
    assert main(["--views", "views.json", "--url", server.url, "--n-grasps", "3"]) == 0
    _, headers, body = server.got[0]
    assert headers["Content-Type"].startswith("multipart/form-data")
    assert all(part in body for part in (b'name="depth_0"', b'name="depth_1"', b'"n_grasps":3'))
    assert decode_rgb((folder / "views_grasps.png").read_bytes()).shape == (720, 960, 3)
    for wrong, says in (
        ([{"camera": camera}], "expected [{"),
        ([{**told[0], "depth": "colour.png"}, told[1]], "colour image"),
        ([{**told[0], "depth": "no.npy"}, told[1]], "no.npy"),
        ([{**told[0], "pose": POSE}, told[1]], "pose"),
        (told[:1], "views"),
    ):
        (folder / "views.json").write_text(json.dumps(wrong))
        assert main(["--views", "views.json", "--url", server.url]) == 2, wrong
        assert says in capsys.readouterr().err, says
    assert main(["depth.npy", "--views", "views.json", "--url", server.url]) == 2


def test_several_images_as_json_are_a_line_each(server, folder, capsys):
    assert main(["depth.npy", "depth.png", "--url", server.url, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == ["depth.npy", "depth.png"]
    assert lines[1]["grasps"][0]["pose_base"] == POSE


def test_a_folder_without_images_and_no_image_at_all_are_status_2(server, folder, capsys):
    (folder / "empty").mkdir()
    assert main(["empty", "--url", server.url]) == 2
    assert "has no image" in capsys.readouterr().err
    assert main(["--url", server.url]) == 2
    assert "--rgb" in capsys.readouterr().err


def test_odd_input_is_a_python_warning_once_per_kind(server, monkeypatch):
    monkeypatch.setattr(input_warnings, "_told", set())
    server.answers = [(200, {**PLAN, "warnings": ["gravity: it leans", "colour: dark"]})]
    with GraspClient(server.url) as client:
        with pytest.warns(InputWarning) as told:
            client.predict_grasp(DEPTH)
        assert [str(each.message) for each in told] == ["gravity: it leans", "colour: dark"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            client.predict_grasp(DEPTH)


def test_json_is_the_reply_and_nothing_else(server, folder, capsys):
    assert main(["depth.png", "--url", server.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["grasps"][0]["pose_base"] == POSE


def test_the_heat_map_is_written_when_the_server_gives_one(server, folder, capsys):
    server.answers = [(200, {**PLAN, "heatmap_png": base64.b64encode(encode_png_rgb(COLOUR)).decode()}), (200, PLAN)]
    arguments = ["depth.png", "--url", server.url, "--overlay", "none", "--heatmap", "heat.png"]
    assert main(arguments) == 0
    np.testing.assert_array_equal(decode_rgb((folder / "heat.png").read_bytes()), COLOUR)
    assert main(arguments) == 0
    assert "has no heat map" in capsys.readouterr().err


def test_no_grasp_is_an_answer(server, folder, capsys):
    server.answers = [(200, {**PLAN, "grasps": [], "warnings": ["half of the image has no reading"]})]
    assert main(["depth.npy", "--url", server.url]) == 0
    out = capsys.readouterr().out
    assert "No grasp found" in out
    assert "too_wide 30" in out
    assert "warning: half of the image has no reading" in out


def test_a_goal_without_a_grasp_leads_to_the_next_action(server, folder, capsys):
    none = {**PLAN, "grasps": []}
    server.answers = [(200, none), (200, PLAN), (200, none), (200, {**ACTION, "action": "none", "pushes": [], "reason": "far"})]
    for options, hinted in ((("--point", "40,30"), True), (("--point", "40,30"), False), ((), False)):
        assert main(["depth.npy", "--url", server.url, "--overlay", "none", *options]) == 0
        assert ("--action" in capsys.readouterr().err) is hinted
    assert main(["depth.npy", "--url", server.url, "--overlay", "none", "--point", "40,30", "--action"]) == 0
    assert "--action" not in capsys.readouterr().err


def test_pixels_only_says_how_to_get_metres(server, folder, capsys):
    server.answers = [
        (200, {**PLAN, "model": None, "grasps": [{k: GRASP[k] for k in ("kind", "quality", "center_px", "angle")}]})
    ]
    assert main(["depth.npy", "--url", server.url]) == 0
    out = capsys.readouterr().out
    assert "--intrinsics" in out
    assert "frame [m]" not in out


def test_a_refusal_is_status_1_with_the_servers_words(server, folder, capsys):
    server.answers = [(404, {"error": {"code": "unknown_planner", "message": "no planner 'x'; there are: antipodal, dense"}})]
    assert main(["depth.npy", "--planner", "x", "--url", server.url]) == 1
    assert capsys.readouterr().err == "error: no planner 'x'; there are: antipodal, dense [unknown_planner]\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.npy"], "No such file"),
        (["pose.txt"], "expected PNG"),
        (["colour.png", "--rgb", "colour.png"], "already a colour image"),
        (["depth.npy", "--rgb", "depth.png"], "16-bit grey or float picture was sent as rgb"),
        (["depth.npy", "--depth-scale", "0"], "depth_scale"),
        (["depth.png", "--depth-scale", "1"], "millimetres"),
        (["depth.npy", "--intrinsics", "0,525,1,1"], "Input should be greater than or equal to 0.5"),
        (["depth.npy", "--intrinsics", "camera.json"], "no such file"),
        (["depth.npy", "--camera-pose", "depth.npy"], "4x4"),
        (["depth.npy", "--gripper", "wide"], "JSON"),
        (["depth.npy", "--gripper", '{"max_width": 2}'], "max_width"),
        (["depth.npy", "--region", "9,9,1,1"], "u0 < u1"),
        (["depth.npy", "--failed", "9"], "u,v"),
        (["depth.npy", "--failed", "9,9,1,1,1,1"], "u,v"),
        (["depth.npy", "--failed", "9,9,1,-1"], "depth: Input should be greater than"),
        (["depth.npy", "--n-grasps", "0"], "n_grasps"),
        (["depth.npy", "--url", "localhost:8000"], "http://127.0.0.1:8000"),
        (["depth.npy", "--overlay", "missing/out.png"], "cannot be written"),
    ],
)
def test_wrong_arguments_are_status_2_and_say_what_is_expected(server, folder, capsys, arguments, said):
    assert main(["--url", server.url, *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_nobody_there_and_help_through_the_real_command(folder):
    refused = run("-m", "grasp_client", str(folder / "depth.npy"), "--url", "http://127.0.0.1:1")
    assert refused.returncode == 1
    assert "make run" in refused.stderr
    helped = run("-m", "grasp_client", "--help")
    assert helped.returncode == 0
    assert "examples:" in helped.stdout


def test_who_reads_only_the_head_of_the_answer_still_gets_the_picture(server, folder):
    url = f"http://127.0.0.1:{server.server_port}"
    reader, writer = os.pipe()
    os.close(reader)  # `| head` that has seen enough
    command = [
        sys.executable,
        "-m",
        "grasp_client",
        str(folder / "depth.npy"),
        "--url",
        url,
        "--overlay",
        str(folder / "o.png"),
    ]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert (folder / "o.png").stat().st_size > 1000


def test_the_client_imports_no_heavy_package():
    heavy = ["torch", "cv2", "scipy", "redis", "fastapi", "pydantic_settings", "matplotlib"]
    code = f"import sys, grasp_client.cli.predict; print([name for name in {heavy} if name in sys.modules])"
    assert run("-c", code).stdout == "[]\n"


def test_a_server_that_hangs_is_a_missed_deadline(server):
    hang = threading.Event()
    server.answers = [hang]
    try:
        with GraspClient(server.url, deadline=0.05) as client, pytest.raises(DeadlineExceeded):
            client.predict_grasp(DEPTH)
    finally:
        hang.set()


def test_a_broken_connection_is_retried(server):
    broken = threading.Event()
    broken.set()
    server.answers = [broken, (200, PLAN)]
    with GraspClient(server.url) as client:
        assert client.predict_grasp(DEPTH).model.version == 7
    assert len(server.got) == 2


def test_many_at_once_share_one_asynchronous_client(server):
    async def ask() -> list:
        async with AsyncGraspClient(server.url) as client:
            return await asyncio.gather(*(client.predict_grasp(DEPTH) for _ in range(8)))

    assert [plan.planner for plan in asyncio.run(ask())] == ["dense"] * 8


def test_an_unknown_size_of_a_hand_is_named_with_those_that_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hand.json").write_text('{"max_width": 0.06, "finger_lenght": 0.05}')
    np.save(tmp_path / "depth.npy", np.full((8, 8), 0.7, np.float32))
    assert main([str(tmp_path / "depth.npy"), "--gripper", str(tmp_path / "hand.json")]) == 2
    said = capsys.readouterr().err
    assert "unknown field 'finger_lenght'; did you mean 'finger_" in said
    assert "max_width" in said
