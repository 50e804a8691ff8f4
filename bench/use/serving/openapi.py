"""The description of the routes (OpenAPI), and a page of it that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from bench.use.serving.requests import MOST_HITS, ROLES

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean", "default": True}
FLOATS: Schema = {"type": "array", "items": {"type": "number"}}
TEXTS: Schema = {"oneOf": [TEXT, {"type": "array", "items": TEXT}]}
ROLE: Schema = {"type": "string", "enum": list(ROLES), "description": "what the texts are read as"}
DIMENSIONS: Schema = {"type": "integer", "minimum": 1, "description": "keep the first values"}
K: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_HITS, "default": 10}
RUN: Schema = {"type": "string", "description": "a run of /info; the first by default"}

ERRORS = {
    "400": "nothing in it, or an empty text",
    "401": "the key is missing or wrong",
    "408": "the body did not come",
    "413": "too many texts, too large a body, or a text that is too long and may not be cut",
    "422": "no JSON, a field that is missing or wrong, or a text that no tokenizer reads",
    "424": "the texts could not be encoded",
    "429": "too many requests are in work",
}


def document(version: str) -> Schema:
    """The description, as OpenAPI 3.1."""
    wanted = {"prompt_name": ROLE, "truncate": FLAG, "normalize": FLAG, "dimensions": DIMENSIONS}
    openai = {
        "input": TEXTS,
        "model": TEXT,
        "encoding_format": {"type": "string", "enum": ["float", "base64"], "default": "float"},
        "dimensions": DIMENSIONS,
        "user": TEXT,
        "prompt_name": ROLE,
    }
    pair = {"source_sentence": TEXT, "sentences": {"type": "array", "items": TEXT}}
    similar = {"inputs": _object(pair, *pair), "parameters": _object({"prompt_name": ROLE, "truncate": FLAG})}
    asked = {"query": TEXT, "k": K, "run": RUN}
    paths = {
        "/embed": {"post": _post("Vectors of texts", _object({"inputs": TEXTS, **wanted}, "inputs"), _list(FLOATS))},
        "/similarity": {"post": _post("Cosine of a text with others", _object(similar, "inputs"), FLOATS)},
        "/v1/embeddings": {
            "post": _post(
                "Vectors of texts, as OpenAI has it", _object(openai, "input"), {"type": "object"}, openai=True
            )
        },
        "/tokenize": {
            "post": _post(
                "Tokens of texts", _object({"inputs": TEXTS, "add_special_tokens": FLAG}, "inputs"), _list(_list({}))
            )
        },
        "/search": {
            "get": _get("Passages of the corpus", {"type": "object"}, asked),
            "post": _post("Passages of the corpus", _object(asked, "query"), {"type": "object"}),
        },
        "/example": {"get": _get("A query of the test split, drawn by chance", {"type": "object"}, {"run": RUN})},
        "/info": {"get": _get("The encoder, the runs and the limits", {"type": "object"})},
        "/health": {"get": _get("200 if texts can be encoded, else 503")},
        "/metrics": {"get": _get("Figures for Prometheus")},
        "/openapi.json": {"get": _get("This description", {"type": "object"})},
        "/docs": {"get": _get("This description as a page")},
        "/": {"get": _get("A page to search with")},
    }
    errors = {
        "Error": _object({"error": TEXT, "error_type": TEXT}, "error", "error_type"),
        "OpenAIError": _object({"message": TEXT, "code": {"type": "integer"}, "error_type": TEXT}, "message", "code"),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "negbench", "version": version},
        "paths": paths,
        "components": {"schemas": errors, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def page(told: Mapping[str, Any]) -> str:
    """The description as a page."""
    parts = []
    for path, methods in told["paths"].items():
        for method, what in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(what['summary'])}</p>")
            taken = what.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            if shown := taken or what.get("parameters"):
                parts.append(f"<pre>{escape(json.dumps(shown, indent=2))}</pre>")
    errors = "".join(f"<li><code>{status}</code> {escape(why)}</li>" for status, why in ERRORS.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>negbench: routes</title><link rel="icon" href="data:,">
<style>body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: auto; padding: 1rem }}
h2 {{ font-size: 1.1rem; margin-top: 2rem }} pre {{ overflow-x: auto; font-size: 0.85em }}</style></head>
<body><h1>Routes</h1><p>As <a href="openapi.json">OpenAPI</a>. Errors are JSON:</p><ul>{errors}</ul>
{"".join(parts)}</body></html>
"""


def _object(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _content(schema: Schema) -> Schema:
    return {"content": {"application/json": {"schema": schema}}}


def _get(summary: str, answer: Schema | None = None, asked: Mapping[str, Schema] | None = None) -> Schema:
    told: Schema = {
        "summary": summary,
        "responses": {"200": {"description": "ok", **(_content(answer) if answer else {})}},
    }
    if asked:
        told["parameters"] = [
            {"name": name, "in": "query", "schema": schema, "required": name == "query"}
            for name, schema in asked.items()
        ]
    return told


def _post(summary: str, asked: Schema, answer: Schema, openai: bool = False) -> Schema:
    error = _content({"$ref": f"#/components/schemas/{'OpenAIError' if openai else 'Error'}"})
    refusals = {status: {"description": why, **error} for status, why in ERRORS.items()}
    return {
        "summary": summary,
        "requestBody": {"required": True, **_content(asked)},
        "responses": {"200": {"description": "ok", **_content(answer)}, **refusals},
        "security": [{}, {"key": []}],
    }
