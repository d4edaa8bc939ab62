"""Rules that hold for every module of the project, checked on its source."""

from __future__ import annotations

import ast
from collections import Counter
from functools import reduce
from operator import or_

from places import ROOT

PACKAGES = sorted(path.parent for path in ROOT.glob("*/__init__.py"))


def bindings(statements: list[ast.stmt]) -> Counter[str]:
    """How often statements of a module bind names by assignment, also in tuples; of the branches of an `if` or `try` the one
    that binds a name most often counts."""
    found: Counter[str] = Counter()
    for statement in statements:
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets = [statement.target]
        names = (node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
        found.update(name.id for name in names if isinstance(name.ctx, ast.Store))  # A[0] = 1 binds nothing
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While):
            branches = [getattr(statement, each, []) for each in ("body", "orelse", "finalbody")]
            branches += [handler.body for handler in getattr(statement, "handlers", [])]
            found += reduce(or_, map(bindings, branches))
    return found


def repeated_constants(source: str) -> list[str]:
    """UPPERCASE names that a module's source binds more than once."""
    return sorted(name for name, count in bindings(ast.parse(source).body).items() if name.isupper() and count > 1)


def test_a_constant_bound_twice_is_found() -> None:
    assert repeated_constants("A, B = 1, 2\nB = 3\n") == ["B"]
    assert repeated_constants("A: int = 1\n(A, C) = 2, 3\n") == ["A"]
    assert repeated_constants("try:\n    A = 1\nexcept OSError:\n    A = 2\n") == []
    assert repeated_constants("if x:\n    A = 1\nA = 2\n") == ["A"]
    assert repeated_constants("if x:\n    A = 1\n    A = 2\n") == ["A"]
    assert repeated_constants("A = [0]\nA[0] = 1\n") == []
    assert repeated_constants("def f():\n    A = 1\n    A = 2\n") == []


def test_no_module_constant_is_bound_twice() -> None:
    modules = [path for package in (*PACKAGES, ROOT / "tests") for path in sorted(package.rglob("*.py"))]
    assert len(modules) > 200
    repeated = {str(path.relative_to(ROOT)): names for path in modules if (names := repeated_constants(path.read_text()))}
    assert not repeated
