"""JSON schemas of KServe's and Knative's resources, out of the Python classes that are published of them.

The classes are generated from those projects' own definitions; their source is read, and never run, so that
nothing they import has to be installed. A field that a class does not have is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

MODELS = Path(__file__).parents[2] / ".venvs" / "kubernetes-models"

_PLAIN = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "None": "null"}


@cache
def knative_service() -> Mapping[str, Any]:
    """The schema of Knative's Service."""
    return _document(_knative(), "Service")


def knative_switches(manifest: Any) -> set[str]:
    """The switches of a cluster that the fields of a Service want, e.g. `kubernetes.podspec-nodeselector`."""
    return set(_switches(manifest, _knative(), {"$ref": "#/$defs/Service"}))


@cache
def kserve_inference_service() -> Mapping[str, Any]:
    """The schema of KServe's InferenceService, but not of what is Kubernetes' own in it, as containers."""
    found = {}
    for path in (MODELS / "kserve" / "models").glob("v1beta1_*.py"):
        for name, node in _classes(path).items():
            said = {
                part.targets[0].id: part.value
                for part in node.body
                if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name)
            }
            if "attribute_map" in said:
                kinds, names = (ast.literal_eval(said[key]) for key in ("openapi_types", "attribute_map"))
                found[name] = _object({names[key]: _kserve_kind(kinds[key]) for key in names})
    return _document(found, "V1beta1InferenceService")


def _document(definitions: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    # What a definition names and nobody defines is Kubernetes' own.
    named = {ref for ref in _references(definitions) if ref not in definitions}
    return {"$ref": f"#/$defs/{name}", "$defs": {**dict.fromkeys(named, True), **definitions}}


def _references(part: Any) -> set[str]:
    if isinstance(part, Mapping):
        own = {part["$ref"].rpartition("/")[2]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(_references, part.values()))
    return set().union(*map(_references, part)) if isinstance(part, list) else set()


def _object(properties: Mapping[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _classes(path: Path) -> dict[str, ast.ClassDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _kserve_kind(said: str) -> Any:
    """Of `int`, `list[V1Container]` or `dict(str, str)`."""
    if said.startswith("list["):
        return {"type": "array", "items": _kserve_kind(said[len("list[") : -1])}
    if said.startswith("dict("):
        return {"type": "object", "additionalProperties": _kserve_kind(said.partition(", ")[2][:-1])}
    return {"type": _PLAIN[said]} if said in _PLAIN else {"$ref": f"#/$defs/{said}"}


@cache
def _knative() -> Mapping[str, Any]:
    path = MODELS / "cloudcoil" / "models" / "knative_serving" / "serving_knative_dev" / "v1.py"
    return {name: _knative_class(node) for name, node in _classes(path).items()}


def _knative_class(node: ast.ClassDef) -> Any:
    base = node.bases[0]
    if isinstance(base, ast.Subscript):  # of one value, RootModel[str] for example
        return _knative_kind(base.slice)
    properties: dict[str, Any] = {}
    required = []
    for part, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(part, ast.AnnAssign) or not isinstance(part.target, ast.Name):
            continue
        if part.target.id.startswith("_"):
            continue
        name, kind = _alias(part.annotation) or part.target.id, _knative_kind(part.annotation)
        text = ast.literal_eval(after.value) if isinstance(after, ast.Expr) else ""
        properties[name] = {"description": text, "allOf": [kind]}
        if part.value is None:
            required.append(name)
    return _object(properties, tuple(required))


def _alias(said: ast.expr) -> str:
    calls = (node for node in ast.walk(said) if isinstance(node, ast.Call))
    words = (word for call in calls for word in call.keywords if word.arg == "alias")
    return next((str(ast.literal_eval(word.value)) for word in words), "")


def _knative_kind(said: ast.expr) -> Any:
    """Of `int | None`, `list[Item]`, `dict[str, Any]`, `Literal["x"]` or `Annotated[int, ...]`."""
    match said:
        case ast.BinOp(left=left, right=right):
            return {"anyOf": [_knative_kind(left), _knative_kind(right)]}
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[kind, *_])):
            return _knative_kind(kind)
        case ast.Subscript(value=ast.Name(id="list"), slice=kind):
            return {"type": "array", "items": _knative_kind(kind)}
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, kind])):
            return {"type": "object", "additionalProperties": _knative_kind(kind)}
        case ast.Subscript(value=ast.Name(id="Literal"), slice=value):
            found = ast.literal_eval(value)
            return {"enum": list(found) if isinstance(found, tuple) else [found]}
        case ast.Constant(value=None):
            return {"type": "null"}
        case ast.Name(id="Any"):
            return True
        case ast.Name(id=name):
            return {"type": _PLAIN[name]} if name in _PLAIN else {"$ref": f"#/$defs/{name}"}
    raise AssertionError(f"a form that is not read: {ast.unparse(said)}")


def _switches(value: Any, definitions: Mapping[str, Any], schema: Any) -> set[str]:
    """What the descriptions of the fields that are used say of switches."""
    found: set[str] = set()
    if not isinstance(schema, Mapping):
        return found
    mark = "behind a feature flag - "
    description = str(schema.get("description", ""))
    if mark in description:
        found.add(description.partition(mark)[2].split()[0])
    if "$ref" in schema:
        found |= _switches(value, definitions, definitions.get(schema["$ref"].rpartition("/")[2]))
    for part in (*schema.get("allOf", ()), *schema.get("anyOf", ())):
        found |= _switches(value, definitions, part)
    if isinstance(value, Mapping):
        for name, below in value.items():
            found |= _switches(below, definitions, schema.get("properties", {}).get(name))
    if isinstance(value, list):
        for below in value:
            found |= _switches(below, definitions, schema.get("items"))
    return found
