"""`external_data`, `model_cache`, `weights`, `bdn`, `training_checkpoints`: files from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from truss.config import values
from truss.config.schema.image import AuthFields
from truss.config.schema.section import ABSOLUTE_PATH, NOT_EMPTY, Complaint, Section, doc, parsed, repeated
from truss.config.values import Mismatch

SCHEMES = ("hf", "s3", "gs", "azure", "r2", "cw", "https")
"""Where `weights[].source` may point to."""

SHA256 = msgspec.Meta(pattern=r"^[0-9a-fA-F]{64}$")

WEIGHTS_AUTH_METHODS = ("CUSTOM_SECRET", "AWS_OIDC", "GCP_OIDC", "AWS_ASSUME_ROLE")


def _source(value: Any, written: str | None) -> str | Mismatch:
    spelled = values.text(value, written)
    if isinstance(spelled, Mismatch):
        return spelled
    scheme, separator, rest = spelled.partition("://")
    expected = "an address that starts with " + ", ".join(f"{one}://" for one in SCHEMES)
    if not separator or scheme not in SCHEMES:
        return Mismatch(
            f"{spelled!r} has no scheme that Truss knows", expected, "write for example hf://owner/name"
        )
    if not rest or rest.startswith("/"):
        return Mismatch(f"{spelled!r} names nothing after {scheme}://", f"{scheme}://bucket/path")
    if "@" in rest and scheme not in {"hf", "https"}:
        return Mismatch(f"{spelled!r} names a revision", expected, "only hf:// addresses take @revision")
    return spelled


SOURCE = parsed(_source, pattern=f"^({'|'.join(SCHEMES)})://[^/]")


class ExternalDataItem(Section, frozen=True, kw_only=True):
    """One entry of `external_data`."""

    url: Annotated[Annotated[str, NOT_EMPTY], doc("Where the file is.")]
    local_data_path: Annotated[Annotated[str, NOT_EMPTY], doc("Where it goes, below `data_dir`.")]
    backend: Annotated[str, doc("How it is fetched.")] = "http_public"
    name: Annotated[str | None, doc("A name for it.")] = None
    sha256: Annotated[
        Annotated[str, SHA256] | None, doc("The digest it has to have, 64 hexadecimal digits.", "truss")
    ] = None
    fetch_at: Annotated[
        Literal["build", "start"],
        doc("When it is fetched: into the image, or by the server before it loads the model.", "truss"),
    ] = "build"


class CachedRepo(Section, frozen=True, kw_only=True):
    """One entry of `model_cache`."""

    repo_id: Annotated[Annotated[str, NOT_EMPTY], doc("The repository or bucket.")]
    revision: Annotated[str, doc("A branch, tag or commit of it.")] = ""
    allow_patterns: Annotated[list[str] | None, doc("Only files that match one of these.")] = None
    ignore_patterns: Annotated[list[str] | None, doc("No files that match one of these.")] = None
    volume_folder: Annotated[
        Annotated[str, NOT_EMPTY] | None, doc("The folder it is mounted as, with `use_volume`.")
    ] = None
    use_volume: Annotated[bool, doc("Fetch when the server starts, not when the image is built.")] = False
    kind: Annotated[Literal["hf", "gcs", "s3", "azure"], doc("What kind of store it is in.")] = "hf"
    runtime_secret_name: Annotated[str, doc("The secret that opens it.")] = "hf_access_token"

    def complaints(self) -> Iterator[Complaint]:
        """A volume needs a folder and, on the hub, a revision."""
        if len(self.revision) == 1:
            yield Complaint("revision", f"{self.revision!r} is too short for a revision")
        if self.use_volume and self.volume_folder is None:
            yield Complaint("use_volume", "needs `volume_folder`", hint="add `volume_folder` beside it")
        if self.use_volume and self.kind == "hf" and not self.revision:
            yield Complaint("use_volume", "needs `revision`", hint="add `revision`, best a commit")


class WeightsAuth(AuthFields, frozen=True, kw_only=True):
    """`weights[].auth`."""

    auth_method: Annotated[
        Annotated[str, parsed(values.upper_case(WEIGHTS_AUTH_METHODS), enum=list(WEIGHTS_AUTH_METHODS))],
        doc("How to log in to the store."),
    ]
    auth_secret_name: Annotated[str | None, doc("`CUSTOM_SECRET`: the secret that opens it.")] = None

    def complaints(self) -> Iterator[Complaint]:
        """Each method has keys of its own."""
        secret = ("auth_secret_name",)
        custom = self.auth_method == "CUSTOM_SECRET"
        yield from self.method_complaints(
            self.auth_method, secret if custom else (), () if custom else secret
        )


class WeightsSource(Section, frozen=True, kw_only=True):
    """One entry of `weights`."""

    source: Annotated[
        Annotated[str, SOURCE],
        doc(
            "Where they are: `hf://owner/name[@revision]`, `s3://`, `gs://`, `azure://`, `r2://`, `cw://`, `https://`."
        ),
    ]
    mount_location: Annotated[
        Annotated[str, ABSOLUTE_PATH], doc("Where they appear, as an absolute path that no other entry has.")
    ]
    auth: Annotated[WeightsAuth | None, doc("How to log in to the store.")] = None
    auth_secret_name: Annotated[str | None, doc("The secret that opens it; here or in `auth`, not both.")] = (
        None
    )
    allow_patterns: Annotated[list[str] | None, doc("Only files that match one of these.")] = None
    ignore_patterns: Annotated[list[str] | None, doc("No files that match one of these.")] = None

    sha256: Annotated[
        Annotated[str, SHA256] | None,
        doc("The digest that an `https://` file has to have, 64 hexadecimal digits.", "truss"),
    ] = None
    fetch_at: Annotated[
        Literal["build", "start"],
        doc("When they are fetched: into the image, or by the server before it loads the model.", "truss"),
    ] = "start"

    def complaints(self) -> Iterator[Complaint]:
        """One place for the secret's name; a digest is that of one file."""
        if self.sha256 and not self.source.startswith("https://"):
            yield Complaint("sha256", "is the digest of one file", "an https:// source beside it")
        if self.auth_secret_name and self.auth is not None and self.auth.auth_secret_name:
            yield Complaint("auth_secret_name", "is in `auth` as well", hint="remove one of the two")


