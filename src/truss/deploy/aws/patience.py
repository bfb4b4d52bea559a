"""What AWS does in a while: calls that it refuses until then, and states that it comes to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from truss.deploy.aws.account import GO_ON, Account
from truss.errors import DeployError, PlatformRefusalError

_PAUSE = 2.0

LONG = 900.0
"""Seconds that machines may take to stop: a copy's last answers, then the machine itself."""


def in_time(
    account: Account, service: str, operation: str, /, *busy: str, within: float = LONG, **arguments: Any
) -> Any:
    """What an operation gives; it is tried again while it is refused for a reason that passes.

    Args:
        account: The account.
        service: Of `Account.call`, as all that is not named here.
        operation: The operation.
        busy: Names of such reasons, or words of their messages.
        within: Seconds after which a refusal counts.
        arguments: The operation's.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            return account.call(service, operation, **arguments)
        except PlatformRefusalError as error:  # noqa: PERF203  # it waits anyway
            passes = any(word == error.code or word in error.message for word in busy)
            if not passes or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)


def gone(
    account: Account, service: str, operation: str, absent: str, /, *busy: str, **arguments: Any
) -> None:
    """Remove something as soon as it can be; nothing happens where a reason says that it is absent."""
    try:
        in_time(account, service, operation, *busy, **arguments)
    except PlatformRefusalError as error:
        if error.code != absent:
            raise


def until(reached: Callable[[], bool], what: str, within: float = LONG) -> None:
    """Return when a state is reached.

    Args:
        reached: Whether it is; asked every few seconds.
        what: What is waited for, after "waited for".
        within: Seconds that it may take.

    Raises:
        DeployError: it is not reached in that time.
    """
    deadline = time.monotonic() + within
    while not reached():
        if time.monotonic() > deadline:
            raise DeployError(f"waited {within / 60:g} minutes for {what}", hint=GO_ON)
        time.sleep(_PAUSE)
