"""The keys of `config.yaml`: names, types, defaults, meaning.

The types are the single source: reading checks against them, the JSON schema and the reference page
are generated from them. Names and meaning are those of the original project's config files, of 2022
and of today; what is ours alone stands under `runtime` (see `Runtime`).

Each field is annotated with a description and, where its type alone does not say enough, with a
`pattern` or bounds. `extra={"expects": ...}` puts a pattern into words.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

ACCELERATORS = (
    "T4", "L4", "A10G", "V100", "A100", "A100_40GB", "H100", "H100_40GB", "H200", "B200", "B300", "GB300",
    "L40S", "RTX_PRO_6000",
)  # fmt: skip

_CPU = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)m?$"
_SIZE = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
_SECRET_NAME = r"^(?!\.\.?$)[-._a-zA-Z0-9]{1,253}$"
_ACCELERATOR = rf"^({'|'.join(ACCELERATORS)})(:[1-9][0-9]*)?$"
_PYTHON = r"^(py3(7|8|9|1[0-4])|3\.(7|8|9|1[0-4])(\.[0-9]+)?)$"

Size = Annotated[
    str,
    Meta(
        pattern=_SIZE,
        extra={"expects": "a size: a number of bytes, or a number with k M G T P E Ki Mi Gi Ti Pi Ei"},
    ),
]
SecretName = Annotated[
    str,
    Meta(pattern=_SECRET_NAME, extra={"expects": "1 to 253 letters, digits, '-', '.', '_'; not '.' or '..'"}),
]
Text = Annotated[str, Meta(min_length=1, extra={"expects": "text, not empty"})]


class Section(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A mapping of the config. Keys that no field names are kept in `unknown`, never dropped."""

    unknown: dict[str, Any] = {}


class FabricRequirement(Section, frozen=True, kw_only=True):
    """`resources.fabric`."""

    use_rdma: Annotated[bool | None, Meta(description="Whether nodes need RDMA between them.")] = None
    preferences: Annotated[list[str] | None, Meta(description="Fabrics to prefer, best first.")] = None


class Resources(Section, frozen=True, kw_only=True):
    """`resources`: what the model needs to run."""

    cpu: Annotated[
        str,
        Meta(
            pattern=_CPU,
            description="CPUs: a number, or thousandths with `m` (`500m` is half a CPU).",
            extra={"expects": "a number of CPUs, or thousandths such as 500m"},
        ),
    ] = "1"
    memory: Annotated[Size, Meta(description="Memory, e.g. `2Gi`.")] = "2Gi"
    use_gpu: Annotated[bool, Meta(description="Whether a GPU is needed; implied by `accelerator`.")] = False
    accelerator: Annotated[
        Annotated[
            str,
            Meta(
                pattern=_ACCELERATOR,
                extra={"expects": f"a GPU type, with ':COUNT' for several: {', '.join(ACCELERATORS)}"},
            ),
        ]
        | None,
        Meta(description="GPU type, with `:COUNT` for several, e.g. `A100:2`."),
    ] = None
    instance_type: Annotated[
        str | None, Meta(description="A platform's instance type; overrides the above there.")
    ] = None
    node_count: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Nodes of one deployment, for models that span several."),
    ] = None
    fabric: Annotated[FabricRequirement | None, Meta(description="Network between the nodes.")] = None


class Transport(Section, frozen=True, kw_only=True):
    """`runtime.transport`."""

    kind: Annotated[
        Literal["http", "websocket", "grpc"], Meta(description="How clients talk to the model.")
    ] = "http"
    ping_interval_seconds: Annotated[float | None, Meta(description="WebSocket: seconds between pings.")] = (
        None
    )
    ping_timeout_seconds: Annotated[
        float | None, Meta(description="WebSocket: seconds to wait for a pong.")
    ] = None


class HealthChecks(Section, frozen=True, kw_only=True):
    """`runtime.health_checks`: how a platform should react to failing health."""

    restart_check_delay_seconds: Annotated[
        int | None, Meta(description="Wait before checks may restart.")
    ] = None
    restart_threshold_seconds: Annotated[int | None, Meta(description="Unhealthy this long: restart.")] = None
    stop_traffic_threshold_seconds: Annotated[
        int | None, Meta(description="Unhealthy this long: no traffic.")
    ] = None
    startup_threshold_seconds: Annotated[int | None, Meta(description="Longest time to become ready.")] = None


