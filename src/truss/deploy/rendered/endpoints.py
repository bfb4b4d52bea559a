"""Hugging Face: an Inference Endpoint that runs the image.

Its form: https://huggingface.co/docs/huggingface_hub/guides/inference_endpoints, custom images:
https://huggingface.co/docs/inference-endpoints/engines/custom_container.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

from truss.deploy.options import check_copies, refuse_unused
from truss.deploy.plan import File, Plan, Price
from truss.deploy.release import PORT, READY, Release
from truss.deploy.rendered.base import refuse_connection, rendered_plan
from truss.deploy.sizes import GIB, Size, enough, gibibytes
from truss.deploy.target import Feature, Options, option
from truss.errors import PlanError

_COMMAND = "python endpoint.py"

_LONGEST_NAME = 32

# https://huggingface.co/docs/inference-endpoints/support/pricing, Amazon's regions, the cheapest first.
_CPU_SIZES = tuple(
    Size(f"intel-spr x{cpus}", cpus, 2 * cpus * GIB, hourly=price)
    for cpus, price in ((1, 0.033), (2, 0.067), (4, 0.134), (8, 0.268), (16, 0.536))
)
_GPU_PRICES = {
    "T4": {1: 0.5, 4: 3.0},
    "L4": {1: 0.8, 4: 3.8},
    "A10G": {1: 1.0, 4: 5.0},
    "L40S": {1: 1.8, 4: 8.3, 8: 23.5},
    "A100": {1: 2.5, 2: 5.0, 4: 10.0, 8: 20.0},
    "H200": {1: 5.0, 2: 10.0, 4: 20.0, 8: 40.0},
}
_GPU_SIZES = sorted(
    (
        Size(f"nvidia-{kind.lower()} x{count}", 0, 0, kind, count, price)
        for kind, prices in _GPU_PRICES.items()
        for count, price in prices.items()
    ),
    key=lambda size: size.hourly,
)


class EndpointsOptions(Options, frozen=True, kw_only=True):
    """What a deployment to an Inference Endpoint can be told."""

    repository: Annotated[str, option("Where its image is pushed, without a tag.")] = ""
    region: Annotated[str, option("The region of Amazon's where it runs.")] = "us-east-1"
    access: Annotated[str, option("Who may ask: authenticated, public or private.")] = "authenticated"
    min_replicas: Annotated[int, option("How many copies run at least; 0: none without requests.")] = 1
    max_replicas: Annotated[int, option("How many copies run at most.")] = 2
    idle_minutes: Annotated[int, option("Minutes without requests after which none runs.")] = 15
    hub_repository: Annotated[
        str, option("A model of the hub: the platform wants one, and mounts it. The image does not read it.")
    ] = "hf-internal-testing/tiny-random-bert"


class EndpointsTarget:
    """See the module."""

    name = "huggingface-endpoints"
    summary = "an Inference Endpoint of Hugging Face, from the image"
    options = EndpointsOptions
    features = frozenset(
        {Feature.GPU, Feature.AUTOSCALING, Feature.SCALE_TO_ZERO, Feature.SECRETS, Feature.STREAMING}
    )

    def repository(self, options: EndpointsOptions) -> str | None:
        """What the user says."""
        return options.repository

    def plan(self, release: Release, options: EndpointsOptions) -> Plan:
        """The program that asks for the endpoint."""
        _check(release, options)
        size, note = _size(release)
        price = Price(
            size.hourly * 730 * options.min_replicas,
            f"{options.min_replicas} x {size.name} that runs all the time"
            if options.min_replicas
            else f"no copies; {size.name} costs ${size.hourly:g} an hour while it runs",
            "2025",
        )
        file = File("endpoint.py", _program(release, options, size))
        notes = (note, *_notes(release, options, size))
        return rendered_plan(self.name, release, [file], _COMMAND, notes, price=price)

    def connect(self, options: EndpointsOptions) -> NoReturn:  # noqa: ARG002  # the protocol's signature
        """Raises: the program that the plan renders applies it."""
        refuse_connection(self.name, _COMMAND)


def _check(release: Release, options: EndpointsOptions) -> None:
    if len(release.name) > _LONGEST_NAME:
        raise PlanError(
            f"{release.name!r} is too long for the name of an Inference Endpoint",
            where="--name",
            hint=f"give it a name of up to {_LONGEST_NAME} characters with --name",
        )
    if options.access not in {"authenticated", "public", "private"}:
        raise PlanError(
            f"{options.access!r} is no kind of access",
            where="--access",
            hint="write authenticated, public or private",
        )
    check_copies(options, EndpointsTarget.name, "min_replicas", "max_replicas")
    if options.min_replicas:
        hint = "leave it out, or let it go down to none: --min-replicas 0"
        refuse_unused(options, EndpointsTarget.name, ["idle_minutes"], "where a copy always runs", hint)


def _size(release: Release) -> tuple[Size, str]:
    # Main memory and cores of the machines with GPUs are not published: they cannot decide.
    machines = (dataclasses.replace(size, cpu=release.cpu, memory=release.memory) for size in _GPU_SIZES)
    return enough(release, (*_CPU_SIZES, *machines), "Inference Endpoints")


def _program(release: Release, options: EndpointsOptions, size: Size) -> str:
    instance, _, count = size.name.partition(" ")
    settings: dict[str, Any] = {
        "repository": options.hub_repository,
        "framework": "custom",
        "custom_image": {"url": release.image, "port": PORT, "healthRoute": READY},
        "env": {**release.environment, "PORT": str(PORT)},
        "accelerator": "gpu" if size.gpu else "cpu",
        "instance_type": instance,
        "instance_size": count,
        "min_replica": options.min_replicas,
        "max_replica": max(options.min_replicas, options.max_replicas),
        "scale_to_zero_timeout": options.idle_minutes if options.min_replicas == 0 else None,
    }
    new = {"vendor": "aws", "region": options.region, "type": options.access}
    listed = "".join(f"    {key!r}: {value!r},\n" for key, value in settings.items())
    return (
        f'"""The model {release.name} on Hugging Face\'s Inference Endpoints: `{_COMMAND}`."""\n\n'
        "import os\n\n"
        "from huggingface_hub import HfApi, errors\n\n"
        f"NAME = {release.name!r}\n"
        f"SECRETS = {list(release.secret_variables)!r}  # variables that hold their values\n"
        f"SETTINGS = {{\n{listed}}}\n"
        f"NEW = {new!r}  # what stays as it was made\n"
        "HINT = 'set HF_TOKEN to a token that may write endpoints'\n\n\n"
        "def main() -> None:\n"
        '    """Make the endpoint, or bring it up to date, and wait until it answers."""\n'
        "    if missing := [name for name in SECRETS if name not in os.environ]:\n"
        "        raise SystemExit('set the values of the secrets first: ' + ', '.join(missing))\n"
        "    settings = {**SETTINGS, 'secrets': {name: os.environ[name] for name in SECRETS}}\n"
        "    api = HfApi()\n"
        "    try:\n"
        "        api.get_inference_endpoint(NAME)\n"
        "    except errors.HfHubHTTPError as error:\n"
        "        if error.response.status_code != 404:\n"
        "            raise\n"
        "        endpoint = api.create_inference_endpoint(NAME, **settings, **NEW)\n"
        "    else:\n"
        "        endpoint = api.update_inference_endpoint(NAME, **settings)\n"
        "    print(endpoint.wait().url)\n\n\n"
        'if __name__ == "__main__":\n'
        "    try:\n"
        "        main()\n"
        "    except errors.LocalTokenNotFoundError:\n"
        "        raise SystemExit(f'there is no token of Hugging Face: {HINT}') from None\n"
        "    except errors.HfHubHTTPError as error:\n"
        "        hint = f': {HINT}' if error.response.status_code in (401, 403) else ''\n"
        "        raise SystemExit(f'Hugging Face refuses: {error}{hint}') from None\n"
        "    except errors.InferenceEndpointError as error:\n"
        "        raise SystemExit(f'{error}: see the logs on the page of {NAME}') from None\n"
    )


def _notes(release: Release, options: EndpointsOptions, size: Size) -> Iterator[str]:
    if size.gpu:
        yield (
            f"{size.name}: {size.gpus} {size.gpu} GPU{'s' if size.gpus > 1 else ''}; its main memory is not "
            f"published: look whether it has {gibibytes(release.memory)}"
        )
    if options.min_replicas == 0:
        yield "the first request after a pause waits until a copy has started, with 503 until then"
    if release.secrets:
        names = ", ".join(release.secret_variables)
        yield f"the program reads the secrets' values from its own environment: set {names}"
