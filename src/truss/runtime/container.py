"""The server as the program of a container: `python -m truss.runtime.container [serve]`."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from truss.errors import TrussError
from truss.runtime import lambda_events, reaper, watching
from truss.runtime.platform import platform_of
from truss.runtime.serve import serve
from truss.runtime.stored_secrets import read_stored
from truss.runtime.tls import tls_of


def main(arguments: Sequence[str] = (), variables: MutableMapping[str, str] = os.environ) -> int:
    """Serve the Truss of this image until a signal.

    Args:
        arguments: As `truss.runtime.platform.platform_of` takes them.
        variables: `TRUSS_DIR` names the Truss (default: `/app`); a platform's variables say what it asks.
            Secrets that its store keeps are read into them.

    Returns:
        The exit status.
    """
    events = lambda_events.api_of(variables)
    try:
        platform = platform_of(arguments, variables)
        read_stored(variables)
        truss_dir = Path(variables.get("TRUSS_DIR", "/app"))
        if events is not None:
            refuse = functools.partial(lambda_events.refuse, events)
            platform = dataclasses.replace(platform, on_load_failure=refuse)
            lambda_events.start(events, platform.port)
        return serve(
            truss_dir,
            host="0.0.0.0",  # noqa: S104  # a container's own network
            port=platform.port,
            platform=platform,
            tls=tls_of(variables),
            watch=variables.get(watching.VARIABLE) == "1",
        )
    except TrussError as error:
        sys.stderr.write(f"error: {error}\n")
        if events is not None:
            lambda_events.refuse(events, error)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(reaper.run(functools.partial(main, sys.argv[1:])))
