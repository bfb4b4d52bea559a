"""The roles of `truss targets cloud-run --permissions`, held against what a deployment's whole life calls.

The calls go to the stand-in of test_google.py. That each needs the permission of its name is how Google has
it (https://cloud.google.com/iam/docs/roles-permissions); that it needs no other, this does not show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from google_server import GoogleApis, google

from truss.config import parse_config
from truss.deploy import Plan, Release, apply, destroy, read_options, target_named
from truss.deploy.google.account import Account
from truss.deploy.google.cloud_run import CloudRunPlatform
from truss.deploy.google.vertex import VertexPlatform

PLATFORMS = {"cloud-run": CloudRunPlatform, "vertex": VertexPlatform}
THEN = {"cloud-run": {"public": True}, "vertex": {"dedicated": False}}

# What is not called as the permission that it takes.
OTHERWISE = {
    "run.services.patch": "run.services.update",
    "logging.entries.list": "logging.logEntries.list",
    "secretmanager.secrets.addVersion": "secretmanager.versions.add",
    "aiplatform.endpoints.patch": "aiplatform.endpoints.update",
    "aiplatform.endpoints.deployModel": "aiplatform.endpoints.deploy",
    "aiplatform.endpoints.undeployModel": "aiplatform.endpoints.undeploy",
    "aiplatform.endpoints.rawPredict": "aiplatform.endpoints.predict",
    "aiplatform.models.listVersions": "aiplatform.models.list",
    "aiplatform.models.deleteVersion": "aiplatform.models.delete",
    "aiplatform.operations.get": "aiplatform.endpoints.get",
}

ALWAYS = {
    "iam.serviceAccounts.actAs": "Google looks whether who deploys may act as the copies' account",
    "artifactregistry.repositories.downloadArtifacts": "the registry's client looks what is there already",
    "artifactregistry.repositories.uploadArtifacts": "the registry's client pushes",
}
NOT_CALLED: Mapping[str, Mapping[str, str]] = {
    "cloud-run": {**ALWAYS, "run.routes.invoke": "the examples are asked at the service's own address"},
    "vertex": ALWAYS,
}


@dataclass(frozen=True)
class Watched(Account):
    """An account that keeps which permissions its calls take."""

    needed: set[str] = field(default_factory=set)

    def call(self, service: str, path: str, method: str, **arguments: Any) -> Any:
        self._need(f"{service}.{path.rpartition('.')[2]}.{method}")
        return super().call(service, path, method, **arguments)

    def raw(self, url: str, body: bytes) -> tuple[bytes, Mapping[str, str]]:
        self._need(f"aiplatform.endpoints.{url.rpartition(':')[2]}")
        return super().raw(url, body)

    def _need(self, called: str) -> None:
        self.needed.add(OTHERWISE.get(called, called))


@pytest.fixture(scope="module")
def apis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoogleApis]:
    with google(tmp_path_factory.mktemp("google")) as server:
        yield server


def planned(name: str, digit: str, options: Mapping[str, Any]) -> Plan:
    target = target_named(name)
    image = f"europe-docker.pkg.dev/greenhouse/models/iris@sha256:{digit * 64}"
    release = Release("iris", image, parse_config("secrets: {api-key: null}"))
    return target.plan(release, read_options(target, options))


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_role_allows_what_a_deployment_calls_and_nothing_else(name, apis):
    apis.reset()
    account = Watched("greenhouse", "us-central1")
    platform = PLATFORMS[name](account)
    apply(planned(name, "1", {}), platform, {"api-key": "s3cret"})
    apply(planned(name, "2", THEN[name]), platform, {"api-key": "another"})
    assert platform.deployments()
    assert platform.status("iris") is not None
    assert list(platform.logs("iris")) == []
    platform.roll_back("iris", platform.revisions("iris")[0])
    assert platform.ask("iris", b'{"inputs": [1]}')
    destroy("iris", platform)

    target: Any = target_named(name)
    allowed = set(yaml.safe_load(target.permissions().text)["includedPermissions"])
    assert account.needed <= allowed
    assert allowed - account.needed == NOT_CALLED[name].keys()