class OIDC(Section, frozen=True, kw_only=True):
    """`runtime.oidc`."""

    enabled: Annotated[
        bool | None, Meta(description="Whether the model gets an OIDC token; null: the platform's way.")
    ] = None


class RemoteSSH(Section, frozen=True, kw_only=True):
    """`runtime.remote_ssh`."""

    enabled: Annotated[bool, Meta(description="Whether a platform may offer SSH into the running model.")] = (
        False
    )


class EgressRestrictions(Section, frozen=True, kw_only=True):
    """`runtime.egress_restrictions`."""

    ip_allow_list: Annotated[
        list[str] | None, Meta(description="IPv4 addresses or CIDR ranges that may be reached.")
    ] = None
    fqdn_allow_list: Annotated[
        list[str] | None, Meta(description="Host names that may be reached; `*` matches.")
    ] = None


class Batching(Section, frozen=True, kw_only=True):
    """`runtime.batching`: joining of concurrent requests."""

    mode: Annotated[
        Literal["none", "rows", "requests"],
        Meta(
            description="`rows` joins the inputs of concurrent requests and splits the answer; `requests` "
            "gives them to the model's `predict_batch` as a list; `none` runs them one by one."
        ),
    ] = "none"
    max_rows: Annotated[int, Meta(ge=1, description="Most rows in one run of the model.")] = 1024
    max_requests: Annotated[int, Meta(ge=1, description="Most requests handed to a worker at once.")] = 128
    max_bytes: Annotated[Size, Meta(description="Most bytes of request bodies handed over at once.")] = "16Mi"


class Queue(Section, frozen=True, kw_only=True):
    """`runtime.queue`: requests waiting for a worker."""

    max_requests: Annotated[
        int, Meta(ge=1, description="Most requests waiting; the next is answered with 429.")
    ] = 2048


class Timeouts(Section, frozen=True, kw_only=True):
    """`runtime.timeouts`, in seconds."""

    request: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Longest time from a request's arrival to its answer; null: no limit."),
    ] = None
    load: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Longest time to load the model; null: no limit."),
    ] = None
    grace: Annotated[
        float, Meta(ge=0, description="Time to answer what was accepted after the signal to stop.")
    ] = 30.0


class Runtime(Section, frozen=True, kw_only=True):
    """`runtime`: how the model is served."""

    workers: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Copies of the model, a process each; null: one per GPU, else one."),
    ] = None
    predict_concurrency: Annotated[
        int, Meta(ge=1, description="Requests that an async model works on at a time, per worker.")
    ] = 1
    batching: Annotated[Batching, Meta(description="Joining of concurrent requests.")] = Batching()
    queue: Annotated[Queue, Meta(description="Requests waiting for a worker.")] = Queue()
    timeouts: Annotated[Timeouts, Meta(description="Time limits.")] = Timeouts()
    max_body: Annotated[Size, Meta(description="Largest request body.")] = "100Mi"
    memory_limit: Annotated[
        Size | None,
        Meta(description="Memory a worker may use; one that uses more is replaced. null: no limit."),
    ] = None
    idempotent: Annotated[
        bool, Meta(description="Whether a request whose worker died may be run once more.")
    ] = False
    exit_on_load_failure: Annotated[
        bool, Meta(description="End the server when the model cannot be loaded, instead of trying again.")
    ] = False
    replay_examples: Annotated[
        bool, Meta(description="Run the examples that have an expected answer before reporting ready.")
    ] = False
    debug: Annotated[bool, Meta(description="Send tracebacks to clients. Not for production.")] = False
    streaming_read_timeout: Annotated[
        int, Meta(ge=0, description="Seconds to wait for a chunk of a stream.")
    ] = 60
    enable_tracing_data: Annotated[bool, Meta(description="Whether to trace requests.")] = False
    enable_debug_logs: Annotated[bool, Meta(description="Whether to log at debug level.")] = False
    transport: Annotated[Transport, Meta(description="How clients talk to the model.")] = Transport()
    is_websocket_endpoint: Annotated[
        bool | None, Meta(description="Old form of `transport.kind: websocket`.")
    ] = None
    health_checks: Annotated[HealthChecks, Meta(description="Reaction to failing health.")] = HealthChecks()
    oidc: Annotated[OIDC, Meta(description="OIDC token for the model.")] = OIDC()
    remote_ssh: Annotated[RemoteSSH, Meta(description="SSH into the running model.")] = RemoteSSH()
    egress_restrictions: Annotated[
        EgressRestrictions | None, Meta(description="What the model may reach.")
    ] = None
    truss_server_version_override: Annotated[
        str | None, Meta(description="Server version of the original project to deploy with.")
    ] = None


