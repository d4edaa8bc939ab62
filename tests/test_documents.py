"""Documents: every link leads somewhere, every page is in the site's menu and stays short."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from places import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md"), ROOT / "models" / "README.md"])
WORDS = 1200
"""Most words of a page that is read from its beginning: of all but references, reports and results."""
LOOKED_UP = ("reference", "reports", "results.md")


def outside_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


@cache
def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as mkdocs and the forges make them."""
    headings = re.findall(r"^#+ (.*)$", outside_code(page.read_text()), re.M)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", re.sub(r"\]\([^)]*\)", "", each)).strip().lower()) for each in headings}


def broken_links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(<?([^)\s>]+)>?\)", outside_code(page.read_text())):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and (target.suffix != ".md" or anchor not in anchors(target))):
            yield link


def in_the_menu(entries: list) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for value in entry.values():
                yield from in_the_menu(value if isinstance(value, list) else [value])


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A head, `here`\n[a](#a-head-here) [b](#b) [c](none.md) [d](page.md#b) [e](https://example.org)\n```\n[f](g)\n```\n"
    )
    assert list(broken_links(page)) == ["#b", "none.md", "page.md#b"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_the_menu_names_every_page_once() -> None:
    listed = list(in_the_menu(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_pages_stay_short() -> None:
    lengths = {page: len(page.read_text().split()) for page in DOCS.rglob("*.md")}
    read = {
        str(page.relative_to(DOCS)): words
        for page, words in lengths.items()
        if page.relative_to(DOCS).parts[0] not in LOOKED_UP
    }
    assert read
    assert {page: words for page, words in read.items() if words > WORDS} == {}
