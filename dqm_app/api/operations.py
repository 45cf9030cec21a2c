"""What the OpenAPI document says of single operations, whatever they answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from dqm_app.api.answers import Problem
from dqm_app.api.encoding import Format
from dqm_app.api.resources import IN_PATH

MODELS = "#/components/schemas/{model}"
BINARY: Mapping[str, Any] = {"schema": {"type": "string", "format": "binary"}}
PROBLEMS: Mapping[int, str] = {
    400: "A parameter cannot be understood.",
    401: "No token, or one that has ended.",
    403: "The token, or its user, is not for this.",
    404: "There is no such camera, run, quantity or archive.",
    406: "The answer cannot be given in that format.",
    409: "Another archive of yours is being built, there are too many runs, or there is no room.",
    413: "The request is longer than one with as many runs as an archive may have.",
    429: "So many of your questions are unanswered that this one has to wait.",
    503: "The database does not answer, or too many others ask.",
}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which to ask again; not there when nobody knows.",
        "schema": {"type": "integer"},
    }
}


def in_path(name: str) -> dict[str, Any]:
    """A parameter in the path."""
    _, schema, text = IN_PATH[name]
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": text}


def as_json(model: type[BaseModel]) -> dict[str, Any]:
    """Content that is *model* as JSON."""
    return {Format.JSON.media: {"schema": reference(model)}}


def reference(model: type[BaseModel]) -> dict[str, str]:
    """To the schema of *model*."""
    return {"$ref": MODELS.format(model=model.__name__)}


def problems(*statuses: int) -> dict[str, Any]:
    """Responses that say what is wrong."""
    return {str(status): _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": PROBLEMS[status],
        "content": {"application/problem+json": {"schema": reference(Problem)}},
    }
    return found | {"headers": _RETRY_AFTER} if status in (429, 503) else found
