"""Modal: the image's server as a web endpoint that scales with its requests.

Its form: https://modal.com/docs/reference/modal.web_server and https://modal.com/docs/guide/existing-images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NoReturn

from truss.deploy.options import check_copies
from truss.deploy.plan import File, Plan
from truss.deploy.release import PORT, Release
from truss.deploy.rendered.base import refuse_connection, rendered_plan
from truss.deploy.sizes import MIB
from truss.deploy.target import Feature, Options, option
from truss.errors import PlanError

_COMMAND = "modal deploy modal_app.py"

_GPUS = frozenset({"T4", "L4", "A10G", "A100", "A100_40GB", "L40S", "H100", "H200", "B200", "RTX_PRO_6000"})
_OTHER_NAMES = {"A100": "A100-80GB", "A100_40GB": "A100-40GB", "RTX_PRO_6000": "RTX-PRO-6000"}
_MOST_GPUS = 8


class ModalOptions(Options, frozen=True, kw_only=True):
    """What a deployment to Modal can be told."""

    repository: Annotated[str, option("Where its image is pushed, without a tag.")] = ""
    registry_secret: Annotated[str, option("Modal's secret with the registry's user and password.")] = ""
    min_containers: Annotated[int, option("How many copies run without requests.")] = 0
    max_containers: Annotated[int, option("How many copies run at most.")] = 10
    concurrency: Annotated[int, option("Requests at a copy at a time, above which another starts.")] = 32
    timeout: Annotated[int, option("Seconds that an answer may take.")] = 300


class ModalTarget:
    """See the module."""

    name = "modal"
    summary = "Modal, an app for its command line"
    options = ModalOptions
    features = frozenset(
        {Feature.GPU, Feature.AUTOSCALING, Feature.SCALE_TO_ZERO, Feature.SECRETS, Feature.STREAMING}
    )

    def repository(self, options: ModalOptions) -> str | None:
        """What the user says."""
        return options.repository

    def plan(self, release: Release, options: ModalOptions) -> Plan:
        """The app's file."""
        check_copies(options, self.name, "min_containers", "max_containers")
        file = File("modal_app.py", _app(release, options))
        return rendered_plan(self.name, release, [file], _COMMAND, tuple(_notes(release)))

    def connect(self, options: ModalOptions) -> NoReturn:  # noqa: ARG002  # the protocol's signature
        """Raises: Modal's own command line applies the plan."""
        refuse_connection(self.name, _COMMAND)


def _app(release: Release, options: ModalOptions) -> str:
    arguments = [
        "image=image",
        f"cpu={release.cpu!r}",
        f"memory={-(-release.memory // MIB)}",
        *([f"gpu={_gpu(release)!r}"] if release.accelerator is not None else []),
        *([f"secrets=[modal.Secret.from_name({release.name!r})]"] if release.secrets else []),
        f"min_containers={options.min_containers}",
        f"max_containers={max(options.min_containers, options.max_containers)}",
        f"timeout={options.timeout}",
    ]
    secret = options.registry_secret
    private = f", secret=modal.Secret.from_name({secret!r})" if secret else ""
    environment = f".env({release.environment!r})" if release.environment else ""
    listed = "".join(f"    {argument},\n" for argument in arguments)
    return (
        f'"""The model {release.name} on Modal: `{_COMMAND}`."""\n\n'
        "import subprocess\n\n"
        "import modal\n\n"
        f"app = modal.App({release.name!r})\n"
        # Modal starts its own program first, which has to be what the image's entry point runs: nothing.
        f"image = modal.Image.from_registry({release.image!r}{private}).entrypoint([]){environment}\n\n\n"
        f"@app.function(\n{listed})\n"
        f"@modal.concurrent(max_inputs={4 * options.concurrency}, target_inputs={options.concurrency})\n"
        f"@modal.web_server({PORT}, startup_timeout=1800.0)\n"
        "def serve() -> None:\n"
        '    """Start the server; it says by itself when the model is loaded."""\n'
        '    subprocess.Popen(["python3", "-m", "truss.runtime.container", "serve"])\n'
    )


def _gpu(release: Release) -> str:
    gpus = release.accelerator
    assert gpus is not None
    if (gpus.kind and gpus.kind not in _GPUS) or gpus.count > _MOST_GPUS:
        raise PlanError(
            f"Modal has no {gpus.count} {gpus.kind} in one container",
            where="resources.accelerator",
            hint=f"up to {_MOST_GPUS} of {', '.join(sorted(_GPUS))}",
        )
    kind = _OTHER_NAMES.get(gpus.kind, gpus.kind or "any")
    return kind if gpus.count == 1 else f"{kind}:{gpus.count}"


def _notes(release: Release) -> Iterator[str]:
    if release.accelerator is not None:
        yield f"GPU: {_gpu(release)}"
    if release.secrets:
        values = " ".join(f"{variable}=VALUE" for variable in release.secret_variables)
        yield f"secrets are Modal's, which it gives as variables: modal secret create {release.name} {values}"
    yield "an answer that takes longer than 150 s goes on behind a redirect, which the client has to follow"
