"""The description of the server for programs, as OpenAPI 3.1 has it."""

from __future__ import annotations

from typing import Any

from sgdsheet import __version__
from trainer.serving.bundle import Card

PICTURE = {"schema": {"type": "string", "format": "binary"}}
TYPES = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
REFUSALS = {
    "400": "The form cannot be read.",
    "408": "The body did not arrive in time.",
    "413": "More than 10 MB, or more than 32 pictures.",
    "415": "No picture, by its content.",
    "422": "More than 50 million pixels, a damaged picture, or a `top` that is no whole number from 1.",
    "503": "Too many requests are at work; try again after the seconds in Retry-After.",
}


def description(name: str, card: Card) -> dict[str, Any]:
    """Returns what there is to ask of a server with this classifier, and what it answers."""
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": __version__, "description": f"Tells {len(card.classes)} classes apart."},
        "paths": {
            "/predict": {"post": _predict()},
            "/healthz": {
                "get": {
                    "operationId": "health",
                    "summary": "Whether the server answers, and how many requests are at work.",
                    "responses": {"200": _answer("It does.", _ref("Health"))},
                }
            },
        },
        "components": {"schemas": _schemas(card)},
    }


def _predict() -> dict[str, Any]:
    form = {
        "type": "object",
        "properties": {"file": {"type": "array", "items": PICTURE["schema"], "minItems": 1, "maxItems": 32}},
        "required": ["file"],
    }
    return {
        "operationId": "predict",
        "summary": "What one or several pictures show.",
        "description": "Pictures are the files of a form, under any name, or one is the body itself, of whatever type "
        "it is said to be: the content decides. Of several pictures those that cannot be judged have an `error` "
        "instead; where none can be, the status is the first one's.",
        "parameters": [
            {
                "name": "top",
                "in": "query",
                "description": "How many classes to name, the most probable first; all by default.",
                "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                **dict.fromkeys(TYPES, PICTURE),
            },
        },
        "responses": {
            "200": _answer("At least one picture was judged.", _ref("Results")),
            **{status: _answer(why, _ref("Refusal")) for status, why in REFUSALS.items()},
        },
    }


def _schemas(card: Card) -> dict[str, Any]:
    text, names = {"type": "string"}, {"type": "string", "enum": card.classes}
    judged = _object(
        name=text,
        labels={
            "type": "array",
            "items": names,
            "description": "The classes that reach their thresholds, the most probable first; there may be none."
            if card.multi_label
            else "The most probable class.",
        },
        classes={
            "type": "array",
            "items": _object(**{"class": names, "probability": {"type": "number", "minimum": 0, "maximum": 1}}),
        },
    )
    unread = _object(name=text, error=text)
    return {
        "Results": _object(results={"type": "array", "minItems": 1, "items": {"oneOf": [judged, unread]}}),
        "Refusal": _object(error=text),
        "Health": _object(status={"const": "ok"}, classes={"type": "integer"}, at_work={"type": "integer"}),
    }


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
