"""How a container of a Truss's image starts, whoever makes the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from truss.build import contents, wheels
from truss.config import TrussConfig
from truss.oci import ImageConfig, Platform
from truss.version import __version__

USER = "65532:0"
"""Nobody in particular: files belong to root and are readable by all, so any other will do as well."""


def container_settings(
    base: ImageConfig, config: TrussConfig, platform: Platform, truss_digest: str
) -> ImageConfig:
    """How a container of a Truss's image starts: what its base says, and what the server needs.

    Args:
        base: How a container of the base starts.
        config: The Truss's config.
        platform: What the image runs on.
        truss_digest: What names exactly the Truss (`truss.build.own`), for a label.
    """
    python = (config.base_image.python_executable_path if config.base_image else "") or "python3"
    path = f"{base.env.get('PATH', '/usr/local/bin:/usr/bin:/bin')}:{wheels.SITE}/bin"
    environment = {
        **base.env,
        "PATH": path,
        "PYTHONPATH": f"{contents.RUNTIME}:{wheels.SITE}",
        "PYTHONUNBUFFERED": "1",
        # A root that cannot be written is common; what is compiled then goes where it can.
        "PYTHONPYCACHEPREFIX": "/tmp/pycache",  # noqa: S108  # inside the container
        "HOME": "/tmp",  # noqa: S108
        "TRUSS_DIR": contents.APP,
        **config.environment_variables,
    }
    return replace(
        base,
        platform=platform,
        env=environment,
        entrypoint=(python, "-m", "truss.runtime.container"),
        cmd=(),
        working_dir=contents.APP,
        user=USER,
        ports=("8080/tcp",),
        stop_signal="SIGTERM",
        labels=_labels(base.labels, config, truss_digest),
        created=base.created,
    )


def _labels(base: Mapping[str, str], config: TrussConfig, truss_digest: str) -> dict[str, str]:
    about = {
        "org.opencontainers.image.title": config.model_name or "",
        "org.opencontainers.image.description": config.description or "",
        "io.truss.schema": "1",
        "io.truss.digest": truss_digest,
        "io.truss.version": __version__,
        "io.truss.framework": config.model_framework,
        "com.amazonaws.sagemaker.capabilities.accept-bind-to-port": "true",
        "com.amazonaws.sagemaker.capabilities.multi-models": "true",
    }
    return {**base, **{name: text for name, text in about.items() if text}}
