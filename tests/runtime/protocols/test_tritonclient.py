"""The Open Inference Protocol by NVIDIA's client, which pins libraries that others here need newer."""

import subprocess
import sys
from pathlib import Path

import pytest
import uv


@pytest.fixture(scope="module")
def client_python(tmp_path_factory):
    """The interpreter of an environment with the client."""
    folder = tmp_path_factory.mktemp("triton") / "venv"
    python = folder / "bin" / "python"
    for arguments in (
        ["venv", "--quiet", "--python", sys.executable, str(folder)],
        ["pip", "install", "--quiet", "--python", str(python), "tritonclient[http,grpc]>=2.50"],
    ):
        run = subprocess.run([uv.find_uv_bin(), *arguments], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
    return python


@pytest.mark.network
@pytest.mark.parametrize("grpc_at", ["its own port", "the port of HTTP"])
def test_everything_that_the_client_can_ask(client_python, speaking, grpc_at):
    script = Path(__file__).with_name("triton_client.py")
    http = speaking.url.removeprefix("http://")
    addresses = [http, http if grpc_at == "the port of HTTP" else speaking.grpc_address]
    run = subprocess.run([client_python, script, *addresses], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
