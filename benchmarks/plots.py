"""Drawings, as SVG that is the same for the same data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OURS = "#0b6e4f"
OTHERS = "#9aa5b1"
REFERENCE = "#d9dee4"


def drawing(width: float, height: float, **grid: Any) -> tuple[Any, Any]:
    """A figure and its axes, in inches, with the project's style."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update(
        {
            "svg.hashsalt": "truss",
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#6b7680",
        }
    )
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(width, height), layout="constrained", **grid)


def save(figure: Any, path: Path) -> None:
    """Write the figure, whole or not at all, on white so that it reads on dark pages too."""
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    figure.savefig(beside, format="svg", facecolor="white", metadata={"Date": None})
    pyplot.close(figure)
    os.replace(beside, path)  # noqa: PTH105  # the atomic one


def bars(axes: Any, values: Mapping[str, float], colours: Sequence[str], texts: Sequence[str]) -> None:
    """Horizontal bars, the first on top, on a logarithmic scale, each with its number."""
    positions = range(len(values))
    axes.barh(positions, list(values.values()), color=list(colours))
    axes.set_yticks(positions, list(values))
    axes.invert_yaxis()
    axes.set_xscale("log")
    for position, value, text in zip(positions, values.values(), texts, strict=True):
        axes.annotate(
            text, (value, position), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.margins(x=0.15)
