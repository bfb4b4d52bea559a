"""Write a generated page, or with `--check` only see whether it is current."""

from __future__ import annotations

import sys
from pathlib import Path

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"


def publish(name: str | Path, text: str) -> None:
    """Write `docs/reference/NAME`, or another path given whole; with `--check`, exit with 1 if it differs."""
    page = REFERENCE / name
    if page.is_file() and page.read_text(encoding="utf-8") == text:
        return
    if "--check" in sys.argv[1:]:
        sys.exit(f"error: {page} is not what the code says\nhint: make docs, and commit the result")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    sys.stderr.write(f"wrote {page}\n")
