"""The Dockerfile of a Truss: what wheels cannot give is run, everything else is copied.

The image comes out as the daemonless one does: the same places, the same server, the same user.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from truss.build import contents, wheels
from truss.build.inherited import ENVIRONMENT, PLACES, with_environment
from truss.config import CONFIG_FILE, TrussConfig
from truss.errors import ImageError
from truss.oci import ImageConfig

HEAD = """\
# Written by Truss from config.yaml. Build it in this folder: docker build .
"""

_BEGINS = re.compile(r"\s*FROM\s", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """A folder of the build context, and where it goes.

    Attributes:
        folder: Its name in the context.
        place: Where it is in the image.
        about: What it is, for a comment.
    """

    folder: str
    place: str
    about: str


WHEELS = Part("site", wheels.SITE, "Python packages")
SERVER = Part("runtime", contents.RUNTIME, "the server")
BAKED = Part("weights", "/", "weights from elsewhere")
DATA = Part("data", contents.APP, "weights and other data")
MODEL = Part("app", contents.APP, "the model class and its config")


def needs_engine(config: TrussConfig) -> list[str]:
    """The keys of a config that only a container engine can satisfy, for a message."""
    keys = {
        "system_packages": config.system_packages,
        "build_commands": config.build_commands,
        "build.dockerfile_fragment": config.build.dockerfile_fragment,
    }
    return [name for name, value in keys.items() if value]


def read_fragment(truss_dir: Path, config: TrussConfig) -> str:
    """The lines that a Truss has for its Dockerfile; empty if it has none.

    Raises:
        ImageError: the file cannot be read, or begins an image of its own.
    """
    name = config.build.dockerfile_fragment
    if not name:
        return ""
    file, key = truss_dir / name, f"{truss_dir / CONFIG_FILE}: build.dockerfile_fragment"
    if not file.resolve().is_relative_to(truss_dir.resolve()):
        raise ImageError(f"'{name}' is not in the Truss", where=key, hint="put the file into its folder")
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ImageError(f"'{name}' cannot be read: {error}", where=key) from error
    before = ""
    for number, line in enumerate(text.splitlines(), 1):
        goes_on, before = before.endswith("\\"), line.rstrip()
        if _BEGINS.match(line) and not goes_on:
            raise ImageError(
                "a fragment goes into the image of the Truss, and cannot begin another",
                where=f"{file}:{number}",
                hint="remove FROM; base_image in config.yaml names what is built on",
            )
    return text


def render(
    base: str,
    settings: ImageConfig,
    base_env: Mapping[str, str],
    config: TrussConfig,
    *,
    fragment: str = "",
    baked: bool = False,
    inherited: Collection[str] = (),
) -> str:
    """The text of the Dockerfile.

    Args:
        base: The base's reference.
        settings: How a container starts (`truss.build.settings`).
        base_env: The base's environment variables, which need not be said again.
        config: The Truss's config: system packages and build commands.
        fragment: Lines of the Truss's own (`read_fragment`).
        baked: Whether the context has weights from elsewhere.
        inherited: The ids of secrets that hand this machine's settings to commands (`truss.build.inherited`).
    """
    own = {name: value for name, value in settings.env.items() if base_env.get(name) != value}
    run = _run({**config.build.secret_to_path_mapping, **{name: PLACES[name] for name in inherited}})
    commands = [
        with_environment(command) if ENVIRONMENT in inherited else command
        for command in config.build_commands
    ]
    blocks = [
        # The wheels are for one platform, whatever the engine's own is.
        HEAD + f"FROM --platform={settings.platform} {base}\nUSER root",
        _system_packages(config.system_packages, run),
        _copy(WHEELS),
        _assignments("ENV", own),
        _commands(commands, run),
        f"# {config.build.dockerfile_fragment}\n{fragment}" if fragment else "",
        _copy(SERVER),
        _copy(BAKED) if baked else "",
        _copy(DATA),
        _copy(MODEL),
        _assignments("LABEL", settings.labels),
        _start(settings),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _run(secrets: Mapping[str, str]) -> str:
    """The instruction that runs a command, which sees the build's secrets as files that are in no layer.

    https://docs.docker.com/build/building/secrets/
    """
    mounts = (f"--mount=type=secret,id={name},target={path}" for name, path in sorted(secrets.items()))
    return " ".join(["RUN", *mounts])


def _system_packages(names: Sequence[str], run: str) -> str:
    if not names:
        return ""
    listed = " \\\n        ".join(shlex.quote(name) for name in sorted(names))
    return (
        f"{run} apt-get update \\\n"
        "    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \\\n"
        f"        {listed} \\\n"
        "    && rm -rf /var/lib/apt/lists/*"
    )


def _copy(part: Part) -> str:
    return f"# {part.about}\nCOPY {part.folder} {part.place}"


def _assignments(instruction: str, values: Mapping[str, str]) -> str:
    return "\n".join(f"{instruction} {name}={_quoted(value)}" for name, value in values.items())


def _quoted(value: str) -> str:
    """A value in double quotes, in which a Dockerfile puts variables and escapes."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return '"' + escaped.replace("\n", "\\n") + '"'


def _commands(commands: Sequence[str], run: str) -> str:
    if not commands:
        return ""
    return "\n".join([f"WORKDIR {contents.APP}", *(f"{run} {command}" for command in commands)])


def _start(settings: ImageConfig) -> str:
    lines = [f"WORKDIR {settings.working_dir}", f"USER {settings.user}"]
    lines += [f"EXPOSE {port}" for port in settings.ports]
    lines += [f"STOPSIGNAL {settings.stop_signal}", f"ENTRYPOINT {json.dumps(list(settings.entrypoint))}"]
    return "\n".join([*lines, "CMD []"])