class BdnMount(Section, frozen=True, kw_only=True):
    """One entry of `bdn.mounts`."""

    source: Annotated[
        Annotated[
            str,
            msgspec.Meta(pattern=r"^bdn:[^/:@\x00]+/[^/:@\x00]+(:[^/:@\x00]+|@(b3:)?[0-9a-fA-F]{12,64})?$"),
        ],
        doc("The volume: `bdn:namespace/volume[:tag|@digest]`."),
    ]
    path: Annotated[Annotated[str, ABSOLUTE_PATH], doc("Where it is mounted.")]
    include: Annotated[list[str], doc("Only files that match one of these.")] = []
    exclude: Annotated[list[str], doc("No files that match one of these.")] = []


class BdnAccess(Section, frozen=True, kw_only=True):
    """One entry of `bdn.access`."""

    namespace: Annotated[Annotated[str, NOT_EMPTY], doc("The namespace.")]
    grants: Annotated[
        Annotated[list[Literal["pull", "push", "tag", "inspect", "delete"]], NOT_EMPTY],
        doc("What may be done in it."),
    ]


class BdnHotload(Section, frozen=True, kw_only=True):
    """`bdn.hotload`."""

    enabled: Annotated[bool, doc("Whether data may be loaded while the model runs.")] = False


class Bdn(Section, frozen=True, kw_only=True):
    """`bdn`."""

    mounts: Annotated[list[BdnMount], doc("Volumes to mount.")] = []
    access: Annotated[list[BdnAccess], doc("What the deployment may do in which namespace.")] = []
    hotload: Annotated[BdnHotload, doc("Loading data into a running model.")] = msgspec.field(
        default_factory=BdnHotload
    )

    def complaints(self) -> Iterator[Complaint]:
        """Nothing twice."""
        yield from repeated("mounts", "path", [mount.path for mount in self.mounts])
        yield from repeated("access", "namespace", [entry.namespace for entry in self.access])


class TrainingArtifacts(Section, frozen=True, kw_only=True):
    """One entry of `training_checkpoints.artifact_references`."""

    training_job_id: Annotated[str, doc("The training job.")]
    paths: Annotated[list[str], doc("Files of it; `*` and `?` stand for anything.")] = []


class TrainingCheckpoints(Section, frozen=True, kw_only=True):
    """`training_checkpoints`."""

    download_folder: Annotated[str, doc("Where they go.")] = "/tmp/training_checkpoints"  # noqa: S108
    artifact_references: Annotated[list[TrainingArtifacts], doc("Files of training jobs.")] = []
    loops_checkpoint_ids: Annotated[list[str], doc("Checkpoints by id, instead of files of jobs.")] = []

    def complaints(self) -> Iterator[Complaint]:
        """Files of jobs or checkpoints by id."""
        if self.artifact_references and self.loops_checkpoint_ids:
            yield Complaint(
                "loops_checkpoint_ids",
                "cannot be combined with `artifact_references`",
                hint="keep one of them",
            )
