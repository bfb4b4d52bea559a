"""How a container starts, and what its image says of itself."""

import pytest

from truss.build.settings import container_settings
from truss.config import parse_config
from truss.oci import ImageConfig, Platform
from truss.runtime.platform import platform_of
from truss.version import __version__

BASE = ImageConfig(Platform("amd64"), env={"PATH": "/usr/bin"}, labels={"maintainer": "somebody"})
PLAIN = "model_name: iris\nmodel_framework: sklearn\ndescription: flowers\n"


def settings_of(config):
    return container_settings(BASE, parse_config(config), Platform("amd64"), "sha256:0")


@pytest.mark.parametrize(
    "more",
    [
        "",
        "resources: {use_gpu: true, accelerator: A100:2}\n",
        "environment_variables: {PORT: '9000'}\n",
        "runtime: {transport: {kind: websocket}}\n",
        "runtime: {transport: {kind: grpc}}\n",
    ],
    ids=["plain", "gpu", "port", "websocket", "grpc"],
)
def test_an_image_says_what_its_server_can_whatever_its_truss_needs(more):
    # Of SageMaker's capabilities the server has these two, whatever its Truss; its way of streaming both ways
    # (at a path of its own) it has not, so an image must not claim it.
    assert settings_of(PLAIN + more).labels == {
        "maintainer": "somebody",
        "org.opencontainers.image.title": "iris",
        "org.opencontainers.image.description": "flowers",
        "io.truss.schema": "1",
        "io.truss.digest": "sha256:0",
        "io.truss.version": __version__,
        "io.truss.framework": "sklearn",
        "com.amazonaws.sagemaker.capabilities.accept-bind-to-port": "true",
        "com.amazonaws.sagemaker.capabilities.multi-models": "true",
    }


def test_the_server_does_what_the_label_says():
    assert platform_of(["serve"], {"SAGEMAKER_BIND_TO_PORT": "9002"}).port == 9002


def test_what_is_not_said_is_no_label():
    labels = settings_of("").labels
    assert "org.opencontainers.image.title" not in labels
    assert "" not in labels.values()
