"""Secrets that a platform's store keeps: AWS's by moto's server, Google's by the stand-in for its APIs.

Signatures are held against botocore's. That a role lets copies read, and a platform's own source of
credentials, this does not show: those of containers and machines are servers of the test's own.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import httpx
import pytest
from aws_server import aws, free_address
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from google_server import GoogleApis, google

from truss.errors import TrussError
from truss.runtime.stored_secrets import AwsCredentials, read_stored, signed_for_aws

VARIABLE = "TRUSS_STORED_SECRET_api_key"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with aws(tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.fixture(scope="module")
def arn(store: str) -> str:
    made = boto3.client("secretsmanager", endpoint_url=store).create_secret(
        Name="truss/iris/api-key", SecretString="first"
    )
    return str(made["ARN"])


@contextlib.contextmanager
def answering(answers: dict[str, str | bytes], asked: list[tuple[str, str, dict[str, str]]]) -> Iterator[str]:
    """A server that answers by `METHOD path`, and keeps what it was asked; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path, dict(self.headers)))
            found = answers.get(f"{self.command} {self.path}")
            body = (found.encode() if isinstance(found, str) else found) or b"not here"
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = answer  # noqa: N815  # the handler's naming

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("token", ["", "a-token"])
def test_a_signature_is_the_one_that_aws_client_makes(token):
    now = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone.utc)
    body = b'{"SecretId": "arn"}'
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": "example.com:8080",
        "x-amz-target": "a.B",
    }
    signed = signed_for_aws(headers, body, AwsCredentials("me", "m/ine+", token), "eu-west-1", "s", now)
    request = AWSRequest("POST", "http://example.com:8080/", headers={**headers}, data=body)
    request.context["timestamp"] = now.strftime("%Y%m%dT%H%M%SZ")
    theirs = SigV4Auth(Credentials("me", "m/ine+", token or None), "s", "eu-west-1")
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    signature = theirs.signature(theirs.string_to_sign(request, theirs.canonical_request(request)), request)
    assert signed["authorization"].endswith(f"Signature={signature}")
    assert (
        f"SignedHeaders={theirs.signed_headers(theirs.headers_to_sign(request))}," in signed["authorization"]
    )
    assert f"Credential={theirs.scope(request)}," in signed["authorization"]


def test_a_secret_of_aws_is_read_as_of_now(store, arn):
    variables = {"AWS_ENDPOINT_URL": store, "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "mine"}
    variables[VARIABLE] = arn
    read_stored(variables)
    assert variables["TRUSS_SECRET_api_key"] == "first"
    client = boto3.client("secretsmanager", endpoint_url=store)
    client.put_secret_value(SecretId=arn, SecretString="sécond\nline")
    read_stored(variables)
    assert variables["TRUSS_SECRET_api_key"] == "sécond\nline"
    client.put_secret_value(SecretId=arn, SecretString="first")


HELD = json.dumps({"AccessKeyId": "theirs", "SecretAccessKey": "mine", "Token": "a-token"})


@pytest.mark.parametrize("source", ["container", "machine"])
def test_credentials_are_the_platforms(source, arn, store):
    asked: list[tuple[str, str, dict[str, str]]] = []
    roles = "/latest/meta-data/iam/security-credentials/"
    answers: dict[str, str | bytes] = {
        "GET /role": HELD,
        "PUT /latest/api/token": "known",
        f"GET {roles}": "truss-iris-model",
        f"GET {roles}truss-iris-model": HELD,
        "POST /": json.dumps({"SecretString": "value"}),
    }
    with answering(answers, asked) as url:
        variables = {VARIABLE: arn, "AWS_ENDPOINT_URL_SECRETS_MANAGER": url}
        if source == "container":
            variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{url}/role"
            variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "may"
        else:
            variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = url
        read_stored(variables)
    assert variables["TRUSS_SECRET_api_key"] == "value"
    headers = {name.lower(): value for name, value in asked[-1][2].items()}
    assert "Credential=theirs/" in headers["authorization"]
    assert "/eu-west-1/secretsmanager/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "a-token"
    first = {name.lower(): value for name, value in asked[0][2].items()}
    assert first.get("authorization") == ("may" if source == "container" else None)


def test_a_version_of_googles_is_read_with_the_accounts_token(tmp_path):
    asked: list[tuple[str, str, dict[str, str]]] = []
    token = "/computeMetadata/v1/instance/service-accounts/default/token"
    answers: dict[str, str | bytes] = {f"GET {token}": json.dumps({"access_token": "t"})}
    with google(tmp_path) as apis, answering(answers, asked) as url:
        keep(apis, "projects/greenhouse/secrets/truss-iris-api-key/versions/3", "value")
        variables = {
            VARIABLE: "projects/greenhouse/secrets/truss-iris-api-key/versions/3",
            "GCE_METADATA_HOST": url.removeprefix("http://"),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": os.environ[
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"
            ],
        }
        read_stored(variables)
    assert variables["TRUSS_SECRET_api_key"] == "value"
    assert {name.lower(): one for name, one in asked[0][2].items()}["metadata-flavor"] == "Google"


