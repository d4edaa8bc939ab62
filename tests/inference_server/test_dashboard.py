"""The dashboard's page and what it loads; what it reads is tested where it is served, what a person does in tests/browser."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from serving import Running
from waiting import PATIENCE

import grasp_client.viewer
import inference_server

FOLDER = Path(inference_server.__file__).parent / "dashboard"
VIEWER = Path(grasp_client.viewer.__file__).parent
SCRIPTS = [*sorted(FOLDER.glob("*.js")), *sorted(VIEWER.glob("*.js"))]


def test_the_page_and_what_it_loads_are_served(server: Running) -> None:
    page = server.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "script-src 'self' 'sha256-" in page.headers["content-security-policy"]
    wanted = set(re.findall(r'(?:src|href)="(dashboard/[^"]+)"', page.text)) | set(
        re.findall(r'"\./(dashboard/[^"]+)"', page.text)
    )
    for script in SCRIPTS:
        wanted |= {f"dashboard/{name}" for name in re.findall(r'from "\./([^"]+)"', script.read_text())}
    assert len(wanted) > 8
    for address in wanted:
        part = server.client.get(f"/{address}")
        assert part.status_code == 200, address
        assert part.headers["x-content-type-options"] == "nosniff"


def test_no_two_elements_have_one_id() -> None:
    """The first of them would get what is told to the other: a figure of the loop once emptied a table of the plan."""
    found = re.findall(r' id="([^"]+)"', (FOLDER / "index.html").read_text())
    assert len(found) > 40
    assert sorted(found) == sorted(set(found))


@pytest.mark.parametrize("name", ["nothing.js", "../app.py", "%2e%2e/app.py", "vendor"])
def test_nothing_else_is_served(server: Running, name: str) -> None:
    assert server.client.get(f"/dashboard/{name}").status_code == 404


def test_every_part_that_a_script_fills_is_on_the_page() -> None:
    page = (FOLDER / "index.html").read_text()
    wanted = {
        name for script in SCRIPTS for name in re.findall(r'\b(?:byId|show|fill|chips|line)\("([\w-]+)"', script.read_text())
    }
    assert len(wanted) > 30
    assert {name for name in wanted if f'id="{name}"' not in page} == set()


def test_series_that_a_script_reads_exist(server: Running) -> None:
    assert server.raw().status_code == 200
    text = server.client.get("/metrics").text
    for name in set(re.findall(r"\b(?:grasp|process)_[a-z_]+\b", (FOLDER / "loop.js").read_text())):
        assert name in text, name


def test_the_interface_is_documented_without_the_internet(server: Running) -> None:
    page = server.client.get("/docs").text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) >= 2
    for address in addresses:
        assert not address.startswith("http")
        assert address.startswith("data:") or server.client.get(f"/{address}").status_code == 200


@pytest.mark.parametrize("vendor", [FOLDER / "vendor", VIEWER / "vendor"], ids=["dashboard", "viewer"])
def test_vendored_files_are_as_they_were_published(vendor: Path) -> None:
    lines = (vendor / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split() for line in lines)}
    kept = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in vendor.iterdir()}
    assert {name: digest for name, digest in kept.items() if name not in ("SHA256SUMS", "README.md")} == sums


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_valid(script: Path) -> None:
    node = shutil.which("node")
    if not node:
        pytest.skip("no node to check the script's syntax with")
    subprocess.run([node, "--check", "--input-type=module"], input=script.read_bytes(), check=True, timeout=PATIENCE)
