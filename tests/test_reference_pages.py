"""Reference pages say what the code says; every route and every option of a request has its place in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from reference_pages import PAGES, REFERENCE

from grasp_client.contract import GraspMeta, Gripper, PlanRequest, PushMeta
from inference_server.app import create_app
from shared.registry import ModelCard
from shared.settings import ServerSettings


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name](), f"docs/reference/{name} is old: `make reference` writes it anew"


def test_every_route_stands_in_the_reference(tmp_path: Path) -> None:
    page = (REFERENCE / "http.md").read_text()
    routes = create_app(ServerSettings(models_dir=tmp_path)).openapi()["paths"]
    assert len(routes) > 10
    missing = [path for path in routes if not path.startswith("/v2") and not re.search(_spelt(path), page)]
    assert missing == []


def _spelt(path: str) -> str:
    """The path, or its last part where the page names several of one stem: `POST /models/{name}/promote`, `/rollback`."""
    return f"{re.escape(path)}|`{re.escape('/' + path.rsplit('/', 1)[-1])}`"


@pytest.mark.parametrize("name", sorted({*GraspMeta.model_fields, *PushMeta.model_fields, *ModelCard.model_fields}))
def test_every_field_of_an_outcome_and_a_card_stands_in_the_data_formats(name: str) -> None:
    assert f"`{name}`" in (REFERENCE / "data_formats.md").read_text()


@pytest.mark.parametrize("name", [*PlanRequest.model_fields, *Gripper.model_fields])
def test_every_option_of_a_request_stands_in_the_reference(name: str) -> None:
    assert re.search(rf"\b{name}\b", (REFERENCE / "http.md").read_text())
