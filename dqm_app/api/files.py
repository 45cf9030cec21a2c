"""What the OpenAPI document says of ``/originals`` and ``/downloads``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from dqm_app.api.operations import BINARY, as_json, in_path, problems
from dqm_app.downloads.answers import BasketAnswer, BasketsAnswer, Chosen, OneBasketAnswer
from dqm_app.downloads.basket import ID

ANSWERS: tuple[type[BaseModel], ...] = (BasketAnswer, OneBasketAnswer, BasketsAnswer, Chosen)
"""Models that the document describes."""
_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": f"^{ID.pattern}$"},
    "description": "Of the archive.",
}
_RANGE = {
    "name": "Range",
    "in": "header",
    "schema": {"type": "string"},
    "description": "bytes=FIRST-LAST: that part alone (RFC 9110). With If-Range and the ETag of "
    "the beginning, all of it when it is another file by now.",
}
_PAGE: dict[str, Any] = {"text/html": {}, "text/plain": {}}
"""What says what is wrong where people may come, too, and where there can be no archive."""
_ETAG = {"ETag": {"schema": {"type": "string"}}}
_DIGEST = {
    "Repr-Digest": {
        "description": "SHA-256 of the whole file (RFC 9530).",
        "schema": {"type": "string"},
    }
}


def paths_of_files() -> dict[str, Any]:
    """By path, the operations; all need the role expert, and tokens the scope download."""
    return {
        "/originals/{camera}/{run}": {
            "get": {
                "operationId": "Original",
                "summary": "The file that a run was read from.",
                "parameters": [in_path("camera"), in_path("run"), _RANGE],
                "responses": _file(
                    ("application/gzip", "application/zstd", "application/octet-stream"), _DIGEST
                )
                | _problems_of_one(400, 429),
            }
        },
        "/downloads": {
            "get": {
                "operationId": "Baskets",
                "summary": "Your archives, the newest first.",
                "responses": {"200": _answer("Your archives.", BasketsAnswer)}
                | problems(400, 401, 403, 503),
            },
            "post": {
                "operationId": "BuildBasket",
                "summary": "Build an archive of the files of many runs, in the background.",
                "requestBody": {"required": True, "content": as_json(Chosen)},
                "responses": {
                    "201": _answer("It will be built.", BasketAnswer)
                    | {
                        "headers": {
                            "Location": {
                                "description": "Path at which to see how far it is.",
                                "schema": {"type": "string"},
                            }
                        }
                    }
                }
                | problems(400, 401, 403, 404, 409, 413, 503),
            },
        },
        "/downloads/{id}": {
            "get": {
                "operationId": "Basket",
                "summary": "How far an archive is, and of which runs.",
                "parameters": [_ID],
                "responses": {"200": _answer("How far it is.", OneBasketAnswer)}
                | _problems_of_one(),
            },
            "delete": {
                "operationId": "RemoveBasket",
                "summary": "Remove an archive, also while it is being built.",
                "parameters": [_ID],
                "responses": {"204": {"description": "It is removed."}} | _problems_of_one(),
            },
        },
        "/downloads/{id}/file": {
            "get": {
                "operationId": "BasketFile",
                "summary": "An archive, a tar file with the originals, runs.csv and SHA256SUMS.",
                "parameters": [_ID, _RANGE],
                "responses": _file(("application/x-tar",))
                | {"302": {"description": "To the login, without any token."}}
                | {
                    str(status): {"description": text, "content": _PAGE}
                    for status, text in (
                        (401, "No token, or one that has ended."),
                        (403, "The token, or its user, is not for this."),
                        (404, "There is no such archive, or it is not done."),
                        (503, "The accounts do not answer."),
                    )
                },
            }
        },
    }


def _problems_of_one(*others: int) -> dict[str, Any]:
    found = problems(401, 403, 404, 503, *others)
    found["404"]["content"] |= _PAGE
    return found


def _answer(text: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"description": text, "content": as_json(model)}


def _file(media: tuple[str, ...], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    content = dict.fromkeys(media, BINARY)
    told = _ETAG | (headers or {})
    return {
        "200": {"description": "All of it.", "headers": told, "content": content},
        "206": {"description": "The part that was asked for.", "headers": told, "content": content},
        "304": {"description": "As it was when the ETag in If-None-Match was given."},
        "416": {"description": "It ends before that part: Content-Range has its size."},
    }
