"""The server as the program of a container: `python -m truss.runtime.container [serve]`."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from truss.errors import MissingExtraError, TrussError
from truss.model.brought import truss_dir_of
from truss.runtime import lambda_events, reaper, watching
from truss.runtime.platform import Platform, platform_of
from truss.runtime.serve import serve
from truss.runtime.stored_secrets import read_stored
from truss.runtime.tls import Tls, tls_of

logger = logging.getLogger("truss.serve")

_HOST = "0.0.0.0"  # noqa: S104  # a container's own network


def main(arguments: Sequence[str] = (), variables: MutableMapping[str, str] = os.environ) -> int:
    """Serve the Truss of this image until a signal.

    Args:
        arguments: As `truss.runtime.platform.platform_of` takes them.
        variables: `TRUSS_DIR` names the Truss, or a platform brings one (`truss.model.brought`); its
            variables say what it asks. Secrets that its store keeps are read into them.

    Returns:
        The exit status.
    """
    events = lambda_events.api_of(variables)
    try:
        platform = platform_of(arguments, variables)
        read_stored(variables)
        if platform.multi_model:
            return _serve_models(platform, tls_of(variables))
        truss_dir = truss_dir_of(variables)
        if events is not None:
            refuse = functools.partial(lambda_events.refuse, events)
            platform = dataclasses.replace(platform, on_load_failure=refuse, balanced=False)
            lambda_events.start(events, platform.port)
        return serve(
            truss_dir,
            host=_HOST,
            port=platform.port,
            on_listening=functools.partial(_say, truss_dir),
            platform=platform,
            tls=tls_of(variables),
            watch=variables.get(watching.VARIABLE) == "1",
        )
    except TrussError as error:
        sys.stderr.write(f"error: {error}\n")
        if events is not None:
            lambda_events.refuse(events, error)
        return error.exit_code


def _serve_models(platform: Platform, tls: Tls | None) -> int:
    try:
        from truss.runtime.multi_model import serve_models
    except ImportError as error:
        raise MissingExtraError("uvicorn", "runtime", "serving") from error
    return serve_models(_HOST, platform, tls)


def _say(truss_dir: Path, url: str) -> None:
    logger.info("listening on %s with the Truss in %s", url, truss_dir)


if __name__ == "__main__":
    sys.exit(reaper.run(functools.partial(main, sys.argv[1:])))
