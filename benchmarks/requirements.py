"""Whether the captured requirements are sufficient and minimal, for every kind of object of every adapter.

Each is packaged, its environment is made from what was captured alone, and a fresh process answers in it:
once with all, and once without each of the requirements, when it must fail. The objects are those of the
adapters' test suites; the check is the one that those run.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

from benchmarks import machine, results
from benchmarks.places import PYTHON, ROOT

_CHECK = "test_no_captured_requirement_can_be_done_without"
_WITHOUT = "without "
ANSWERS = "answers"
"""What a process without a requirement does that can be done without."""


@dataclass(frozen=True)
class Kind:
    """One kind of object.

    Attributes:
        framework: Its adapter.
        name: The suite's class, e.g. `TestForest`.
        without: What became of the process without each requirement: the end of its error, or `answers`.
        problem: Why there is no measurement, or what it found; None when all is as it should be.
    """

    framework: str
    name: str
    without: dict[str, str]
    problem: str | None = None

    @property
    def needless(self) -> list[str]:
        """The requirements that it can do without."""
        return [name for name, outcome in self.without.items() if outcome == ANSWERS]


def run(*, only: Sequence[str] = ()) -> list[Kind]:
    """Measure, print and write.

    Args:
        only: Names of frameworks; the others keep what was measured before. Default: all.

    Returns:
        What was measured now.
    """
    folders = [ROOT / "tests" / "frameworks" / name for name in only] or [ROOT / "tests" / "frameworks"]
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.xml")
        words = ["-q", "-n", "auto", "-p", "benchmarks.every_kind", "-k", _CHECK]
        words += ["-o", "junit_family=xunit1", f"--junitxml={report}", *map(str, folders)]
        subprocess.run([PYTHON, "-m", "pytest", *words], cwd=ROOT, check=False)  # failures are in the report
        kinds = list(_kinds(report))
    for kind in kinds:
        if kind.problem:
            print(f"{kind.framework} {kind.name}: {kind.problem}", flush=True)
    _write([*kinds, *(kind for kind in read() if only and kind.framework not in only)])
    return kinds


def read() -> list[Kind]:
    """The kinds of the last run."""
    content = results.read("requirements")
    return [Kind(**row) for row in content["results"]] if content else []


def _write(kinds: Sequence[Kind]) -> None:
    rows = [asdict(kind) for kind in sorted(kinds, key=lambda kind: (kind.framework, kind.name))]
    results.write("requirements", {"machine": machine.facts(), "results": rows})


def _kinds(report: Path) -> Iterator[Kind]:
    """The kinds in a report of pytest's."""
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        module, _, name = case.get("classname", "").rpartition(".")
        found = {item.get("name", ""): item.get("value", "") for item in case.iter("property")}
        failed = next((case.find(tag) for tag in ("failure", "error") if case.find(tag) is not None), None)
        yield Kind(
            framework=module.split(".")[-2],
            name=name,
            without={key.removeprefix(_WITHOUT): value for key, value in found.items()},
            problem=None if failed is None else failed.get("message", "").splitlines()[0],
        )
