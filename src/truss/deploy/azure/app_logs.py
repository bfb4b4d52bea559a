"""What the copies of a container app write, from the stream that `az containerapp logs show` reads as well.

https://learn.microsoft.com/azure/container-apps/log-streaming
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from truss.deploy.azure.account import Account

_MOST = 300
"""Lines that the stream begins with at most."""


_APPS = "Microsoft.App/containerApps"
RIGHTS = (f"{_APPS}/getAuthToken/action", f"{_APPS}/revisions/replicas/read")
"""The actions that reading takes."""


def lines_of(
    account: Account, app: str, api: str, revision: str, *, follow: bool, lines: int
) -> Iterator[str]:
    """The last lines of one copy of a revision; with `follow` also those that are yet to come.

    Args:
        account: The resource group.
        app: The app's full name.
        api: The version of its API.
        revision: The revision.
        follow: Whether to go on.
        lines: How many of those that are there.
    """
    where = _stream(account, f"{app}/revisions/{revision}/replicas", api)
    if not where:
        return  # no copy runs, and what was is not kept
    token = account.call("POST", f"{app}/getAuthToken", api)["properties"]["token"]
    words = {"follow": str(follow).lower(), "output": "text", "tailLines": min(lines, _MOST)}
    yield from account.lines(f"{where}?{urlencode(words)}", token)


def _stream(account: Account, copies: str, api: str) -> str:
    """The address of a copy's lines: of the newest, which is what one wants to see."""
    told: list[Any] = sorted(account.listed(copies, api), key=lambda one: one["properties"]["createdTime"])
    for copy in reversed(told):
        for container in copy["properties"].get("containers", ()):
            if container.get("logStreamEndpoint"):
                return str(container["logStreamEndpoint"])
    return ""
