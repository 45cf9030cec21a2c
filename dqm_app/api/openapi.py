"""The OpenAPI document, made from the list of addresses and the models of questions and answers."""

from __future__ import annotations

import functools
import importlib.metadata
from typing import Any

from pydantic.json_schema import models_json_schema

from dqm_app.api.answers import Problem
from dqm_app.api.encoding import Format
from dqm_app.api.resources import BASE, IN_PATH, RESOURCES, Resource

OPENAPI = "3.1.0"
_MODELS = "#/components/schemas/{model}"
_PROBLEMS = {
    400: "A parameter cannot be understood.",
    401: "No token, or one that has ended.",
    403: "The token, or its user, is not for this.",
    404: "There is no such camera, run or quantity.",
    406: "The answer cannot be given in that format.",
    429: "So many of your questions are unanswered that this one has to wait.",
    503: "The database does not answer, or too many others ask: Retry-After says when to ask.",
}


@functools.cache
def document(prefix: str) -> dict[str, Any]:
    """That of a dashboard served below *prefix*."""
    models = {resource.answer for resource in RESOURCES} | {Problem}
    _, definitions = models_json_schema(
        [(model, "serialization") for model in sorted(models, key=lambda one: one.__name__)],
        ref_template=_MODELS,
    )
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "NectarCAM DQM",
            "version": importlib.metadata.version("nectarcam-dqm"),
            "description": "Data quality of every run. Times are Unix seconds: UTC, but for "
            "columns whose time_scale is tai.",
        },
        "servers": [{"url": f"{prefix}{BASE}"}],
        "security": [{"token": []}],
        "paths": {resource.path: {"get": _operation(resource)} for resource in RESOURCES},
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "From the page of your account; its scope is read.",
                }
            },
        },
    }


def _operation(resource: Resource) -> dict[str, Any]:
    return {
        "operationId": resource.name,
        "summary": resource.summary,
        "parameters": [*map(_in_path, resource.parameters), *_in_query(resource)],
        "responses": {
            "200": {
                "description": resource.summary,
                "headers": {"ETag": {"schema": {"type": "string"}}},
                "content": _content(resource),
            },
            "304": {"description": "As it was when the ETag in If-None-Match was given."},
            **{str(status): _problem(text) for status, text in _PROBLEMS.items()},
        },
    }


def _in_path(name: str) -> dict[str, Any]:
    _, schema, text = IN_PATH[name]
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": text}


def _in_query(resource: Resource) -> list[dict[str, Any]]:
    schema = resource.question.model_json_schema()
    definitions = schema.get("$defs", {})
    required = schema.get("required", [])
    parameters = []
    for name, found in schema.get("properties", {}).items():
        inlined = _inlined(found, definitions)
        text = inlined.pop("description", "")
        inlined.pop("title", None)
        if "anyOf" in inlined:  # a parameter that is not given is not there, and never null
            (inlined,) = [one for one in inlined["anyOf"] if one.get("type") != "null"]
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": name in required,
                "schema": inlined,
                "description": text,
            }
        )
    return parameters


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}


def _content(resource: Resource) -> dict[str, Any]:
    schema = {"schema": {"$ref": _MODELS.format(model=resource.answer.__name__)}}
    content: dict[str, Any] = {Format.JSON.media: schema}
    if resource.is_table:
        for form in Format:
            content.setdefault(form.media, {"schema": {"type": "string", "format": "binary"}})
    return content


def _problem(text: str) -> dict[str, Any]:
    schema = {"$ref": _MODELS.format(model=Problem.__name__)}
    return {"description": text, "content": {"application/problem+json": {"schema": schema}}}
