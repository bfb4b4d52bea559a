"""What AWS has to allow to whoever deploys, as a policy of IAM.

Each module says it next to the calls that it makes. Which actions there are, what they can be restricted to
and by which conditions: https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from truss.deploy.aws.account import MARK
from truss.deploy.plan import File, as_json

Conditions = Mapping[str, Mapping[str, Any]]

MARKED: Conditions = {"StringLike": {f"aws:ResourceTag/{MARK}": "*"}}
"""On things that carry a deployment's mark, whatever they are called."""

MARKING: Conditions = {"StringLike": {f"aws:RequestTag/{MARK}": "*"}}
"""On things that get a deployment's mark as they are made."""


@dataclass(frozen=True)
class Right:
    """Actions of a service, and what may be done to what by them.

    Attributes:
        service: What IAM calls the service: `elasticloadbalancing`.
        actions: The actions, without the service.
        on: What they are done to, as the ends of ARNs behind the account: `cluster/truss-*`; empty: they are
            such as cannot be restricted so.
        when: What has to hold besides.
    """

    service: str
    actions: Sequence[str]
    on: Sequence[str] = ()
    when: Conditions = field(default_factory=dict)

    @property
    def resources(self) -> list[str]:
        """Patterns of the ARNs, in any account and region; roles are in no region, buckets in neither."""
        region = "" if self.service in ("iam", "s3") else "*"
        account = "" if self.service == "s3" else "*"
        return [f"arn:aws:{self.service}:{region}:{account}:{one}" for one in self.on] or ["*"]


class Entitled(Protocol):
    """What makes calls that have to be allowed."""

    @property
    def rights(self) -> Sequence[Right]:
        """What it needs for all that it does."""


def service_linked(service: str) -> Right:
    """The right to have AWS make the role that a service acts by, the first time that an account uses it.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/using-service-linked-roles.html
    """
    return Right("iam", ("CreateServiceLinkedRole",), (f"role/aws-service-role/{service}/*",))


def policy(parts: Iterable[Entitled], others: Iterable[Right]) -> File:
    """A policy for a target: a statement for all that is done to the same things under the same conditions.

    Args:
        parts: What makes calls for it.
        others: What it needs besides.
    """
    statements = [
        {
            "Effect": "Allow",
            "Action": [f"{right.service}:{action}" for action in right.actions],
            "Resource": right.resources,
            **({"Condition": right.when} if right.when else {}),
        }
        for right in (*(right for part in parts for right in part.rights), *others)
    ]
    joined = _joined(_joined(statements, "Action"), "Resource")
    return File("policy.json", as_json({"Version": "2012-10-17", "Statement": joined}))


def _joined(statements: Sequence[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    """Statements of which no two differ in one key only: those become one."""
    found: dict[str, dict[str, Any]] = {}
    for statement in statements:
        rest = as_json({name: part for name, part in statement.items() if name != key})
        before = found.get(rest, {}).get(key, [])
        found[rest] = {**statement, key: sorted({*before, *statement[key]})}
    return list(found.values())
