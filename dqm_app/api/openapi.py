"""The OpenAPI document, made from the list of addresses and the models of questions and answers."""

from __future__ import annotations

import functools
import importlib.metadata
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from dqm_app.api import files
from dqm_app.api.answers import Problem
from dqm_app.api.encoding import Format
from dqm_app.api.operations import BINARY, MODELS, as_json, in_path, problems
from dqm_app.api.resources import BASE, RESOURCES, Resource

OPENAPI = "3.1.0"


@functools.cache
def document(prefix: str) -> dict[str, Any]:
    """That of a dashboard served below *prefix*."""
    models: set[type[BaseModel]] = {resource.answer for resource in RESOURCES}
    models |= {Problem, *files.ANSWERS}
    _, definitions = models_json_schema(
        [(model, "serialization") for model in sorted(models, key=lambda one: one.__name__)],
        ref_template=MODELS,
    )
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "NectarCAM DQM",
            "version": importlib.metadata.version("nectarcam-dqm"),
            "description": "Data quality of every run. Times are Unix seconds: UTC, but for "
            "columns whose time_scale is tai.",
        },
        "servers": [{"url": prefix or "/"}],
        "security": [{"token": []}],
        "paths": {
            **{f"{BASE}{one.path}": {"get": _operation(one)} for one in RESOURCES},
            **files.paths_of_files(),
        },
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "From the page of your account; of the scope read, or, for "
                    "originals and archives, download.",
                }
            },
        },
    }


def _operation(resource: Resource) -> dict[str, Any]:
    return {
        "operationId": resource.name,
        "summary": resource.summary,
        "parameters": [*map(in_path, resource.parameters), *_in_query(resource)],
        "responses": {
            "200": {
                "description": resource.summary,
                "headers": {"ETag": {"schema": {"type": "string"}}},
                "content": _content(resource),
            },
            "304": {"description": "As it was when the ETag in If-None-Match was given."},
            **problems(400, 401, 403, 404, 406, 429, 503),
        },
    }


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
    content = as_json(resource.answer)
    if resource.is_table:
        for form in Format:
            content.setdefault(form.media, BINARY)
    return content
