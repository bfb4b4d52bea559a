"""What a config asks to be fetched: `external_data`, `model_cache` and `weights` as values of one form."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Literal

from truss.config import TrussConfig
from truss.config.schema import CachedRepo, ExternalDataItem, WeightsSource
from truss.errors import WeightsError

When = Literal["build", "start"]
"""When a source is fetched: into the image, or by the server before it loads the model."""

Form = Literal["file", "folder", "hub"]
"""How fetched files lie: one file, a folder of files, or as the Hugging Face libraries keep a repository."""

LIBRARIES = MappingProxyType(
    {"hf": "huggingface_hub>=0.25", "s3": "s3fs>=2024.6", "gs": "gcsfs>=2024.6", "https": "", "http": ""}
)
"""Scheme -> the requirement that reads it; addresses of the web are read by Python itself."""

CACHED = "/app/model_cache"
"""Where a `model_cache` lies, in an image and out of it, followed by the name of its folder."""

_KINDS = MappingProxyType({"hf": "hf", "gcs": "gs", "s3": "s3"})


@dataclass(frozen=True)
class Source:
    """Files somewhere else, and where they go.

    Attributes:
        url: Where they are: `hf://owner/name`, `s3://bucket/prefix`, `gs://bucket/prefix`, `https://...`.
        place: Where they go: an absolute path, or one below the data directory; of `hub`, the folder of
            repositories that the Hugging Face libraries look in (empty: wherever that is).
        form: How they lie there.
        when: When they are fetched.
        revision: A branch, tag or commit of a repository; empty: its main branch.
        allow: Only files that match one of these; empty: all.
        ignore: No files that match one of these.
        secret: The name of the secret that opens the store; empty: none is named.
        sha256: What a single file's digest has to be, in hexadecimal; empty: whatever the store says.
    """

    url: str
    place: str
    form: Form
    when: When
    revision: str = ""
    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    secret: str = ""
    sha256: str = ""

    @property
    def scheme(self) -> str:
        """The protocol: `hf`, `s3`, `gs`, `https` or `http`."""
        return self.url.partition("://")[0]

    @property
    def path(self) -> str:
        """What follows the scheme."""
        return self.url.partition("://")[2].strip("/")

    @property
    def key(self) -> str:
        """A name for what is fetched, the same for the same files wherever they go."""
        facts = [self.url, self.form, self.revision, self.allow, self.ignore, self.sha256]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def wants(self, path: str) -> bool:
        """Whether a file of the store is asked for, by its path below the source."""
        return (not self.allow or _matches(path, self.allow)) and not _matches(path, self.ignore)


def sources_of(config: TrussConfig) -> tuple[Source, ...]:
    """Everything that a config asks to be fetched.

    Raises:
        WeightsError: a source is of a kind that cannot be fetched.
    """
    return (
        *(_of_external(item) for item in config.external_data or ()),
        *(_of_repository(repo) for repo in config.model_cache),
        *(_of_weights(entry) for entry in config.weights),
    )


def libraries_of(config: TrussConfig) -> tuple[str, ...]:
    """The requirements that a server needs to fetch what its config leaves to the start."""
    schemes = {source.scheme for source in sources_of(config) if source.when == "start"}
    return tuple(sorted({LIBRARIES[scheme] for scheme in schemes if LIBRARIES.get(scheme)}))


def _of_external(item: ExternalDataItem) -> Source:
    if item.backend != "http_public":
        raise WeightsError(
            f"`external_data` cannot be fetched by {item.backend!r}",
            where=item.url,
            hint="remove `backend`; the address says how it is fetched",
        )
    _below(item.local_data_path, item.url)
    url, revision = _revision(item.url)
    return _checked(
        Source(url, item.local_data_path, "file", item.fetch_at, revision=revision, sha256=item.sha256 or "")
    )


def _of_repository(repo: CachedRepo) -> Source:
    scheme = _KINDS.get(repo.kind, repo.kind)
    bare = repo.repo_id.partition("://")[2] or repo.repo_id
    hub = repo.kind == "hf" and not repo.use_volume
    name = repo.volume_folder or bare.strip("/").rpartition("/")[2]
    _below(name, repo.repo_id)
    return _checked(
        Source(
            f"{scheme}://{bare}",
            "" if hub else f"{CACHED}/{name}",
            "hub" if hub else "folder",
            "start" if repo.use_volume else "build",
            revision=repo.revision,
            allow=tuple(repo.allow_patterns or ()),
            ignore=tuple(repo.ignore_patterns or ()),
            secret=repo.runtime_secret_name,
        )
    )


def _of_weights(entry: WeightsSource) -> Source:
    url, revision = _revision(entry.source)
    if entry.auth is not None and entry.auth.auth_method != "CUSTOM_SECRET":
        # A role of the machine: the libraries of the clouds find it by themselves.
        secret = ""
    else:
        secret = entry.auth_secret_name or (entry.auth.auth_secret_name if entry.auth else None) or ""
    return _checked(
        Source(
            url,
            entry.mount_location,
            "folder",
            entry.fetch_at,
            revision=revision,
            allow=tuple(entry.allow_patterns or ()),
            ignore=tuple(entry.ignore_patterns or ()),
            secret=secret,
            sha256=entry.sha256 or "",
        )
    )


def _revision(url: str) -> tuple[str, str]:
    """An address of the hub without its revision, and the revision."""
    if not url.startswith("hf://"):
        return url, ""
    bare, _, revision = url.partition("@")
    return bare, revision


def _checked(source: Source) -> Source:
    if source.scheme not in LIBRARIES:
        raise WeightsError(
            f"addresses that start with {source.scheme}:// cannot be fetched",
            where=source.url,
            hint="put the files where hf://, s3://, gs:// or https:// reaches, or into the data directory",
        )
    if source.scheme == "hf" and len(source.path.split("/")) < 2:
        raise WeightsError(
            "this names no repository of the hub", where=source.url, hint="write hf://owner/name"
        )
    return source


def _below(place: str, where: str) -> None:
    path = PurePosixPath(place)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise WeightsError(
            f"{place!r} does not name a place below its folder", where=where, hint="write a relative path"
        )


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, _whole(pattern)) for pattern in patterns)


def _whole(pattern: str) -> str:
    """A pattern that names a folder stands for all that is in it, as the hub's libraries have it."""
    return f"{pattern}*" if pattern.endswith("/") else pattern
