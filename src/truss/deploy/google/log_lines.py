"""Cloud Logging: what copies write.

https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from truss.deploy.google.account import Account

RIGHTS = ("logging.logEntries.list",)
"""The permissions that reading takes."""

_PAUSE = 2.0


def lines_of(account: Account, wanted: str, *, follow: bool, lines: int) -> Iterator[str]:
    """The last lines that a filter finds, in their order; with `follow` also those that are yet to come.

    Args:
        account: The project.
        wanted: The filter, in Cloud Logging's query language.
        follow: Whether to go on.
        lines: How many of those that are there.
    """
    found = list(reversed(_entries(account, wanted, "timestamp desc", lines)))
    yield from map(_line, found)
    seen = {one["insertId"] for one in found}
    while follow:
        time.sleep(_PAUSE)
        since = f' AND timestamp>="{found[-1]["timestamp"]}"' if found else ""
        fresh = [
            one
            for one in _entries(account, wanted + since, "timestamp asc", 1000)
            if one["insertId"] not in seen
        ]
        seen.update(one["insertId"] for one in fresh)
        found = fresh or found
        yield from map(_line, fresh)


def _entries(account: Account, wanted: str, order: str, most: int) -> list[Mapping[str, Any]]:
    body = {
        "resourceNames": [f"projects/{account.project_name}"],
        "filter": wanted,
        "orderBy": order,
        "pageSize": most,
    }
    found: list[Mapping[str, Any]] = account.call("logging", "entries", "list", body=body).get("entries", [])
    return found[:most]


def _line(entry: Mapping[str, Any]) -> str:
    if "textPayload" in entry:
        return str(entry["textPayload"])
    return json.dumps(entry.get("jsonPayload", {}), ensure_ascii=False)
