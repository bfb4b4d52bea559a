"""CloudWatch Logs: what servers write."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from truss.deploy.aws.account import MARK, Account, marked
from truss.deploy.aws.permissions import Right
from truss.deploy.plan import Resource
from truss.deploy.target import Found

KEPT_DAYS = 30
PREFIX = "/truss/"
_PAUSE = 2.0


class LogGroup:
    """A group of log streams, one for a deployment.

    https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/

    Args:
        prefix: What the names of groups begin with; the deployment's comes behind.
    """

    kind = "logs:log-group"

    def __init__(self, prefix: str = PREFIX) -> None:
        self._prefix = prefix

    @property
    def rights(self) -> Sequence[Right]:
        """For the groups, and for reading what is in them."""
        actions = (
            "CreateLogGroup",
            "DeleteLogGroup",
            "FilterLogEvents",
            "ListTagsLogGroup",
            "PutRetentionPolicy",
            "TagResource",
        )
        return (
            Right("logs", ("DescribeLogGroups",)),
            Right("logs", actions, (f"log-group:{self._prefix}*",)),
        )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The group of exactly this name."""
        groups = account.call("logs", "describe_log_groups", logGroupNamePrefix=resource.name)["logGroups"]
        told = next((one for one in groups if one["logGroupName"] == resource.name), None)
        if told is None:
            return None
        found = account.call("logs", "list_tags_log_group", logGroupName=resource.name)["tags"]
        deployment = marked(found)
        body = {"deployment": deployment, "retention_days": told.get("retentionInDays", 0)}
        return Found(self.kind, resource.name, body, deployment)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it."""
        mark = {MARK: resource.body["deployment"]}
        account.call("logs", "create_log_group", logGroupName=resource.name, tags=mark)
        return self.update(account, resource, Found(self.kind, resource.name, {}))

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Say how long it keeps lines."""
        days = resource.body["retention_days"]
        account.call("logs", "put_retention_policy", logGroupName=resource.name, retentionInDays=days)
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it with all its lines."""
        account.gone("logs", "delete_log_group", "ResourceNotFoundException", logGroupName=found.name)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self.find(account, log_group(deployment, self._prefix))
        return [found] if found is not None and found.deployment == deployment else []


def log_group(deployment: str, prefix: str = PREFIX) -> Resource:
    """The group of a deployment."""
    body = {"deployment": deployment, "retention_days": KEPT_DAYS}
    return Resource(LogGroup.kind, f"{prefix}{deployment}", body, "logs:CreateLogGroup")


def lines_of(account: Account, group: str, *, follow: bool, lines: int) -> Iterator[str]:
    """The last lines of a group, in their order; with `follow` also those that are yet to come."""
    day = 24 * 3600 * 1000
    since = int(time.time() * 1000) - day
    events = list(account.listed("logs", "filter_log_events", "events", logGroupName=group, startTime=since))
    yield from (one["message"].rstrip("\n") for one in events[-lines:])
    seen = {one["eventId"] for one in events}
    while follow:
        time.sleep(_PAUSE)
        since = max((one["timestamp"] for one in events), default=since)
        events = list(
            account.listed("logs", "filter_log_events", "events", logGroupName=group, startTime=since)
        )
        fresh = [one for one in events if one["eventId"] not in seen]
        seen.update(one["eventId"] for one in fresh)
        yield from (one["message"].rstrip("\n") for one in fresh)
