"""The machine of a deployment, through the user's own `ssh`: their keys, their config, their agent.

What is run there is a short script for its shell. Values, files and images go through the connection's
input, never into a command line, which other users of a machine can see.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import IO, cast

from truss.deploy.program import Program, failure
from truss.deploy.ssh.unit import ENGINES, SshOptions
from truss.errors import DeployError, PlanError, PlatformAuthError, PlatformUnreachableError

_CONNECT_WITHIN = 15
_FAILED = 255
"""What `ssh` ends with when the connection fails, and not what was run."""


@dataclass(frozen=True)
class Facts:
    """What a machine has.

    Attributes:
        root: Whether the user who logs in is root.
        home: Their folder.
        engines: The paths of the engines, the preferred one first.
        systemd: Whether systemd runs there.
    """

    root: bool
    home: str
    engines: tuple[str, ...]
    systemd: bool


@dataclass(frozen=True)
class Machine:
    """A machine.

    Attributes:
        host: What `ssh` calls it.
        words: What starts `ssh` to it, up to what is run there.
        scope: `system` or `user`: as whom things are run.
    """

    host: str
    words: tuple[str, ...]
    scope: str

    @classmethod
    def of(cls, options: SshOptions) -> Machine:
        """The machine that the options name.

        Raises:
            PlanError: they name none.
            DeployError: there is no `ssh` on this one.
        """
        if not options.host or options.host.startswith("-"):
            raise PlanError(
                "no machine is named", where="--host", hint="say it as ssh takes it: --host user@machine"
            )
        if shutil.which("ssh") is None:
            raise DeployError(
                "ssh is not on this machine", hint="install OpenSSH's client, or write the files with --out"
            )
        words = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_WITHIN}"]
        words += ["-o", f"ServerAliveInterval={_CONNECT_WITHIN}"]  # one that is lost ends
        words += ["-p", str(options.ssh_port)] if options.ssh_port else []
        return cls(options.host, tuple(words), options.scope)

    @cached_property
    def facts(self) -> Facts:
        """What it has.

        Raises:
            DeployError: it has no systemd.
            PlatformAuthError: the user who logs in is not let in, or cannot become root.
        """
        looked = "; ".join(f"command -v {engine}" for engine in ENGINES)
        script = f'id -u; echo "$HOME"; [ -d /run/systemd/system ] && echo yes || echo no; {looked}; true'
        user, home, systemd, *engines = self._done(f"sh -c {shlex.quote(script)}", b"").decode().splitlines()
        if systemd != "yes":
            raise DeployError(
                "systemd does not run there", where=self.host, hint="take a machine with it, or use Compose"
            )
        facts = Facts(user == "0", home, tuple(engines), systemd == "yes")
        if self.scope == "system" and not facts.root:
            self._check_sudo()
        return facts

    def _check_sudo(self) -> None:
        try:
            self._done("sudo -n true", b"")
        except DeployError as error:
            raise PlatformAuthError(
                f"the user who logs in may not become root: {error.message}",
                where=self.host,
                hint="let them use sudo without a password, log in as root, or make it theirs: --scope user",
            ) from error

    def run(self, script: str, stdin: bytes = b"") -> str:
        """What a script prints there.

        Raises:
            PlatformUnreachableError, PlatformAuthError: the machine is not reached, or lets nobody in.
            DeployError: the script failed; with the last line that it said.
        """
        return self.output(script, stdin).decode(errors="replace")

    def output(self, script: str, stdin: bytes = b"") -> bytes:
        """As `run`, as bytes."""
        return self._done(self._command(script), stdin)

    def lines(self, script: str) -> Iterator[str]:
        """The lines that a script prints there, as they come."""
        return Program(self.words).lines([self.host, self._command(script)])

    def send(self, source: subprocess.Popen[bytes], script: str) -> None:
        """Run a script there that reads what a program here writes.

        Raises:
            DeployError: one of the two failed.
        """
        done = subprocess.run(
            [*self.words, self.host, self._command(script)],
            stdin=source.stdout,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise self._error(done.returncode, done.stderr)

    def request(self, address: str, method: str, path: str, body: bytes, timeout: float) -> tuple[int, bytes]:
        """The status and the body that an HTTP server answers which the machine reaches under an address.

        The connection is one that `ssh` forwards: neither a program there nor a port here is needed.

        Raises:
            PlatformUnreachableError: nothing answers there, or not in time.
        """
        process = subprocess.Popen(
            [*self.words, "-W", address, self.host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        late = threading.Timer(timeout, process.kill)
        late.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            head = f"{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(head.encode() + body)
                process.stdin.flush()
            return _answer(process.stdout)
        except (http.client.HTTPException, OSError) as error:
            raise PlatformUnreachableError(
                f"no answer at {address} of the machine: {error or type(error).__name__}", where=self.host
            ) from error
        finally:
            late.cancel()
            process.kill()
            process.communicate()

    @cached_property
    def address(self) -> str:
        """The name or address that `ssh` connects to."""
        told = Program(self.words).run(["-G", self.host])
        return next(
            (line.partition(" ")[2] for line in told.splitlines() if line.startswith("hostname ")), self.host
        )

    def _command(self, script: str) -> str:
        """A script as a command of whatever shell the user who logs in has."""
        if self.scope == "user":
            script = f"export XDG_RUNTIME_DIR=/run/user/$(id -u); {script}"
        shell = f"sh -c {shlex.quote('set -eu; umask 077; ' + script)}"
        return shell if self.scope == "user" or self.facts.root else f"sudo -n {shell}"

    def _done(self, command: str, stdin: bytes) -> bytes:
        try:
            done = subprocess.run(
                [*self.words, self.host, command], input=stdin, capture_output=True, check=False
            )
        except OSError as error:
            raise DeployError(f"ssh cannot be run: {error}") from error
        if done.returncode:
            raise self._error(done.returncode, done.stderr or done.stdout)
        return done.stdout

    def _error(self, code: int, said: bytes) -> DeployError:
        text = said.decode(errors="replace")
        error = failure(f"ssh {self.host}" if code == _FAILED else "a command of the machine failed", text)
        error.where = self.host
        if code == _FAILED:
            return _connection_error(error, text)
        if "address already in use" in text.lower() or "port is already allocated" in text.lower():
            error.hint = "another program has the port: --port"
        if "could not enable linger" in text.lower():
            error.hint = (
                "the user's units end with their last connection: let root allow it once there, with "
            )
            error.hint += "`loginctl enable-linger USER`"
        return error


def _connection_error(error: DeployError, said: str) -> DeployError:
    """What to do about a connection that was not made, by what OpenSSH says of it."""
    if "Host key verification failed" in said:
        return PlatformAuthError(
            error.message,
            where=error.where,
            hint="connect once by hand and compare its key, so that ssh knows the machine",
        )
    if "Permission denied" in said:
        error.hint = "the machine takes none of your keys: try `ssh` by hand, and see `ssh-add -l`"
        return error
    return PlatformUnreachableError(
        error.message, where=error.where, hint="check the machine's name and port, and that `ssh` reaches it"
    )


class _Pipe:
    """What `http.client` reads an answer from, in place of a socket."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def makefile(self, _mode: str) -> io.BufferedIOBase:
        """The stream."""
        return cast("io.BufferedIOBase", self._stream)


def _answer(stream: IO[bytes]) -> tuple[int, bytes]:
    answer = http.client.HTTPResponse(cast("http.client.socket.socket", _Pipe(stream)))  # type: ignore[name-defined]
    answer.begin()
    return answer.status, answer.read()
