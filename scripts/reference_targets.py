"""Write docs/reference/targets.md from the targets themselves."""

from __future__ import annotations

from collections.abc import Iterator

from generated import publish

from truss.deploy import Feature, Target, describe, target_named
from truss.deploy.registry import BUILT_IN

INTRODUCTION = """\
# Targets

<!-- Written by scripts/reference_targets.py; `make docs` renews it. -->

Where `truss deploy --to` can take a Truss, and what each target can be told: on the command line
(`--min-replicas 2`), in the config (`deploy: {TARGET: {min_replicas: 2}}`), or from Python
(`handle.deploy("TARGET", min_replicas=2)`).
"""


def page() -> str:
    """The page's text."""
    targets = [target_named(name) for name in BUILT_IN]
    return "\n".join(
        [INTRODUCTION, *_matrix(targets), *(line for one in targets for line in _options(one)), ""]
    )


def _matrix(targets: list[Target]) -> Iterator[str]:
    yield f"| | {' | '.join(feature.value for feature in Feature)} |"
    yield f"|---|{'---|' * len(Feature)}"
    for target in targets:
        cells = " | ".join("yes" if feature in target.features else "" for feature in Feature)
        yield f"| `{target.name}`: {target.summary} | {cells} |"


def _options(target: Target) -> Iterator[str]:
    yield from ("", f"## {target.name}", "", "| option | takes | default | |", "|---|---|---|---|")
    for one in describe(target):
        default = f"`{one.default}`" if one.default else ""
        yield f"| `{one.name}` | {one.type} | {default} | {one.text} |"


if __name__ == "__main__":
    publish("targets.md", page())
