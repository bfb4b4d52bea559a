"""The OpenAPI document of a model's routes: https://spec.openapis.org/oas/v3.1.0."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from truss.runtime.description import Description
from truss.runtime.predictions import MODEL_NAME
from truss.runtime.protocols.routes import OPENAI_PATHS
from truss.version import __version__

_MODEL = f"/v1/models/{MODEL_NAME}"
_V2 = f"/v2/models/{MODEL_NAME}"

_Json = dict[str, Any]


def document(described: Description, prefix: str = "") -> _Json:
    """The document of a server of this model.

    Args:
        described: The model.
        prefix: What is before all paths, as ASGI's `root_path` has it; empty: nothing.
    """
    components = _components(described)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": described.name,
            "version": __version__,
            "description": described.about or "A model served by Truss.",
        },
        "servers": [{"url": prefix or "/"}],
        "tags": [
            {"name": name} for name in ("predict", "model", "health", "Open Inference Protocol", "OpenAI")
        ],
        "paths": {**_predict(described), **_about_the_model(), **_health(), **_v2(), **_openai(described)},
        "components": components,
        **({"security": [{"key": []}, {"header": []}]} if described.secured else {}),
    }


# --- routes ---


def _predict(described: Description) -> _Json:
    example = {} if described.example is None else {"example": described.example}
    body = {"application/json": {"schema": _ref("PredictRequest"), **example}}
    answers = _answers(described)
    refused = ("400", "413", "415", "429", "500", "503", "504")
    plain = {
        "requestBody": {"required": True, "content": body},
        "responses": _responses(described, answers, refused),
    }
    raw: _Json = {"application/octet-stream": {"schema": {}}}
    return {
        f"{_MODEL}:predict": {"post": _operation("predict", "Ask the model", "predict", plain)},
        "/predict": {
            "post": _operation("predict_short", "Ask the model, by a shorter path", "predict", plain)
        },
        f"{_MODEL}:predict_binary": {
            "post": _operation(
                "predict_binary",
                "Ask the model in msgpack, with NumPy arrays as msgpack-numpy writes them",
                "predict",
                {
                    "requestBody": {"required": True, "content": raw},
                    "responses": _responses(described, raw, refused),
                },
            )
        },
    }


def _answers(described: Description) -> _Json:
    """The forms of an answer; a stream's chunks come as they are, as events or gathered, by `Accept`."""
    if not described.streams:
        return _json(_ref("PredictAnswer"))
    gathered = {"anyOf": [{"type": "array", "items": _ref("PredictAnswer")}, _TEXT]}  # texts become one
    return {
        **_json(gathered),
        "text/event-stream": {"schema": _TEXT},
        "application/octet-stream": {"schema": {}},
    }


def _about_the_model() -> _Json:
    schema = {
        "name": _TEXT,
        "typed": _FLAG,
        "streams": _FLAG,
        "request": _OBJECT,
        "answer": _OBJECT,
        "example": {},
    }
    ready = {"name": _TEXT, "ready": _FLAG}
    return {
        f"{_MODEL}/schema": _get("schema", "JSON Schema of requests and answers", "model", _object(schema)),
        _MODEL: _get("model", "Whether the model is ready", "model", _object(ready)),
        "/v1/models": _get("models", "The models", "model", _object({"models": {"type": "array"}}), ()),
        "/metrics": _get("metrics", "Metrics for Prometheus", "model", None, ()),
    }


def _health() -> _Json:
    return {
        "/livez": _get(
            "live", "Whether the server runs", "health", _object({"status": _TEXT, "ready": _FLAG}), ()
        ),
        "/readyz": _get("ready", "Whether the model answers", "health", _object({"ready": _FLAG})),
    }


def _v2() -> _Json:
    tag = "Open Inference Protocol"
    infer = {
        "requestBody": {"required": True, "content": _json(_ref("InferenceRequest"))},
        "responses": {
            "200": {"description": "The outputs", "content": _json(_ref("InferenceResponse"))},
            **{
                status: {"description": _REFUSED[status], "content": _json(_ref("InferenceError"))}
                for status in ("400", "401", "404", "413", "415", "429", "500", "503", "504")
            },
        },
    }
    return {
        "/v2": _get("v2_server", "The server", tag, _object({"name": _TEXT, "version": _TEXT}), ()),
        "/v2/health/live": _get("v2_live", "Whether the server runs", tag, _OBJECT, ()),
        "/v2/health/ready": _get("v2_ready", "Whether the model answers", tag, _OBJECT),
        _V2: _get(
            "v2_model", "The model's inputs", tag, _object({"name": _TEXT, "inputs": {"type": "array"}}), ()
        ),
        f"{_V2}/ready": _get("v2_model_ready", "Whether the model answers", tag, _OBJECT),
        f"{_V2}/infer": {"post": _operation("v2_infer", "Ask the model with tensors", tag, infer)},
    }


