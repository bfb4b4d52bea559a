"""Command-line tools of platforms: run, and their failures told as errors of ours."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from truss.errors import DeployError, PlatformAuthError, PlatformUnreachableError, QuotaError

_UNREACHABLE = (
    "cannot connect",
    "connection refused",
    "no such host",
    "could not resolve",
    "i/o timeout",
    "timed out",
    "unable to connect",
    "no route to host",
)
_AUTH = (
    "unauthorized",
    "forbidden",
    "permission denied",
    "logged in",
    "credentials",
    "authentication",
    "access denied",
)
_QUOTA = ("quota", "limit exceeded", "too many requests")


@dataclass(frozen=True)
class Program:
    """A tool.

    Attributes:
        words: What starts it: the program, and words that every call begins with.
        environment: Its environment; None: that of this process.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str] | None = field(default=None, repr=False)

    def run(self, words: Sequence[str], stdin: str | None = None) -> str:
        """What it prints.

        Args:
            words: What it is asked.
            stdin: What it is given to read.

        Raises:
            DeployError: it failed; of the kind that what it said points to.
        """
        done = self._run(words, stdin)
        if done.returncode:
            raise failure(f"`{self._shown(words)}` failed", done.stderr or done.stdout)
        return done.stdout

    def json(self, words: Sequence[str], stdin: str | None = None) -> Any:
        """As `run`, of what is JSON; None where it printed nothing."""
        text = self.run(words, stdin)
        return json.loads(text) if text.strip() else None

    def succeeds(self, words: Sequence[str]) -> bool:
        """Whether it ends without a failure."""
        return self._run(words, None).returncode == 0

    def lines(self, words: Sequence[str]) -> Iterator[str]:
        """The lines that it prints, as they come; it is ended when nobody reads on."""
        process = subprocess.Popen(
            [*self.words, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self.environment,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield line.rstrip("\n")
        finally:
            process.terminate()
            process.wait()

    def _run(self, words: Sequence[str], stdin: str | None) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [*self.words, *words],
                input=stdin or "",
                capture_output=True,
                text=True,
                errors="replace",
                env=self.environment,
                check=False,
            )
        except OSError as error:
            raise DeployError(f"{self.words[0]} cannot be run: {error}") from error

    def _shown(self, words: Sequence[str]) -> str:
        return " ".join([*self.words, *words[:2]])


def found_program(*candidates: Sequence[str], hint: str) -> Program:
    """The first of several tools that is there; those of more than one word have to answer `version` as well.

    Raises:
        DeployError: none is.
    """
    for words in candidates:
        if shutil.which(words[0]) is None:
            continue
        program = Program(tuple(words))
        if len(words) == 1 or program.succeeds(["version"]):
            return program
    names = " or ".join(" ".join(words) for words in candidates)
    raise DeployError(f"{names} is not on this machine", hint=hint)


def failure(what: str, said: str) -> DeployError:
    """The error for what a tool said when it failed."""
    lines = [line for line in said.strip().splitlines() if line.strip()]
    message = f"{what}: {lines[-1].strip() if lines else 'it says nothing'}"
    lowered = said.lower()
    for kind, marks, hint in (
        (PlatformUnreachableError, _UNREACHABLE, "check the address, and that it can be reached from here"),
        (QuotaError, _QUOTA, "ask the platform for a higher limit, or remove what is not needed"),
        (PlatformAuthError, _AUTH, "log in to the platform, or ask for the right to do this"),
    ):
        if any(mark in lowered for mark in marks):
            return kind(message, hint=hint)
    return DeployError(message, hint="see what the tool says")
