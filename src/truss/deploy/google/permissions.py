"""What Google Cloud has to allow to whoever deploys, as a role of the project.

Each module says it next to the calls that it makes. The permissions, by service:
https://cloud.google.com/iam/docs/roles-permissions
"""

from __future__ import annotations

from collections.abc import Iterable

from truss.deploy.kinds import Entitled
from truss.deploy.plan import File
from truss.deploy.yaml_text import yaml_text

PUSHING = (
    "artifactregistry.repositories.downloadArtifacts",
    "artifactregistry.repositories.uploadArtifacts",
)
"""The permissions to push an image, of which what is there already is not pushed, and to have it deployed.

https://cloud.google.com/artifact-registry/docs/access-control and .../docs/integrate-cloud-run
"""


def role(where: str, parts: Iterable[Entitled], others: Iterable[str]) -> File:
    """A custom role, in the form that `gcloud iam roles create --file` takes.

    https://cloud.google.com/iam/docs/creating-custom-roles

    Args:
        where: What it lets one deploy to, for its title.
        parts: What makes calls for the target.
        others: What the target needs besides.
    """
    body = {
        "title": f"Truss to {where}",
        "description": f"What `truss deploy` and its like need to take models to {where}.",
        "stage": "GA",
        "includedPermissions": sorted({*(right for part in parts for right in part.rights), *others}),
    }
    return File("role.yaml", yaml_text(body))