class Build(Section, frozen=True, kw_only=True):
    """`build`: how the image is made."""

    model_server: Annotated[
        Literal["TrussServer", "TRT_LLM"], Meta(description="Which server the image runs.")
    ] = "TrussServer"
    arguments: Annotated[dict[str, Any], Meta(description="Arguments of that server.")] = {}
    secret_to_path_mapping: Annotated[
        dict[SecretName, str], Meta(description="Secrets mounted at a path while the image is built.")
    ] = {}


class CloudAuth(Section, frozen=True, kw_only=True):
    """Ways to prove who we are to a cloud; a base of the sections that need one."""

    aws_oidc_role_arn: Annotated[str | None, Meta(description="AWS role to assume through OIDC.")] = None
    aws_oidc_region: Annotated[str | None, Meta(description="AWS region of that role.")] = None
    gcp_oidc_service_account: Annotated[
        str | None, Meta(description="Google service account through OIDC.")
    ] = None
    gcp_oidc_workload_id_provider: Annotated[
        str | None, Meta(description="Google workload identity provider.")
    ] = None
    aws_assume_role_arn: Annotated[str | None, Meta(description="AWS role to assume.")] = None
    aws_assume_role_region: Annotated[str | None, Meta(description="AWS region of that role.")] = None


class DockerAuth(CloudAuth, frozen=True, kw_only=True):
    """`base_image.docker_auth`: how to log in to the base image's registry."""

    auth_method: Annotated[
        Literal[
            "GCP_SERVICE_ACCOUNT_JSON",
            "AWS_IAM",
            "AWS_OIDC",
            "GCP_OIDC",
            "REGISTRY_SECRET",
            "AWS_ASSUME_ROLE",
        ],
        Meta(description="How to log in."),
    ]
    registry: Annotated[str | None, Meta(description="The registry's host.")] = ""
    secret_name: Annotated[str | None, Meta(description="The secret that holds the credentials.")] = None
    aws_access_key_id_secret_name: Annotated[str, Meta(description="AWS_IAM: secret of the key id.")] = (
        "aws_access_key_id"
    )
    aws_secret_access_key_secret_name: Annotated[
        str, Meta(description="AWS_IAM: secret of the access key.")
    ] = "aws_secret_access_key"


class BaseImage(Section, frozen=True, kw_only=True):
    """`base_image`: the image to build on."""

    image: Annotated[str, Meta(description="Its reference.")] = ""
    python_executable_path: Annotated[
        str,
        Meta(
            pattern=r"^(/.*)?$",
            description="Absolute path of Python in it; empty: `python3` on its path.",
            extra={"expects": "an absolute path"},
        ),
    ] = ""
    docker_auth: Annotated[DockerAuth | None, Meta(description="How to log in to its registry.")] = None


class DockerServer(Section, frozen=True, kw_only=True):
    """`docker_server`: another HTTP server in place of a model class."""

    server_port: Annotated[int, Meta(ge=1, le=65535, description="The port it listens on.")]
    predict_endpoint: Annotated[str, Meta(description="Its route for predictions.")]
    readiness_endpoint: Annotated[str, Meta(description="Its route that says whether it is ready.")]
    liveness_endpoint: Annotated[str, Meta(description="Its route that says whether it is alive.")]
    start_command: Annotated[
        str | None, Meta(description="The command that starts it; required unless `no_build`.")
    ] = None
    run_as_user_id: Annotated[int | None, Meta(description="The user id it runs as.")] = None
    no_build: Annotated[bool | None, Meta(description="Use the base image as it is.")] = None


