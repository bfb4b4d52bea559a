"""What a cluster has to allow to whoever deploys, as a Role of the namespace.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from truss.deploy.kubernetes.cluster import Workload
from truss.deploy.plan import File
from truss.deploy.yaml_text import yaml_text

_PLACES = {
    "Deployment": ("apps", "deployments"),
    "HorizontalPodAutoscaler": ("autoscaling", "horizontalpodautoscalers"),
    "PodDisruptionBudget": ("policy", "poddisruptionbudgets"),
    "Secret": ("", "secrets"),
    "Service": ("", "services"),
}

# Applying on the server's side takes `patch`, and `create` where nothing is there yet; waiting until a
# thing is gone takes `watch`.
_VERBS = ("create", "delete", "get", "list", "patch", "watch")


def role(workload: Workload, others: Sequence[str]) -> File:
    """A Role without a namespace: it is for the one that it is applied to.

    Args:
        workload: What deployments mainly are.
        others: The kinds of their other resources.
    """
    places = [_place(kind) for kind in (workload.kind, *others)]
    rules = [_rule(group, [name], _VERBS) for group, name in places]
    rules += [
        _rule("", ["pods"], ("list",)),
        _rule("", ["pods/log"], ("get",)),
        # The examples are asked through the cluster.
        _rule("", ["services/proxy"], ("create",)),
    ]
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "truss"}}
    return File("role.yaml", yaml_text({**head, "rules": rules}))


def _place(kind: str) -> tuple[str, str]:
    """The API's group and resources of a kind, as kubectl is told it: by its name, or with its group."""
    if kind in _PLACES:
        return _PLACES[kind]
    name, _, group = kind.partition(".")
    return group, name


def _rule(group: str, resources: Sequence[str], verbs: Sequence[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
