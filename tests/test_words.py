"""Words that only this project used, where the field has better ones (docs/reference/glossary.md), stay out of the code."""

from __future__ import annotations

import re

import pytest
from places import ROOT

PACKAGES = ("grasp_client", "shared", "planning", "inference_server", "sim_worker", "trainer_job", "services")
BETTER = {
    "asked_for": "region of interest",
    "attendant": "coordinator",
    "blunt": "dilated",
    "carriage": "floating base",
    "courier": "publisher",
    "doubted": "penalized",
    "furniture": "fixtures",
    "kept_recipe": "recipe lock",
    "leverage": "peel moment",
    "look_windows": "window capture",
    "teller": "refiner",
    "widened": "expanded request",
}


@pytest.mark.parametrize("package", PACKAGES)
def test_private_words_do_not_come_back(package: str) -> None:
    found = []
    paths = sorted((ROOT / package).rglob("*.py"))
    for path in paths:
        for number, line in enumerate([path.stem, *path.read_text().splitlines()]):
            for name in re.findall(r"[A-Za-z_]+", line):
                # The parts of a name, `OldCourier` and `OLD_COURIER` alike; within longer words they do not count.
                snake = f"_{re.sub(r'(?<=[a-z])(?=[A-Z])', '_', name).lower()}_"
                found += [f"{path.relative_to(ROOT)}:{number}: {w}, say {b}" for w, b in BETTER.items() if f"_{w}_" in snake]
    assert paths
    assert found == []
