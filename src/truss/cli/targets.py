"""`truss targets`: where a Truss can be deployed to."""

from __future__ import annotations

from dataclasses import asdict

import click

from truss.cli.arguments import json_output
from truss.cli.output import json_result, result
from truss.errors import DeployError


@click.command("targets")
@click.argument("target", required=False)
@click.option("--permissions", is_flag=True, help="Show what its platform has to allow to whoever deploys.")
@json_output
def command(target: str | None, permissions: bool, as_json: bool) -> int:
    """List where a Truss can be deployed to.

    With a target, its options.
    """
    from truss.deploy import describe, target_named, targets

    if permissions:
        return _show_permissions(target, as_json)
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


def _show_permissions(name: str | None, as_json: bool) -> int:
    from truss.deploy import PermittedTarget, target_named, targets

    target = target_named(name) if name is not None else None
    if not isinstance(target, PermittedTarget):
        told = ", ".join(one.name for one in targets() if isinstance(one, PermittedTarget))
        raise DeployError(
            f"the target '{name}' does not say what has to be allowed" if name else "no target is named",
            where="--permissions",
            hint=f"these do: {told}",
        )
    file = target.permissions()
    if as_json:
        json_result({"file": file.path, "text": file.text})
    else:
        result(file.text.rstrip("\n"))
    return 0
