"""Every error code, rejection reason and kind of warning stands in docs/reference/http.md, and the other way round."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from places import ROOT

from planning.clouds.checks import CLOUD_CHECKS
from planning.input_checks import CHECKS

ERRORS = {"ServerError", "ImageError", "PlannerError"}
COUNTED = {"rejected", "rejections", "outside", "reasons"}
"""Names of the mappings from a reason to what was rejected for it."""
FRAMEWORK = {"not_found", "method_not_allowed"}
"""What the framework refuses has its status' phrase as code."""


def trees(*folders: str) -> Iterator[ast.Module]:
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            yield ast.parse(path.read_text())


def strings(node: ast.expr | None) -> set[str]:
    """Texts that an expression may be: of a conditional either."""
    if isinstance(node, ast.IfExp):
        return strings(node.body) | strings(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def codes_in_the_code() -> set[str]:
    found = set(FRAMEWORK)
    for tree in trees("inference_server", "planning", "grasp_client/imaging"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
                found |= strings(node.args[1])
            if isinstance(node, ast.Assign) and [target.id for target in node.targets if isinstance(target, ast.Name)] == [
                "code"
            ]:
                found |= strings(node.value)
    return found


def reasons_in_the_code() -> set[str]:
    found: set[str] = set()
    for tree in trees("planning"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in COUNTED:
                found |= strings(node.slice)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and _named(node.targets) & COUNTED:
                found |= set().union(*map(strings, filter(None, node.value.keys)))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Counter":
                found |= {keyword.arg for keyword in node.keywords if keyword.arg}
    return found


def _named(targets: list[ast.expr]) -> set[str]:
    return {target.id for target in targets if isinstance(target, ast.Name)}


def documented(section: str) -> set[str]:
    """Texts in backquotes in the first column of the table of a section of the page; in the last, where `code` heads it."""
    [part] = re.findall(rf"^##+ {section}\n(.*?)(?=^##|\Z)", (ROOT / "docs" / "reference" / "http.md").read_text(), re.M | re.S)
    rows = [row.strip("| ").split(" | ") for row in part.splitlines() if row.startswith("|")]
    column = next(k for k, heading in enumerate(rows[0]) if heading in ("code", "reason", "kind"))
    return {name for row in rows[2:] for name in re.findall(r"`(\w+)`", row[column])}


def warnings_in_the_code() -> set[str]:
    texts = {
        node.value
        for tree in trees("planning", "inference_server")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
    }
    told = {
        found[1]
        for text in texts
        if isinstance(text, str) and (found := re.match(r"((?:no|bin|any|several|gravity|goal|reach|out)_\w+): ", text))
    }
    return told | set(CHECKS) | set(CLOUD_CHECKS)


def test_error_codes() -> None:
    assert documented("Errors") == codes_in_the_code()


def test_rejection_reasons() -> None:
    assert documented("Reply") == reasons_in_the_code()


def test_kinds_of_warnings() -> None:
    assert documented("Warnings") == warnings_in_the_code()
