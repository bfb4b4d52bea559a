"""Where the benchmarks keep things."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository."""

PYTHON = ROOT / ".venv" / "bin" / "python"
"""The project's own interpreter."""

BENCH = ROOT / ".bench"
"""What is made on first use and not committed: environments, models, the servers' folders."""

VENVS = BENCH / "venvs"
MODELS = BENCH / "models"
SERVED = ROOT / "benchmarks" / "served"
"""The small servers and models that benchmarks start."""

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"
