"""Manifests as files that Kustomize takes as a base: one a resource, without values of secrets."""

from __future__ import annotations

from collections.abc import Sequence

from truss.deploy.plan import File, Resource
from truss.deploy.yaml_text import yaml_text


def manifest_files(resources: Sequence[Resource], namespace: str) -> tuple[File, ...]:
    """The files of a plan's manifests.

    Args:
        resources: The manifests; a Secret is left out, since a file is no place for its values.
        namespace: Their namespace.
    """
    shown = [one for one in resources if one.kind != "Secret"]
    names = [f"{one.kind.lower()}.yaml" for one in shown]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": names,
    }
    manifests = [File(name, yaml_text(one.body)) for name, one in zip(names, shown, strict=True)]
    return (*manifests, File("kustomization.yaml", yaml_text(kustomization)))
