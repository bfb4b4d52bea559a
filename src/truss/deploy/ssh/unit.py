"""One machine over SSH: what a model is there, and the systemd unit that runs it.

The form of units: https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html. The unit is
a plain one that runs `podman run` or `docker run` in the foreground: the machine needs nothing else, and
what the model writes is in its journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from truss.deploy.plan import File, Plan, Resource, SecretValue
from truss.deploy.release import PORT, Release
from truss.deploy.sizes import gibibytes
from truss.deploy.target import Feature, Options, option
from truss.errors import PlanError

if TYPE_CHECKING:
    from truss.deploy.ssh.platform import SshPlatform

UNIT = "ssh:unit"
SECRETS = "ssh:secrets"

ENGINES = ("podman", "docker")
"""What can run a container, the preferred one first: podman needs no daemon."""

DEPLOYMENT_LABEL = "ai.truss.deployment"

LINGER = "[ -e /var/lib/systemd/linger/$(id -un) ] || loginctl enable-linger"
"""Has a user's units go on without a connection of theirs, unless somebody else has done it for them.

https://www.freedesktop.org/software/systemd/man/latest/loginctl.html
"""

_BETWEEN_STARTS = 2
_BESIDES_GRACE = 15
"""Seconds that the engine may take to stop a container, besides those that the server may."""


class SshOptions(Options, frozen=True, kw_only=True):
    """What a deployment over SSH can be told."""

    host: Annotated[str, option("The machine, as `ssh` takes it: user@machine, or a host of its config.")] = (
        ""
    )
    ssh_port: Annotated[int, option("The port of its SSH server; 0: what the config of `ssh` says.")] = 0
    scope: Annotated[
        str,
        option("system: a unit of the machine, as root or by sudo; user: a unit of the user who logs in."),
    ] = "system"
    engine: Annotated[str, option("podman or docker; by default the first of them that is there.")] = ""
    port: Annotated[int, option("The port of the machine where the model is reached.")] = PORT
    bind: Annotated[str, option("The address of the machine where it listens; 0.0.0.0 for all of them.")] = (
        "127.0.0.1"
    )
    repository: Annotated[
        str, option("Where its image is pushed and pulled from; without one it is sent over SSH.")
    ] = ""


class SshTarget:
    """See the module."""

    name = "ssh"
    summary = "one machine over SSH, with systemd and podman or docker"
    options = SshOptions
    features = frozenset(
        {
            Feature.GPU,
            Feature.ROLLBACK,
            Feature.LOGS,
            Feature.SECRETS,
            Feature.STREAMING,
            Feature.GRPC,
            Feature.APPLIES,
        }
    )

    def repository(self, options: SshOptions) -> str | None:
        """None: an image of this machine's engine will do, and is sent."""
        return options.repository or None

    def plan(self, release: Release, options: SshOptions) -> Plan:
        """One unit, and the secrets that its container reads."""
        _check(release, options)
        secrets = Resource(
            SECRETS,
            release.name,
            {name: SecretValue(name) for name in release.secrets},
            "files of the machine, written through ssh",
        )
        unit = Resource(
            UNIT, release.name, _body(release, options), f"systemctl restart {unit_name(release.name)}"
        )
        resources = (*((secrets,) if release.secrets else ()), unit)
        return Plan(
            self.name,
            release.name,
            resources,
            _files(release.name, unit.body, options),
            tuple(_notes(release, options)),
        )

    def connect(self, options: SshOptions) -> SshPlatform:
        """The machine, through the `ssh` of this one.

        Raises:
            PlanError: no machine is named.
            DeployError: there is no `ssh` here.
        """
        from truss.deploy.ssh.machine import Machine
        from truss.deploy.ssh.platform import SshPlatform

        return SshPlatform(Machine.of(options), options)


def _check(release: Release, options: SshOptions) -> None:
    if options.scope not in {"system", "user"}:
        raise PlanError(f"{options.scope!r} is no scope of units", where="--scope", hint="system or user")
    if options.engine not in {"", *ENGINES}:
        raise PlanError(
            f"{options.engine!r} is no container engine that is known",
            where="--engine",
            hint=" or ".join(ENGINES),
        )
    for name, value in release.environment.items():
        if "\n" in value:
            raise PlanError(
                f"the variable {name} has lines, and files of an engine's environment have one for each",
                where="environment_variables",
                hint="make it a secret, which the model reads from a file, or a file of data/",
            )


def _body(release: Release, options: SshOptions) -> dict[str, Any]:
    """What runs, whichever engine runs it."""
    body: dict[str, Any] = {
        "image": release.image,
        "scope": options.scope,
        "listen": f"{options.bind}:{options.port}",
        "environment": release.environment,
        "cpus": release.cpu,
        "memory": release.memory,
        "grace": release.stop_seconds,
    }
    if release.secrets:
        body["secrets"] = list(release.secrets)
    if release.accelerator is not None:
        body["gpus"] = release.accelerator.count
    return body


def _notes(release: Release, options: SshOptions) -> Iterator[str]:
    machine = options.host or "USER@MACHINE"
    yield (
        f"the container gets {release.cpu:g} CPU and {gibibytes(release.memory)} of what {machine} has; "
        "whether it has them is not looked at"
    )
    if options.bind.startswith("127."):
        yield (
            f"reached on the machine itself only; from here: ssh -L {options.port}:127.0.0.1:{options.port} "
            f"{machine}; --bind 0.0.0.0 opens it to others"
        )
    if not options.repository:
        yield "without --repository, an image that is on this machine only is sent whole over SSH"
    if release.secrets:
        yield "for use without Truss, put each secret's value into secrets/NAME beside install.sh"
    if release.accelerator is not None:
        kind = f"a {release.accelerator.kind}" if release.accelerator.kind else "GPUs"
        yield f"the machine has to have {kind}, and NVIDIA's container toolkit: GPUs are asked for by number"


