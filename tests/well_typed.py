"""Values that fit a model's JSON schema, at and beyond its bounds: right types with any content."""

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from pydantic import BaseModel

LONGEST = 6
"""Items and characters of most lists and texts."""
TEXTS = st.one_of(
    st.text(max_size=LONGEST), st.sampled_from(["", "\n\x1b[2K", "\u202e", "x" * 64, "x" * 128, "x" * 201, "a b=c"])
)


@st.composite
def poses(draw: st.DrawFn) -> list[list[float]]:
    """Rigid mostly; also what only has the shape of a pose."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.lists(st.lists(st.floats(-2, 2), min_size=4, max_size=4), min_size=4, max_size=4))
    turn, lean = draw(st.floats(-math.pi, math.pi)), draw(st.floats(-math.pi, math.pi))
    about_z = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, math.cos(lean), -math.sin(lean)], [0, math.sin(lean), math.cos(lean)]])
    pose = np.eye(4)
    pose[:3, :3] = about_z @ about_x
    pose[:3, 3] = draw(st.tuples(*[st.one_of(st.floats(-2, 2), st.floats(-99, 99))] * 3))
    return [[float(value) for value in row] for row in pose]


@st.composite
def some_fields(draw: st.DrawFn, model: type[BaseModel], most: int) -> dict[str, Any]:
    """JSON values for up to so many fields of a model."""
    schema = model.model_json_schema()
    names = draw(st.lists(st.sampled_from(sorted(schema["properties"])), max_size=most, unique=True))
    return {name: draw(_values(schema["properties"][name], schema.get("$defs", {}))) for name in names}


def _object(schema: dict[str, Any], types: dict[str, Any]) -> st.SearchStrategy[Any]:
    fields = {name: _values(each, types) for name, each in schema["properties"].items()}
    needed = {name: fields.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(needed, optional=fields)


def _values(schema: dict[str, Any], types: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return _values(types[schema["$ref"].rsplit("/", 1)[1]], types)
    if "anyOf" in schema:
        return st.one_of(*(_values(each, types) for each in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind in ("number", "integer"):
        return _numbers(schema)
    if kind == "array":
        inner = schema.get("items", {})
        if schema.get("minItems") == inner.get("minItems") == 4:
            return poses()
        return st.lists(
            _values(inner, types), min_size=schema.get("minItems", 0), max_size=min(schema.get("maxItems", 9), LONGEST)
        )
    if kind == "object":
        if "properties" in schema:
            return _object(schema, types)
        return st.dictionaries(TEXTS, _values(schema.get("additionalProperties") or {}, types), max_size=LONGEST)
    return {"boolean": st.booleans(), "null": st.none(), "string": TEXTS}.get(kind or "", TEXTS)


def _numbers(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum", schema.get("exclusiveMinimum", 0)), schema.get("maximum", 1e6)
    edges = [low, high, (low + high) / 2, low - 1, high + 1, 0, 1, -1e300, 5e-324, 3e38]
    if schema["type"] == "integer":
        return st.one_of(st.integers(int(low), int(high)), st.sampled_from([int(edge) for edge in edges[:7]]))
    return st.one_of(st.floats(low, high), st.floats(low, high), st.sampled_from(edges))
