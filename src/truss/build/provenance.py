"""How an image was made, as an in-toto statement with SLSA's predicate (https://slsa.dev/spec/v1.0/provenance).

It names what was built from which digests, and nothing of who built it, where or when.
"""

from __future__ import annotations

from typing import Any

from truss.build.components import Component, Materials, base_purl
from truss.version import __version__

MEDIA_TYPE = "application/vnd.in-toto+json"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:truss:image:daemonless:1"
"""Wheels, the server and a Truss laid on a base, without running anything."""

BUILDER = "pkg:pypi/truss"


def provenance(made_of: Materials) -> dict[str, Any]:
    """The statement of how an image was made."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": made_of.name, "digest": _digest(str(made_of.image.digest))}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "platform": str(made_of.image.platform),
                    "python": made_of.python,
                    "truss": {"name": made_of.name, "digest": _digest(made_of.truss_digest)},
                },
                "resolvedDependencies": _dependencies(made_of),
            },
            "runDetails": {"builder": {"id": BUILDER, "version": {"truss": __version__}}},
        },
    }


def _dependencies(made_of: Materials) -> list[dict[str, Any]]:
    base = {
        "name": made_of.base.repository.name,
        "uri": base_purl(made_of.base, made_of.base_digest),
        "digest": _digest(made_of.base_digest),
    }
    return [base, *(_wheel(one) for one in made_of.components)]


def _wheel(component: Component) -> dict[str, Any]:
    digest = {"digest": _digest(component.sha256)} if component.sha256 else {}
    return {"name": component.name, "uri": component.purl, **digest}


def _digest(digest: str) -> dict[str, str]:
    return {"sha256": digest.removeprefix("sha256:")}
