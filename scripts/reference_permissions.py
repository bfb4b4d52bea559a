"""Write docs/reference/permissions.md from what targets say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from generated import publish

from truss.deploy import PermittedTarget, target_named
from truss.deploy.registry import BUILT_IN

INTRODUCTION = """\
# Permissions

<!-- Written by scripts/reference_permissions.py; `make docs` renews it. -->

What a platform has to allow to whoever deploys there, with any of a target's options: to plan, deploy, look,
read logs, go back and destroy. `truss targets TARGET --permissions` prints the same. How it is put in force:
[AWS](../guides/deploy/aws.md), [Azure](../guides/deploy/azure.md), [Google](../guides/deploy/google.md),
[Kubernetes](../guides/deploy/kubernetes.md).
"""


def page() -> str:
    """The page's text."""
    targets = [target_named(name) for name in BUILT_IN]
    permitted = [one for one in targets if isinstance(one, PermittedTarget)]
    return "\n".join([INTRODUCTION, *(line for one in permitted for line in _shown(one))])


def _shown(target: PermittedTarget) -> Iterator[str]:
    file = target.permissions()
    kind = PurePosixPath(file.path).suffix.removeprefix(".")
    yield from (f"## {target.name}", "", f"```{kind}", file.text.rstrip("\n"), "```", "")


if __name__ == "__main__":
    publish("permissions.md", page())
