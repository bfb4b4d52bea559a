"""What `truss kill` and `truss kill-all` do."""

from __future__ import annotations

from pathlib import Path

from truss.cli.output import json_result, note


def stop_all(truss_dir: Path | None, program: str | None, *, as_json: bool) -> int:
    """Stop the containers of a Truss, or of all, and say which."""
    from truss import containers
    from truss.build.engine import find_engine

    found = containers.stop(truss_dir, engine=find_engine(program))
    if as_json:
        json_result({"stopped": [container.id for container in found]})
        return 0
    for container in found:
        note(f"stopped {container.id[:12]} ({container.image})")
    if not found:
        note("nothing to stop")
    return 0
