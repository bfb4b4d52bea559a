"""The bill of materials of an image, as CycloneDX 1.6 has it (https://cyclonedx.org/docs/1.6/json/).

It says nothing that differs between two builds of the same image: no serial number, no time.
"""

from __future__ import annotations

from typing import Any

from truss.build.components import Component, Materials, base_purl
from truss.version import __version__

MEDIA_TYPE = "application/vnd.cyclonedx+json"


def bill_of_materials(made_of: Materials) -> dict[str, Any]:
    """The document that lists what an image was made of."""
    digest = str(made_of.image.digest)
    whole = {
        "type": "container",
        "bom-ref": digest,
        "name": made_of.name,
        "version": digest,
        "hashes": [_sha256(digest)],
        "properties": [{"name": "truss:platform", "value": str(made_of.image.platform)}],
    }
    parts = [_base(made_of), _server(), *(_wheel(one) for one in made_of.components)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "truss", "version": __version__}]},
            "component": whole,
        },
        "components": parts,
        "dependencies": [
            {"ref": digest, "dependsOn": sorted(part["bom-ref"] for part in parts)},
            *({"ref": part["bom-ref"]} for part in parts),
        ],
    }


def _base(made_of: Materials) -> dict[str, Any]:
    purl = base_purl(made_of.base, made_of.base_digest)
    return {
        "type": "container",
        "bom-ref": purl,
        "name": made_of.base.repository.name,
        "version": made_of.base_digest,
        "hashes": [_sha256(made_of.base_digest)],
        "purl": purl,
    }


def _server() -> dict[str, Any]:
    purl = Component("truss", __version__).purl
    return {"type": "library", "bom-ref": purl, "name": "truss", "version": __version__, "purl": purl}


def _wheel(component: Component) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
    }
    if component.sha256:
        found["hashes"] = [_sha256(component.sha256)]
    if component.from_source:
        found["properties"] = [{"name": "truss:digest-of", "value": "the source archive"}]
    if component.licence is not None:
        said = component.licence
        found["licenses"] = [
            {"expression": said.text} if said.is_expression else {"license": {"name": said.text}}
        ]
    return found


def _sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.removeprefix("sha256:")}
