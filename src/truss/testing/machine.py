"""Boot a machine with systemd, an SSH server and podman, in a container, for the length of a test run."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunningMachine:
    """A machine.

    Attributes:
        config: The config with which `ssh -F` reaches it as `machine`.
        podman: What starts the podman in whose container it runs.
        ssh: A folder with a program `ssh` that reads this config, for the head of a `PATH`.
    """

    config: Path
    podman: tuple[str, ...]
    ssh: Path

    def run(self, *words: str | Path, check: bool = True) -> str:
        """What a command prints there, run as root and not through SSH.

        Raises:
            AssertionError: it failed, and `check` is set.
        """
        return _said([*self.podman, "exec", "machine", *map(str, words)], check=check)

    def copy(self, source: Path, to: str) -> None:
        """Copy a file to it."""
        _said([*self.podman, "cp", str(source), f"machine:{to}"])


@contextlib.contextmanager
def running_machine(root: Path, folder: Path, timeout: float = 60) -> Iterator[RunningMachine]:
    """Boot a machine; what it writes is lost with it.

    Args:
        root: Its files, which are not written to.
        folder: Where keys and the state of the container are; is made. Needs root.
        timeout: Seconds that it may take to boot.

    Raises:
        AssertionError: it does not boot in time.
    """
    (folder / "bin").mkdir(parents=True)
    # Podman takes no more than 50 characters for it, and pytest's folders have more.
    run = tempfile.mkdtemp(prefix="machine-")
    state = ("--root", str(folder / "root"), "--runroot", run)
    podman = ("podman", *state, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs")
    words = ["run", "--detach", "--name", "machine", "--privileged", "--systemd", "always"]
    words += ["--ulimit", "nofile=10000:10000", "--ulimit", "nproc=10000:10000"]
    words += ["--tmpfs", "/var/lib/containers", "--rootfs", f"{root.resolve()}:O", "/sbin/init"]
    config = folder / "config"
    machine = RunningMachine(config, podman, folder / "bin")
    try:
        _said([*podman, *words])
        _wait_until_up(machine, timeout)
        address = _said([*podman, "inspect", "machine", "--format", "{{.NetworkSettings.IPAddress}}"])
        _let_in(machine, folder, address)
        yield machine
    finally:
        subprocess.run([*podman, "rm", "--force", "--time", "0", "machine"], check=False, capture_output=True)
        shutil.rmtree(run, ignore_errors=True)


def _wait_until_up(machine: RunningMachine, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while (state := machine.run("systemctl", "is-system-running", check=False)) not in (
        "running",
        "degraded",
    ):
        assert time.monotonic() < deadline, f"the machine is {state or 'not up'} after {timeout} s"
        time.sleep(0.1)


def _let_in(machine: RunningMachine, folder: Path, address: str) -> None:
    """Make a key of its own for the tests, and let it in as root; know the machine's key."""
    key = folder / "key"
    _said(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    machine.run("mkdir", "-p", "-m", "700", "/root/.ssh")
    machine.copy(key.with_suffix(".pub"), "/root/.ssh/authorized_keys")
    machine.run("chown", "0:0", "/root/.ssh/authorized_keys")
    known = folder / "known_hosts"
    public = machine.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub")
    known.write_text(f"{address} {public}\n")
    machine_config = {
        "HostName": address,
        "User": "root",
        "IdentityFile": key,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": known,
    }
    lines = "".join(f"    {name} {value}\n" for name, value in machine_config.items())
    machine.config.write_text(f"Host machine\n{lines}")
    program = machine.ssh / "ssh"
    program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {machine.config} "$@"\n')
    program.chmod(0o755)


def _said(words: Sequence[str], *, check: bool = True) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{' '.join(words)}:\n{done.stderr or done.stdout}"
    return done.stdout.strip()