class ExternalDataItem(Section, frozen=True, kw_only=True):
    """An entry of `external_data`."""

    url: Annotated[Text, Meta(description="Where to download the file from.")]
    local_data_path: Annotated[Text, Meta(description="Where to put it, relative to the data directory.")]
    backend: Annotated[str, Meta(description="How to download it.")] = "http_public"
    name: Annotated[str | None, Meta(description="A name for messages.")] = None


class ModelRepo(Section, frozen=True, kw_only=True):
    """An entry of `model_cache`."""

    repo_id: Annotated[Text, Meta(description="The repository or bucket path.")]
    revision: Annotated[str, Meta(description="Its revision; empty: the default one.")] = ""
    allow_patterns: Annotated[list[str] | None, Meta(description="Files to take; null: all.")] = None
    ignore_patterns: Annotated[list[str] | None, Meta(description="Files to leave out.")] = None
    volume_folder: Annotated[str | None, Meta(description="Folder name below the cache.")] = None
    use_volume: Annotated[bool, Meta(description="Fetch at start rather than at build.")] = False
    kind: Annotated[Literal["hf", "gcs", "s3", "azure"], Meta(description="Where it is.")] = "hf"
    runtime_secret_name: Annotated[str, Meta(description="The secret to fetch it with.")] = "hf_access_token"


class WeightsAuth(CloudAuth, frozen=True, kw_only=True):
    """`weights[].auth`."""

    auth_method: Annotated[
        Literal["CUSTOM_SECRET", "AWS_OIDC", "GCP_OIDC", "AWS_ASSUME_ROLE"],
        Meta(description="How to log in."),
    ]
    auth_secret_name: Annotated[str | None, Meta(description="CUSTOM_SECRET: the secret's name.")] = None


class WeightsSource(Section, frozen=True, kw_only=True):
    """An entry of `weights`."""

    source: Annotated[
        str,
        Meta(
            pattern=r"^(hf|s3|gs|azure|r2|cw|https|bdn)://.+",
            description="Where the weights are, as a URL.",
            extra={"expects": "a URL of hf://, s3://, gs://, azure://, r2://, cw:// or https://"},
        ),
    ]
    mount_location: Annotated[
        str,
        Meta(
            pattern="^/.*", description="Where the model finds them.", extra={"expects": "an absolute path"}
        ),
    ]
    auth: Annotated[WeightsAuth | None, Meta(description="How to log in.")] = None
    auth_secret_name: Annotated[str | None, Meta(description="Short for `auth` with a secret.")] = None
    allow_patterns: Annotated[list[str] | None, Meta(description="Files to take; null: all.")] = None
    ignore_patterns: Annotated[list[str] | None, Meta(description="Files to leave out.")] = None


class Train(Section, frozen=True, kw_only=True):
    """`train`, of the 2022 format: kept, not used."""

    training_class_filename: Annotated[str, Meta(description="File of the training class.")] = "train.py"
    training_class_name: Annotated[str, Meta(description="Name of the training class.")] = "Train"
    training_module_dir: Annotated[str, Meta(description="Folder of its module.")] = "train"
    variables: Annotated[dict[str, Any], Meta(description="Variables of a training run.")] = {}
    resources: Annotated[Resources, Meta(description="What training needs.")] = Resources()


