"""`grasploop COMMAND`: which command it finds, what it says of one that is not there, and that it imports no other."""

import subprocess
import sys
from importlib.metadata import entry_points, metadata
from pathlib import Path

import pytest
from waiting import PATIENCE

from grasp_client.cli.main import GROUP, KNOWN, main


def grasploop(*arguments: str, cwd: Path, code: str = "sys.exit(main())") -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with the distributions of `cwd` beside those installed."""
    program = f"import sys; sys.path.insert(0, '{cwd}'); from grasp_client.cli.main import main; {code}"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=cwd, capture_output=True, text=True, timeout=PATIENCE
    )


def install(folder: Path, name: str, source: str) -> None:
    """A distribution with one module, `source`, and the command `name`."""
    info = folder / "outside_command-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside_command\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = outside_command:main\n")
    (folder / "outside_command.py").write_text(source)


def test_help_lists_every_command_and_imports_none(tmp_path):
    heavy = ("torch", "pybullet", "fastapi", "pydantic_settings", "services", "trainer_job", "sim_worker", "inference_server")
    code = f"status = main(); print([name for name in {heavy} if name in sys.modules]); sys.exit(status)"
    helped = grasploop("--help", cwd=tmp_path, code=code)
    assert helped.returncode == 0, helped.stderr
    lines = helped.stdout.splitlines()
    assert lines[-1] == "[]"
    listed = {line.split()[0]: line for line in lines if line.startswith("  ")}
    assert set(listed) == set(KNOWN)
    assert "train a network" in listed["train"]


def test_every_command_of_ours_is_known():
    assert {entry.name for entry in entry_points(group=GROUP)} == set(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_every_command_has_help(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", sys.argv)  # main() sets it
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code in (0, None)
    assert "usage: " in capsys.readouterr().out


def test_extras_named_exist():
    extras = metadata("grasploop").get_all("Provides-Extra")
    assert {command.extra for command in KNOWN.values()} - {None} <= set(extras)


def test_a_command_gets_its_options_and_gives_its_status(tmp_path):
    install(tmp_path, "greet", "import sys\ndef main():\n    print(sys.argv)\n    return 7\n")
    done = grasploop("greet", "--loud", "--help", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (7, "['grasploop greet', '--loud', '--help']\n")
    assert "greet" in grasploop("--help", cwd=tmp_path).stdout


def test_a_command_without_a_status_succeeds(tmp_path):
    install(tmp_path, "greet", "def main():\n    pass\n")
    assert grasploop("greet", cwd=tmp_path).returncode == 0


def test_a_dependency_that_is_missing_is_named_with_the_extra(tmp_path):
    done = grasploop("train", "--help", cwd=tmp_path, code="sys.modules['torch'] = None; sys.exit(main())")
    assert done.returncode == 2
    expected = 'grasploop train needs torch, which is not installed here: pip install "grasploop[trainer]" brings it'
    assert done.stderr == f"error: {expected}\n"


def test_a_command_whose_module_is_left_out_is_not_installed(tmp_path):
    install(tmp_path, "greet", "")
    (tmp_path / "outside_command.py").unlink()
    done = grasploop("greet", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: grasploop greet is not installed here\n")


def test_a_package_that_lacks_a_module_of_its_own_shows_its_traceback(tmp_path):
    install(tmp_path, "greet", "import json.no_such_module\n")
    done = grasploop("greet", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["trian"], "no command 'trian', did you mean 'train'? "),
        (["--frobnicate"], "no command '--frobnicate'; `grasploop --help`"),
        ([], "COMMAND"),
    ],
)
def test_an_unknown_command_is_status_2(given, said, capsys):
    assert main(given) == 2
    out = capsys.readouterr()
    assert (out.out, said in out.err) == ("", True), out.err


@pytest.mark.parametrize("name", sorted(name for name, command in KNOWN.items() if command.extra))
def test_a_command_of_another_distribution_says_which_extra_brings_it(name, monkeypatch, capsys):
    monkeypatch.setattr("grasp_client.cli.main.entry_points", lambda group: [])
    assert main([name]) == 2
    assert f'pip install "grasploop[{KNOWN[name].extra}]"' in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert f"[{KNOWN[name].extra}]" in capsys.readouterr().out
