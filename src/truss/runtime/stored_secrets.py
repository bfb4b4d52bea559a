"""Secrets that the platform's own store keeps, read once, before the model's code starts.

Some platforms hand their containers nothing but variables that everybody sees who may look at the deployment.
There a variable says where a value is kept, and not the value: the copy reads it by its own account's rights.
What is read goes into the variable that the secret is read from anyway, of this process and those it starts.

AWS: `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME`, which is read as of now;
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html.
Google: `projects/PROJECT/secrets/NAME/versions/NUMBER`;
https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from truss.config.values import SECRET_VARIABLE_PREFIX, STORED_SECRET_PREFIX
from truss.errors import RemoteRefusalError, TrussError

_TIMEOUT = 10.0
"""Seconds that an answer may take."""

_WITHIN = 60.0
"""Seconds in which it is tried again: rights that were just given are not known everywhere at once."""

_PAUSE = 1.0

_CONTAINER_HOST = "http://169.254.170.2"
"""https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html"""

_MACHINE_HOST = "http://169.254.169.254"
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html"""

_GOOGLE_HOST = "metadata.google.internal"
"""https://cloud.google.com/compute/docs/metadata/overview"""


def read_stored(
    variables: MutableMapping[str, str],
    *,
    within: float = _WITHIN,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Read every secret that a variable names the place of, into the variable that secrets are read from.

    Args:
        variables: Those of this process.
        within: Seconds in which it is tried again where it fails.
        sleep: What waits between two tries.

    Raises:
        TrussError: one is not read.
    """
    deadline = time.monotonic() + within
    for name in sorted(variables):
        if name.startswith(STORED_SECRET_PREFIX):
            place = variables[name]
            own = SECRET_VARIABLE_PREFIX + name.removeprefix(STORED_SECRET_PREFIX)
            variables[own] = _read(name, place, variables, deadline, sleep)


def _read(
    name: str,
    place: str,
    variables: Mapping[str, str],
    deadline: float,
    sleep: Callable[[float], None],
) -> str:
    read = _of_aws if place.startswith("arn:") else _of_google if place.startswith("projects/") else None
    if read is None:
        raise TrussError(
            f"{place!r} names no secret of a store that is known",
            where=name,
            hint="write an ARN of AWS's Secrets Manager, or the full name of a version of Google's",
        )
    while True:
        try:
            return read(place, variables)
        except (OSError, ValueError, KeyError, RemoteRefusalError) as error:
            if time.monotonic() > deadline:
                raise TrussError(
                    f"the secret at {place} cannot be read: {_reason(error)}",
                    where=name,
                    hint="let the copy's account read it, and let the copy reach the store over the network",
                ) from error
        sleep(_PAUSE)


def _reason(error: Exception) -> str:
    if isinstance(error, RemoteRefusalError):
        return error.message
    if isinstance(error, URLError):
        return f"no answer: {error.reason}"
    return f"{type(error).__name__}: {error}"


def _asked(
    url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None, method: str | None = None
) -> bytes:
    request = Request(url, body, dict(headers or {}), method=method)  # noqa: S310  # of the platform
    try:
        with urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content
    except HTTPError as error:
        said = error.read().decode(errors="replace").strip()
        raise RemoteRefusalError(f"{urlsplit(url).hostname} answers {error.code}: {said}") from error


# AWS.


@dataclass(frozen=True)
class AwsCredentials:
    """Who asks AWS.

    Attributes:
        key: The access key's name.
        secret: What signs.
        token: What such a key that ends soon has besides; empty: it has nothing.
    """

    key: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)


def _of_aws(arn: str, variables: Mapping[str, str]) -> str:
    partition, region = arn.split(":")[1], arn.split(":")[3]
    end = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    url = (
        variables.get("AWS_ENDPOINT_URL_SECRETS_MANAGER")
        or variables.get("AWS_ENDPOINT_URL")
        or f"https://secretsmanager.{region}.{end}"
    )
    body = json.dumps({"SecretId": arn}).encode()
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": urlsplit(url).netloc,
        "x-amz-target": "secretsmanager.GetSecretValue",
    }
    who = _aws_credentials(variables)
    signed = signed_for_aws(headers, body, who, region, "secretsmanager", datetime.now(timezone.utc))
    told = json.loads(_asked(f"{url.rstrip('/')}/", signed, body))
    return str(told["SecretString"])


def _aws_credentials(variables: Mapping[str, str]) -> AwsCredentials:
    """Those of the variables, else those that the platform gives its containers, else its machines."""
    if key := variables.get("AWS_ACCESS_KEY_ID"):
        return AwsCredentials(key, variables["AWS_SECRET_ACCESS_KEY"], variables.get("AWS_SESSION_TOKEN", ""))
    relative = variables.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    full = _CONTAINER_HOST + relative if relative else variables.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if full:
        token = variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        told = json.loads(_asked(full, {"authorization": token} if token else {}))
    else:
        told = _of_machine(variables)
    return AwsCredentials(told["AccessKeyId"], told["SecretAccessKey"], told.get("Token", ""))


def _of_machine(variables: Mapping[str, str]) -> Any:
    host = variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", _MACHINE_HOST).rstrip("/")
    ttl = {"x-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = _asked(f"{host}/latest/api/token", ttl, method="PUT").decode()
    known = {"x-aws-ec2-metadata-token": token}
    place = f"{host}/latest/meta-data/iam/security-credentials/"
    role = _asked(place, known).decode().strip()
    return json.loads(_asked(f"{place}{role}", known))


def signed_for_aws(
    headers: Mapping[str, str],
    body: bytes,
    who: AwsCredentials,
    region: str,
    service: str,
    now: datetime,
) -> dict[str, str]:
    """The headers of a POST to `/` with AWS's signature, version 4.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

    Args:
        headers: The request's own, with lower-case names; `host` among them.
        body: What is sent.
        who: Who asks.
        region: The region.
        service: The service, as signatures name it.
        now: The time, in UTC.
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    every = {**headers, "x-amz-date": stamp, **({"x-amz-security-token": who.token} if who.token else {})}
    names = ";".join(sorted(every))
    lines = "".join(f"{name}:{every[name].strip()}\n" for name in sorted(every))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{who.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    said = f"AWS4-HMAC-SHA256 Credential={who.key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**every, "authorization": said}


# Google.


def _of_google(version: str, variables: Mapping[str, str]) -> str:
    host = variables.get("GCE_METADATA_HOST", _GOOGLE_HOST)
    place = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    token = json.loads(_asked(place, {"metadata-flavor": "Google"}))["access_token"]
    url = variables.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER") or (
        "https://secretmanager.googleapis.com"
    )
    content = _asked(f"{url.rstrip('/')}/v1/{version}:access", {"authorization": f"Bearer {token}"})
    return base64.b64decode(json.loads(content)["payload"]["data"]).decode()
