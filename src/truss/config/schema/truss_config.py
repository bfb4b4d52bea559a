"""The whole of config.yaml, its keys in the order that new files have them in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from truss.config.schema.image import BaseImage, Build, DockerServer
from truss.config.schema.resources import Resources, Train
from truss.config.schema.runtime import Runtime
from truss.config.schema.section import (
    ENVIRONMENT_VALUE,
    PYTHON_VERSION,
    SECRET_NAME,
    Complaint,
    Section,
    doc,
    repeated,
)
from truss.config.schema.signature import Signature
from truss.config.schema.trt_llm import BisLlm, TrtLlm
from truss.config.schema.weights import (
    Bdn,
    CachedRepo,
    ExternalDataItem,
    TrainingCheckpoints,
    WeightsSource,
)


class TrussConfig(Section, frozen=True, kw_only=True):
    """What config.yaml says, with the default of every key that it leaves out."""

    model_name: Annotated[str | None, doc("The model's name, for people.", "2022")] = None
    description: Annotated[str | None, doc("What the model does, for people.", "2022")] = None
    model_framework: Annotated[
        str, doc("The framework that wrote the model class: `sklearn`, ...; `custom`: a person did.", "2022")
    ] = "custom"
    model_type: Annotated[str, doc("The kind of model within its framework.", "2022")] = "Model"
    model_metadata: Annotated[
        dict[str, Any], doc("Whatever the model class wants to know; it gets the whole config.", "2022")
    ] = {}
    signature: Annotated[
        Signature, doc("What the inputs of a request hold; one that does not fit is answered 400.", "truss")
    ] = msgspec.field(default_factory=Signature)
    input_type: Annotated[str, doc("What a request holds, for people.", "2022")] = "Any"

    python_version: Annotated[
        Annotated[str, PYTHON_VERSION] | None,
        doc("The Python of the image: `py37` to `py314`, or `3.11`; null: the one that runs here.", "2022"),
    ] = None
    requirements: Annotated[
        list[str], doc("Python packages, each a line as pip takes it. Not with `requirements_file`.", "2022")
    ] = []
    requirements_file: Annotated[
        str | None,
        doc("A requirements.txt, pyproject.toml or uv.lock in the Truss, instead of `requirements`."),
    ] = None
    system_packages: Annotated[list[str], doc("Debian packages.", "2022")] = []
    environment_variables: Annotated[
        dict[str, Annotated[str, ENVIRONMENT_VALUE]],
        doc("The model's environment. Numbers are spelled out, `true` and `false` become text.", "2022"),
    ] = {}
    secrets: Annotated[
        dict[Annotated[str, SECRET_NAME], str | None],
        doc("Secrets the model may read: name -> default, which is no place for the real value.", "2022"),
    ] = {}
    resources: Annotated[Resources, doc("What one copy of the model needs to run.", "2022")] = msgspec.field(
        default_factory=Resources
    )
    runtime: Annotated[Runtime, doc("How the server runs the model.")] = msgspec.field(
        default_factory=Runtime
    )

    model_module_dir: Annotated[str, doc("The folder of the model class.", "2022")] = "model"
    model_class_filename: Annotated[str, doc("The file of the model class.", "2022")] = "model.py"
    model_class_name: Annotated[str, doc("The model class.", "2022")] = "Model"
    data_dir: Annotated[str, doc("The folder of weights and other data.", "2022")] = "data"
    bundled_packages_dir: Annotated[
        str, doc("The folder of modules that the model class imports.", "2022")
    ] = "packages"
    external_package_dirs: Annotated[
        list[str], doc("Folders of modules outside of the Truss, relative to it.")
    ] = []
    examples_filename: Annotated[str, doc("The file of example requests.", "2022")] = "examples.yaml"

    build: Annotated[Build, doc("How the image is built.")] = msgspec.field(default_factory=Build)
    build_commands: Annotated[list[str], doc("Shell commands that run while the image is built.")] = []
    base_image: Annotated[BaseImage | None, doc("An image of your own to build on.")] = None
    docker_server: Annotated[
        DockerServer | None, doc("A server of your own in the image, instead of a model class.")
    ] = None
    external_data: Annotated[
        list[ExternalDataItem] | None,
        doc("Files that are fetched into `data_dir`, for the image by default."),
    ] = None
    model_cache: Annotated[
        list[CachedRepo], doc("Weights that are fetched from a store. Not with `weights`.")
    ] = []
    weights: Annotated[
        list[WeightsSource], doc("Weights that are fetched when the server starts, by default.")
    ] = []
    bdn: Annotated[Bdn, doc("Volumes of one vendor's delivery network.")] = msgspec.field(default_factory=Bdn)
    cache_internal: Annotated[list[CachedRepo], doc("As `model_cache`; one vendor's own use.")] = []
    trt_llm: Annotated[TrtLlm | None, doc("An engine that one vendor's platform builds and runs.")] = None
    bis_llm: Annotated[BisLlm | None, doc("A language model deployment on one vendor's platform.")] = None
    training_checkpoints: Annotated[
        TrainingCheckpoints | None, doc("Checkpoints of one vendor's training jobs.")
    ] = None
    train: Annotated[Train, doc("How the model is trained.", "2022")] = msgspec.field(default_factory=Train)

    deploy: Annotated[
        dict[str, dict[str, Any]], doc("Options of targets, by the target's name: `truss targets`.", "truss")
    ] = {}

    live_reload: Annotated[bool, doc("Whether a server takes up changed code.", "2022")] = False
    apply_library_patches: Annotated[bool, doc("Whether known faults of libraries are worked around.")] = True
    use_local_src: Annotated[bool, doc("For the original's developers.")] = False
    spec_version: Annotated[str, doc("The version of this format.", "2022")] = "2.0"

    def complaints(self) -> Iterator[Complaint]:
        """What cannot be said together."""
        if self.requirements and self.requirements_file:
            yield Complaint(
                "requirements_file",
                "cannot be combined with `requirements`",
                "one of the two",
                "move the list into the file, or remove `requirements_file`",
            )
        if self.model_cache and self.weights:
            yield Complaint("model_cache", "cannot be combined with `weights`", hint="keep one of the two")
        if len({repo.use_volume for repo in self.model_cache}) > 1:
            yield Complaint("model_cache", "has entries with and without `use_volume`", "all alike")
        yield from repeated("weights", "mount_location", [source.mount_location for source in self.weights])
        runs_as_other = self.docker_server is not None and self.docker_server.run_as_user_id is not None
        if runs_as_other and self.runtime.remote_ssh.enabled:
            yield Complaint("docker_server", "cannot set `run_as_user_id` with `runtime.remote_ssh.enabled`")
        if self.docker_server is not None and self.runtime.grpc.port is not None:
            yield Complaint(
                "docker_server",
                "cannot be combined with `runtime.grpc.port`, which is for model classes",
                hint="remove `runtime.grpc`; a server that speaks gRPC listens for it on a port of its own",
            )
