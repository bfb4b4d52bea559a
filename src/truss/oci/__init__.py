"""OCI images as data, made without a daemon: references, layers, images, layout folders and archives.

An image is put together from values, and goes to a folder, an archive or a registry::

    layers = [
        packed_layer([Entry.file("/app/model.py", Path("model.py"))], cache / "code.tar.gz"),
        plain_layer([Entry.file("/app/data/weights", Path("weights"))]),   # read when needed, never copied
    ]
    config = ImageConfig(Platform("amd64"), entrypoint=("python", "/app/model.py"), user="1000")
    image = build_image(config, layers)
    write_layout(Path("layout"), image, name="1.0")
    validate_layout(Path("layout"))
    pushed = push_image(image, Reference.parse("ghcr.io/team/model:1.0"), progress=print)

A base stands below, known by its documents only: its layers stay in the registry and are mounted, or streamed
from one registry to the other::

    base = pull_image(Reference.parse("python:3.12-slim"), Platform("amd64"))
    image = build_image(dataclasses.replace(base.image.config, user="1000"), layers, base=base.image)

The room knows no models. Names are loaded at their first use, and only the standard library until a registry
or zstd is used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from truss.oci.config import History, ImageConfig
    from truss.oci.content import Content, FileContent, Joined, Memory
    from truss.oci.credentials import Credentials, find_credentials
    from truss.oci.descriptor import Blob, Descriptor, Platform, write_file
    from truss.oci.digest import Digest
    from truss.oci.docker_archive import archive_blocks, archive_size, write_docker_archive
    from truss.oci.image import Artifact, Image, ImageIndex, build_artifact, build_image, build_index
    from truss.oci.layer import Entry, Layer, folder_entries, packed_layer, plain_layer
    from truss.oci.layout import Layout, write_layout
    from truss.oci.patience import Patience
    from truss.oci.pull import Pulled, pull_image
    from truss.oci.push import Progress, Pushed, push_image
    from truss.oci.reference import Reference, Repository
    from truss.oci.registry import Registry, RemoteRepository
    from truss.oci.transport import Transport
    from truss.oci.upload import Uploaded
    from truss.oci.validation import Checked, validate_layout

__all__ = [
    "Artifact",
    "Blob",
    "Checked",
    "Content",
    "Credentials",
    "Descriptor",
    "Digest",
    "Entry",
    "FileContent",
    "History",
    "Image",
    "ImageConfig",
    "ImageIndex",
    "Joined",
    "Layer",
    "Layout",
    "Memory",
    "Patience",
    "Platform",
    "Progress",
    "Pulled",
    "Pushed",
    "Reference",
    "Registry",
    "RemoteRepository",
    "Repository",
    "Transport",
    "Uploaded",
    "archive_blocks",
    "archive_size",
    "build_artifact",
    "build_image",
    "build_index",
    "find_credentials",
    "folder_entries",
    "packed_layer",
    "plain_layer",
    "pull_image",
    "push_image",
    "validate_layout",
    "write_docker_archive",
    "write_file",
    "write_layout",
]

_HOMES = {
    "Artifact": "truss.oci.image",
    "Blob": "truss.oci.descriptor",
    "Checked": "truss.oci.validation",
    "Content": "truss.oci.content",
    "Credentials": "truss.oci.credentials",
    "Descriptor": "truss.oci.descriptor",
    "Digest": "truss.oci.digest",
    "Entry": "truss.oci.layer",
    "FileContent": "truss.oci.content",
    "History": "truss.oci.config",
    "Image": "truss.oci.image",
    "ImageConfig": "truss.oci.config",
    "ImageIndex": "truss.oci.image",
    "Joined": "truss.oci.content",
    "Layer": "truss.oci.layer",
    "Layout": "truss.oci.layout",
    "Memory": "truss.oci.content",
    "Patience": "truss.oci.patience",
    "Platform": "truss.oci.descriptor",
    "Progress": "truss.oci.push",
    "Pulled": "truss.oci.pull",
    "Pushed": "truss.oci.push",
    "Reference": "truss.oci.reference",
    "Registry": "truss.oci.registry",
    "RemoteRepository": "truss.oci.registry",
    "Repository": "truss.oci.reference",
    "Transport": "truss.oci.transport",
    "Uploaded": "truss.oci.upload",
    "archive_size": "truss.oci.docker_archive",
    "build_artifact": "truss.oci.image",
    "build_image": "truss.oci.image",
    "build_index": "truss.oci.image",
    "archive_blocks": "truss.oci.docker_archive",
    "find_credentials": "truss.oci.credentials",
    "folder_entries": "truss.oci.layer",
    "packed_layer": "truss.oci.layer",
    "plain_layer": "truss.oci.layer",
    "pull_image": "truss.oci.pull",
    "push_image": "truss.oci.push",
    "validate_layout": "truss.oci.validation",
    "write_docker_archive": "truss.oci.docker_archive",
    "write_file": "truss.oci.descriptor",
    "write_layout": "truss.oci.layout",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'truss.oci' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
