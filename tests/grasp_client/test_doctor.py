"""`grasploop doctor`: what it finds, and that it finds something whatever is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from grasp_client.cli import doctor
from grasp_client.cli.doctor import Finding, main


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "entry_points", lambda group: [])
    monkeypatch.setenv("SERVER_URL", "http://127.0.0.1:9")


def answering(monkeypatch: pytest.MonkeyPatch, **replies: httpx.Response) -> None:
    transport = httpx.MockTransport(lambda request: replies[request.url.path.strip("/")])
    client = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **options: client(transport=transport, **options))


READY = {"ready": True, "device": "cpu", "models": {"dense": 2}, "failures": {}, "trouble": ""}


def test_no_server_is_odd_and_told_how_to_start_one(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    assert "none answers at http://127.0.0.1:9" in said
    assert "make run" in said
    assert "grasploop-client" in said


def test_it_looks_where_the_server_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SERVER_URL")
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert doctor.server_url() == "http://127.0.0.1:8000"
    (tmp_path / ".env").write_text("#PORT=1\nWORKERS=2\nPORT=8123\n")
    assert doctor.server_url() == "http://127.0.0.1:8123"
    monkeypatch.setenv("PORT", "8456")
    assert doctor.server_url() == "http://127.0.0.1:8456"


def test_a_ready_server_is_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    planners = {"planners": [{"name": "dense", "ready": True}, {"name": "gqcnn", "ready": False}]}
    answering(monkeypatch, ready=httpx.Response(200, json=READY), planners=httpx.Response(200, json=planners))
    assert main(["--json"]) == 0
    found = {each["what"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["planners"]["text"] == "dense"
    assert found["server"]["level"] == "ok"


NO_KEY = {"error": {"message": "needs an API key"}}
WRONG = {
    "something else than a GraspLoop server": {"ready": httpx.Response(200, text="<html>")},
    "disk full": {
        "ready": httpx.Response(200, json={**READY, "trouble": "disk full"}),
        "planners": httpx.Response(200, json={"planners": []}),
    },
    "set API_KEY": {"ready": httpx.Response(200, json=READY), "planners": httpx.Response(401, json=NO_KEY)},
}


@pytest.mark.parametrize("told", WRONG)
def test_what_is_wrong_is_told_and_is_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, told: str
) -> None:
    answering(monkeypatch, **WRONG[told])
    assert main([]) == 1
    assert told in capsys.readouterr().out


def test_a_check_that_breaks_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "machine"

        def load(self) -> object:
            def check() -> Iterator[Finding]:
                yield Finding("ok", "disk", "room")
                raise RuntimeError("ill")

            return check

    monkeypatch.setattr(doctor, "entry_points", lambda group: [Entry()])
    found = [(each.what, each.level) for each in doctor.findings()]
    assert found[-2:] == [("disk", "ok"), ("machine", "wrong")]