def keep(apis: GoogleApis, version: str, value: str) -> None:
    apis.put(version, {"payload": {"data": base64.b64encode(value.encode()).decode()}})


def test_what_is_not_let_yet_is_tried_again_for_a_while(arn):
    asked: list[tuple[str, str, dict[str, str]]] = []
    answers: dict[str, str | bytes] = {}
    with answering(answers, asked) as url:
        variables = {VARIABLE: arn, "AWS_ENDPOINT_URL": url}
        variables |= {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "mine"}

        def let(_: float) -> None:
            answers["POST /"] = json.dumps({"SecretString": "value"})

        read_stored(variables, sleep=let)
        assert len(asked) == 2
        answers.clear()
        with pytest.raises(TrussError, match="answers 404: not here") as caught:
            read_stored(variables, within=0, sleep=let)
    assert caught.value.where == VARIABLE
    assert "the copy's account" in str(caught.value.hint)
    assert arn in caught.value.message


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("vault:api-key", "names no secret of a store"),
        ("arn:aws:secretsmanager:eu-west-1:1:secret:a", "no answer"),
        ("projects/p/secrets/a/versions/1", "no answer"),
    ],
)
def test_what_cannot_be_read_says_so(place, said):
    gone = free_address()
    variables = {VARIABLE: place, "AWS_ENDPOINT_URL": gone, "GCE_METADATA_HOST": gone.removeprefix("http://")}
    variables |= {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "mine"}
    with pytest.raises(TrussError, match=said) as caught:
        read_stored(variables, within=0)
    assert caught.value.where == VARIABLE
    assert "mine" not in str(caught.value)


MODEL = """
class Model:
    def __init__(self, secrets):
        self.key = secrets["api-key"]

    def predict(self, request):
        return {"predictions": [self.key]}
"""


def test_a_server_has_it_before_the_model_is_made(make_truss, arn, store, tmp_path):
    """The program of an image, and its workers; the variables that it was started with hold no value."""
    folder = make_truss(MODEL, "secrets: {api-key: null}")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environ = {name: one for name, one in os.environ.items() if not name.startswith("TRUSS_")}
    environ |= {"TRUSS_DIR": str(folder), "PORT": str(port), "TRUSS_HOME": str(tmp_path), VARIABLE: arn}
    environ |= {"AWS_ENDPOINT_URL": store}
    with (tmp_path / "log").open("wb") as log:
        words = [sys.executable, "-m", "truss.runtime.container", "serve"]
        process = subprocess.Popen(words, env=environ, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 60
            while not _ready(url):
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                assert process.poll() is None, (tmp_path / "log").read_text()
            answer = httpx.post(f"{url}/v1/models/model:predict", json={"inputs": []})
            assert answer.json() == {"predictions": ["first"]}
            assert b"first" not in Path(f"/proc/{process.pid}/environ").read_bytes()
        finally:
            process.terminate()
            process.wait(30)


def test_a_server_that_cannot_read_it_says_which_and_ends(make_truss, tmp_path):
    environ = {**os.environ, "TRUSS_DIR": str(make_truss(MODEL)), VARIABLE: "vault:api-key"}
    words = [sys.executable, "-m", "truss.runtime.container", "serve"]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search(rf"error: .*vault:api-key.*{VARIABLE}|{VARIABLE}.*vault:api-key", done.stderr, re.DOTALL)
    assert "Traceback" not in done.stderr


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False