@dataclass(frozen=True)
class Place:
    """Where things of a deployment are on the machine.

    Attributes:
        scope: `system` or `user`.
        home: The folder of the user who logs in.
        engine: The path of the engine's program.
    """

    scope: str
    home: str
    engine: str

    @property
    def podman(self) -> bool:
        """Whether the engine is podman."""
        return self.engine.rpartition("/")[2] == "podman"

    @property
    def deployments(self) -> str:
        """The folder of all deployments, which only its owner can get to."""
        base = "/var/lib" if self.scope == "system" else f"{self.home}/.local/share"
        return f"{base}/truss/deployments"

    @property
    def units(self) -> str:
        """The folder of units."""
        return "/etc/systemd/system" if self.scope == "system" else f"{self.home}/.config/systemd/user"

    def folder(self, name: str) -> str:
        """The folder of a deployment."""
        return f"{self.deployments}/{name}"

    def unit(self, name: str) -> str:
        """The file of its unit."""
        return f"{self.units}/{unit_name(name)}"


def unit_name(name: str) -> str:
    """The name of a deployment's unit, and, without its end, of its container."""
    return f"truss-{name}.service"


def environment_text(body: Mapping[str, Any]) -> str:
    """The file of variables that the engine reads."""
    return "".join(f"{name}={value}\n" for name, value in body["environment"].items())


def unit_text(name: str, body: Mapping[str, Any], place: Place) -> str:
    """The unit that runs a deployment."""
    container = unit_name(name).removesuffix(".service")
    after = ["network-online.target", *([] if place.podman else ["docker.service"])]
    grace = body["grace"]
    started = [place.engine, "run", *_run_words(name, container, body, place)]
    return f"""\
[Unit]
Description=The model {name}, served by Truss
Wants=network-online.target
After={" ".join(after)}
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStartPre=-{_line([place.engine, "rm", "--force", container])}
ExecStart={_line(started)}
ExecStop=-{_line([place.engine, "stop", "--time", str(grace), container])}
Restart=always
RestartSec={_BETWEEN_STARTS}
TimeoutStopSec={grace + _BESIDES_GRACE}

[Install]
WantedBy={"multi-user.target" if body["scope"] == "system" else "default.target"}
"""


def _run_words(name: str, container: str, body: Mapping[str, Any], place: Place) -> list[str]:
    folder = place.folder(name)
    words = ["--rm", "--name", container, "--label", f"{DEPLOYMENT_LABEL}={name}"]
    # What it writes goes to the unit's journal; the engine would keep it a second time.
    words += ["--log-driver", "none", "--publish", f"{body['listen']}:{PORT}"]
    words += ["--env-file", f"{folder}/environment"]
    if body.get("secrets"):
        words += ["--volume", f"{folder}/secrets:/secrets:ro,Z"]
    words += ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]  # noqa: S108  # of the container
    words += ["--security-opt", "no-new-privileges"]
    words += ["--cpus", f"{body['cpus']:g}", "--memory", str(body["memory"])]
    words += ["--stop-timeout", str(body["grace"])]
    if gpus := body.get("gpus"):
        words += _gpu_words(gpus, place)
    return [*words, body["image"]]


def _gpu_words(count: int, place: Place) -> list[str]:
    """Docker hands GPUs on by number; podman by name, as its Container Device Interface has them."""
    if not place.podman:
        return ["--gpus", str(count)]
    return [word for number in range(count) for word in ("--device", f"nvidia.com/gpu={number}")]


def _line(words: Sequence[str]) -> str:
    """A command of a unit: `%` and `$` mean something there."""
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"' if any(sign in word for sign in " \"'\\;") else plain


def _files(name: str, body: Mapping[str, Any], options: SshOptions) -> tuple[File, ...]:
    place = Place(options.scope, "%h", f"/usr/bin/{options.engine or ENGINES[0]}")
    return (
        File(unit_name(name), unit_text(name, body, place)),
        File("environment", environment_text(body)),
        File("install.sh", _install_script(name, body, options.scope, place)),
    )


def _install_script(name: str, body: Mapping[str, Any], scope: str, place: Place) -> str:
    user = scope == "user"
    here = Place(scope, "$HOME", place.engine)
    control = "systemctl --user" if user else "systemctl"
    who = "the user whose unit it is" if user else "root"
    secrets = (
        'mkdir -p "$folder/secrets"\nchmod 755 "$folder/secrets"\n'
        'install -m 444 secrets/* "$folder/secrets"\n'
        if body.get("secrets")
        else ""
    )
    return f"""\
#!/bin/sh
# Installs the model {name} on this machine, or brings it up to date: run it as {who}, in its own folder.
set -eu
folder="{here.folder(name)}"
umask 077
mkdir -p "$folder" "{here.units}"
install -m 600 environment "$folder/environment"
{secrets}install -m 644 {unit_name(name)} "{here.unit(name)}"
{place.engine} image inspect {body["image"]} >/dev/null 2>&1 || {place.engine} pull {body["image"]}
{LINGER + chr(10) if user else ""}{control} daemon-reload
{control} enable {unit_name(name)}
{control} restart {unit_name(name)}
"""