def _openai(described: Description) -> _Json:
    paths: _Json = {}
    for path, codec in OPENAI_PATHS.items():
        name = _METHODS[codec.name]
        if name not in described.methods:
            continue
        answers = {"application/json": {"schema": _OBJECT}, "text/event-stream": {"schema": _TEXT}}
        refused = ("400", "413", "415", "429", "500", "503", "504")
        details = {
            "requestBody": {"required": True, "content": _json(_OBJECT)},
            "responses": _responses(described, answers, refused),
        }
        paths[path] = {"post": _operation(name, f"OpenAI's {name.replace('_', ' ')}", "OpenAI", details)}
    return paths


_METHODS = {"CHAT": "chat_completions", "COMPLETIONS": "completions", "EMBEDDINGS": "embeddings"}


# --- parts ---

_TEXT: _Json = {"type": "string"}
_FLAG: _Json = {"type": "boolean"}
_OBJECT: _Json = {"type": "object"}

_REFUSED = {
    "400": "The request is not what the model takes",
    "401": "It carries no known API key",
    "404": "There is no such model",
    "413": "The body is too large",
    "415": "The body is of a format that is not read",
    "429": "Too many requests wait",
    "500": "The model failed",
    "503": "The model is not ready",
    "504": "The time of the request ran out",
}


def _operation(name: str, summary: str, tag: str, details: _Json) -> _Json:
    return {"operationId": name, "summary": summary, "tags": [tag], **details}


def _get(
    name: str, summary: str, tag: str, schema: _Json | None, refused: tuple[str, ...] = ("503",)
) -> _Json:
    content = {"text/plain": {"schema": _TEXT}} if schema is None else _json(schema)
    responses = {"200": {"description": "It is so", "content": content}, **_refusals(("401", *refused))}
    return {"get": _operation(name, summary, tag, {"responses": responses})}


def _responses(described: Description, answers: _Json, refused: tuple[str, ...]) -> _Json:
    keys = ("401",) if described.secured else ()
    return {"200": {"description": "The model's answer", "content": answers}, **_refusals((*keys, *refused))}


def _refusals(statuses: tuple[str, ...]) -> _Json:
    return {status: {"description": _REFUSED[status], "content": _json(_ref("Error"))} for status in statuses}


def _json(schema: _Json) -> _Json:
    return {"application/json": {"schema": schema}}


def _object(properties: _Json) -> _Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _ref(name: str) -> _Json:
    return {"$ref": f"{_COMPONENTS}{name}"}


# --- schemas ---

_COMPONENTS = "#/components/schemas/"
_DEFINITIONS = "#/$defs/"


def _components(described: Description) -> _Json:
    found: _Json = {**_PROTOCOLS}
    found["PredictRequest"] = _moved(described.request, found)
    found["PredictAnswer"] = _moved(described.answer, found)
    components: _Json = {"schemas": found}
    if described.secured:
        components["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
        }
    return components


def _moved(schema: Mapping[str, Any], components: _Json) -> Any:
    """The schema with what is in its `$defs` moved to the components; names that others have get a number."""
    definitions = schema.get("$defs", {})
    names = {name: name for name in definitions}
    moved = {name: _renamed(definition, names) for name, definition in definitions.items()}
    if any(name in _OURS or components.get(name, part) != part for name, part in moved.items()):
        names = {name: _free(name, {*components, *definitions}) for name in definitions}
        moved = {names[name]: _renamed(definition, names) for name, definition in definitions.items()}
    components.update(moved)
    return _renamed({key: value for key, value in schema.items() if key not in ("$defs", "$schema")}, names)


def _free(name: str, taken: AbstractSet[str]) -> str:
    free, number = name, 2
    while free in taken or free in _OURS:
        free, number = f"{name}{number}", number + 1
    return free


def _renamed(part: Any, names: Mapping[str, str]) -> Any:
    """A part of a schema with references to components in place of those to definitions."""
    if isinstance(part, dict):
        return {key: _renamed(value, names) for key, value in part.items()}
    if isinstance(part, list):
        return [_renamed(item, names) for item in part]
    if isinstance(part, str) and part.startswith(_DEFINITIONS):
        name = part.removeprefix(_DEFINITIONS)
        return f"{_COMPONENTS}{names.get(name, name)}"
    return part


_TENSOR: _Json = {
    "name": _TEXT,
    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    "datatype": {
        "enum": ["BOOL", "BYTES", "FP16", "FP32", "FP64"]
        + [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
    },
    "data": {"type": "array"},
}

_PROTOCOLS: _Json = {
    "Error": _object(
        {
            "error": {
                "type": "object",
                "properties": {"type": _TEXT, "message": _TEXT, "hint": _TEXT, "request_id": _TEXT},
                "required": ["type", "message"],
            }
        }
    ),
    "InferenceRequest": {
        "type": "object",
        "properties": {
            "id": _TEXT,
            "inputs": {"type": "array", "items": _object(_TENSOR), "minItems": 1},
            "parameters": _OBJECT,
            "outputs": {"type": "array", "items": _object({"name": _TEXT})},
        },
        "required": ["inputs"],
    },
    "InferenceResponse": _object(
        {"model_name": _TEXT, "outputs": {"type": "array", "items": _object(_TENSOR)}}
    ),
    "InferenceError": _object({"error": _TEXT}),
}

_OURS = frozenset({*_PROTOCOLS, "PredictRequest", "PredictAnswer"})