class TrussConfig(Section, frozen=True, kw_only=True):
    """All of `config.yaml`. Every key is optional: an empty file is a valid config."""

    model_name: Annotated[str | None, Meta(description="Name shown to people.")] = None
    description: Annotated[str | None, Meta(description="What the model does.")] = None
    model_framework: Annotated[
        str,
        Meta(description="What the model was made with: `sklearn`, `huggingface_transformer`, or `custom`."),
    ] = "custom"
    model_type: Annotated[str, Meta(description="Subtype of that, e.g. the task of a pipeline.")] = "Model"
    model_metadata: Annotated[dict[str, Any], Meta(description="Free; the model class may read it.")] = {}
    model_module_dir: Annotated[Text, Meta(description="Folder of the model class.")] = "model"
    model_class_filename: Annotated[Text, Meta(description="File of the model class.")] = "model.py"
    model_class_name: Annotated[Text, Meta(description="Name of the model class.")] = "Model"
    data_dir: Annotated[Text, Meta(description="Folder of the model's files.")] = "data"
    bundled_packages_dir: Annotated[Text, Meta(description="Folder of Python packages shipped along.")] = (
        "packages"
    )
    external_package_dirs: Annotated[
        list[str], Meta(description="Folders outside the Truss to import packages from, relative to it.")
    ] = []
    examples_filename: Annotated[Text, Meta(description="File of example inputs.")] = "examples.yaml"
    input_type: Annotated[str, Meta(description="What the model takes, for people.")] = "Any"
    python_version: Annotated[
        Annotated[str, Meta(pattern=_PYTHON, extra={"expects": "py37 to py314, or 3.7 to 3.14"})] | None,
        Meta(description="Python version, e.g. `py311` or `3.11`; null: the one that packages or builds it."),
    ] = None
    requirements: Annotated[
        list[str], Meta(description="Python packages, as lines of a requirements file.")
    ] = []
    requirements_file: Annotated[
        str | None, Meta(description="A requirements file to read instead of `requirements`.")
    ] = None
    system_packages: Annotated[list[str], Meta(description="Debian packages.")] = []
    environment_variables: Annotated[
        dict[str, str], Meta(description="Environment variables of the model. Not for secrets.")
    ] = {}
    secrets: Annotated[
        dict[SecretName, str | None],
        Meta(description="Secrets the model needs, by name, with a harmless default."),
    ] = {}
    resources: Annotated[Resources, Meta(description="What the model needs to run.")] = Resources()
    runtime: Annotated[Runtime, Meta(description="How the model is served.")] = Runtime()
    build: Annotated[Build, Meta(description="How the image is made.")] = Build()
    build_commands: Annotated[
        list[str], Meta(description="Shell commands run while the image is built.")
    ] = []
    base_image: Annotated[BaseImage | None, Meta(description="The image to build on.")] = None
    docker_server: Annotated[
        DockerServer | None, Meta(description="Another server in place of a model class.")
    ] = None
    external_data: Annotated[
        list[ExternalDataItem] | None, Meta(description="Files to download into the data directory.")
    ] = None
    model_cache: Annotated[
        list[ModelRepo], Meta(description="Model repositories to fetch; see `weights`.")
    ] = []
    weights: Annotated[list[WeightsSource], Meta(description="Weights to fetch.")] = []
    live_reload: Annotated[bool, Meta(description="Whether a running container takes over code edits.")] = (
        False
    )
    apply_library_patches: Annotated[bool, Meta(description="Kept for the original project's server.")] = True
    use_local_src: Annotated[bool, Meta(description="Kept for the original project's builder.")] = False
    spec_version: Annotated[str, Meta(description="Version of the format.")] = "2.0"
    train: Annotated[Train, Meta(description="Training, of the 2022 format.")] = Train()
    bdn: Annotated[dict[str, Any], Meta(description="The original platform's weight delivery.")] = {}
    trt_llm: Annotated[dict[str, Any] | None, Meta(description="TensorRT-LLM, on the original platform.")] = (
        None
    )
    bis_llm: Annotated[dict[str, Any] | None, Meta(description="The original platform's LLM stack.")] = None
    training_checkpoints: Annotated[
        dict[str, Any] | None, Meta(description="Deploying from the original platform's training.")
    ] = None
    cache_internal: Annotated[list[Any], Meta(description="The original platform's own cache.")] = []
    deploy: Annotated[dict[str, Any], Meta(description="Options per deployment target.")] = {}


_UNITS = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip


def parse_size(text: str) -> int:
    """A size such as `100Mi`, `1.5G` or `4096`, in bytes (rounded up).

    Raises:
        ValueError: not a size.
    """
    number = text.rstrip("kKMGTPEi")
    unit = text[len(number) :]
    if unit not in _UNITS:
        raise ValueError(f"{text!r} is not a size")
    return -int(-float(number) * _UNITS[unit] // 1)
