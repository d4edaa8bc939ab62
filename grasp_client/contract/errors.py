"""The envelope of every error that the server answers with, and what pydantic finds wrong, in words."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from grasp_client.contract.base import ApiModel

MOST_NAME, MOST_NUMBER = 40, 24
"""Characters of an unknown field's name, which may be as long as its sender likes, and of a number."""
OURS = ("value_error", "assertion_error")
"""Types of problems that validators of this project find."""


class ErrorDetail(ApiModel):
    code: str
    message: str
    detail: list[dict[str, Any]] | dict[str, Any] | str | None = None


class ErrorReply(ApiModel):
    error: ErrorDetail


def problems_of(error: ValidationError) -> list[ErrorDetails]:
    """What pydantic found wrong; after it the error may be kept, as the cause of another.

    Python's garbage collector does not see the exceptions of validators that it holds. Their tracebacks hold the frames of all
    callers, with images and bodies; when one of these frames holds the error, nothing of it is ever freed.
    """
    problems = error.errors(include_url=False)
    for problem in problems:
        given, problem["input"] = problem["input"], None
        # A validator of ours says itself what came; of what is no number a reply had better say no more than it must.
        if isinstance(given, int | float) and problem["type"] not in OURS:
            problem["msg"] += f", got {given!r:.{MOST_NUMBER}}"
        raised = problem.get("ctx", {}).get("error")
        while isinstance(raised, BaseException):
            raised.__traceback__, raised = None, raised.__context__
    return problems


def first_problem(error: ValidationError, *within: str, kind: type[BaseModel] | None = None) -> str:
    """`field: what is wrong with it`, of a field that lies `within` others; kind as for `plain_message`."""
    first = problems_of(error)[0]
    return ": ".join(filter(None, (".".join(map(str, (*within, *first["loc"]))), plain_message(first, kind))))


def plain_message(problem: Mapping[str, Any], kind: type[BaseModel] | None = None) -> str:
    """What is wrong, of a problem that pydantic found, without the kind of exception that pydantic puts before it.

    kind: what was validated; of a field that it does not know, the nearest name and all that are allowed are said.
    """
    *path, name = problem["loc"] or ("",)
    model = _model_at(path, kind) if problem["type"] == "extra_forbidden" else None
    if model is None:
        return str(problem["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    name = str(name)[:MOST_NAME]
    near = get_close_matches(name, model.model_fields, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"unknown field {name!r}{hint} allowed: {', '.join(model.model_fields)}"


def _model_at(path: list[int | str], kind: type[BaseModel] | None) -> type[BaseModel] | None:
    """The model that a path of field names leads to, through optional fields and lists."""
    model = kind
    for part in path:
        if isinstance(part, str) and model is not None:
            model = _model_in(model.model_fields[part].annotation) if part in model.model_fields else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for model in map(_model_in, get_args(annotation)) if model), None)
