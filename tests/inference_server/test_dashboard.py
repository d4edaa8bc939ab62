"""The dashboard's page and what it loads; what it reads is tested where it is served."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from serving import Running

import inference_server

FOLDER = Path(inference_server.__file__).parent / "dashboard"


def test_the_page_and_what_it_loads_are_served(server: Running) -> None:
    page = server.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src" not in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for address in re.findall(r'(?:src|href)="(dashboard/[^"]+)"', page.text):
        part = server.client.get(f"/{address}")
        assert part.status_code == 200
        assert part.headers["x-content-type-options"] == "nosniff"


def test_every_part_that_the_script_fills_is_on_the_page() -> None:
    page, script = (FOLDER / "index.html").read_text(), (FOLDER / "dashboard.js").read_text()
    wanted = set(re.findall(r'(?:byId|show|fill)\("(\w+)"', script))
    assert wanted
    assert {name for name in wanted if f'id="{name}"' not in page} == set()


def test_series_that_the_script_reads_exist(server: Running) -> None:
    assert server.raw().status_code == 200
    text = server.client.get("/metrics").text
    for name in set(re.findall(r"\b(?:grasp|process)_[a-z_]+\b", (FOLDER / "dashboard.js").read_text())):
        assert name in text, name


def test_the_script_is_valid() -> None:
    node = shutil.which("node")
    if not node:
        pytest.skip("no node to check the script's syntax with")
    subprocess.run(
        [node, "--check", "--input-type=module"], input=(FOLDER / "dashboard.js").read_bytes(), check=True, timeout=60
    )
