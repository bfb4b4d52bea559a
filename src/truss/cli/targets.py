"""`truss targets`: where a Truss can be deployed to."""

from __future__ import annotations

from dataclasses import asdict

import click

from truss.cli.arguments import json_output
from truss.cli.output import json_result, result


@click.command("targets")
@click.argument("target", required=False)
@json_output
def command(target: str | None, as_json: bool) -> int:
    """List where a Truss can be deployed to.

    With a target, its options.
    """
    from truss.deploy import describe, target_named, targets

    if target is not None:
        options = list(describe(target_named(target)))
        if as_json:
            json_result([asdict(one) for one in options])
        for one in () if as_json else options:
            default = f" [default: {one.default}]" if one.default else ""
            result(f"{one.flag} ({one.type}): {one.text}{default}")
        return 0
    found = targets()
    if as_json:
        json_result(
            [
                {"name": one.name, "summary": one.summary, "features": sorted(f.value for f in one.features)}
                for one in found
            ]
        )
    for each in () if as_json else found:
        result(f"{each.name}  {each.summary}")
    return 0
