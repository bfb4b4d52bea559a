"""Baseten's management API over plain HTTP, and the upload that it hands out credentials for.

The API: https://docs.baseten.co/reference/management-api/overview
Models from archives: https://docs.baseten.co/examples/create-a-model-with-rest
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from truss.errors import (
    DeployError,
    MissingExtraError,
    PlatformAuthError,
    PlatformRefusalError,
    PlatformUnreachableError,
    QuotaError,
)

KEY_VARIABLE = "BASETEN_API_KEY"
"""The variable that holds the API key; without it, the file of the platform's own tool is read."""

ADDRESS_VARIABLE = "BASETEN_API_URL"
"""The variable that names another address of the API, as for tests."""

MODELS_VARIABLE = "BASETEN_MODEL_URL"
"""The variable that names another address of models; `{model}` in it stands for the model's id."""

_ADDRESS = "https://api.baseten.co"
_MODELS = "https://model-{model}.api.baseten.co"

_FILE_VARIABLE = "USER_TRUSSRC_PATH"
_FILE = ".trussrc"
"""Where the platform's own tool keeps API keys: a section per remote."""

_TIMEOUT = 60.0
"""Seconds that an answer may take."""

_REFUSED = frozenset({401, 403})
_LIMITS = frozenset({402, 429})
"""No funds are left, or too much was asked: https://docs.baseten.co/reference/management-api/rate-limits"""


@dataclass(frozen=True)
class Api:
    """The API, as one key sees it.

    Attributes:
        key: The API key.
        address: The URL of the API.
        models: The URL of a model, with `{model}` for its id.
    """

    key: str = field(repr=False)
    address: str = _ADDRESS
    models: str = _MODELS

    @property
    def headers(self) -> dict[str, str]:
        """What authorises a request, to the API and to models."""
        return {"authorization": f"Api-Key {self.key}"}

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return self._ask("GET", path)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send JSON to a path; gives the answer's."""
        return self._ask("POST", path, json.dumps(body).encode())

    def delete(self, path: str) -> None:
        """Remove what a path names; nothing happens when it is gone."""
        try:
            self._ask("DELETE", path)
        except PlatformRefusalError as error:
            if error.code != "404":
                raise

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        url = f"{self.address.rstrip('/')}{path}"
        headers = {"content-type": "application/json", **self.headers}
        request = Request(url, body, headers, method=method)  # noqa: S310  # the platform's, or the user's
        try:
            with urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310  # as above
                return json.loads(answer.read())
        except HTTPError as error:
            raise _refusal(error.code, _said(error.read()), url) from error
        except (OSError, ValueError) as error:
            raise PlatformUnreachableError(
                f"Baseten's API gives no answer: {error}",
                where=self.address,
                hint=f"see whether it is reached from here; another address is named by {ADDRESS_VARIABLE}",
            ) from error


def api_of(variables: Mapping[str, str]) -> Api:
    """The API as the environment names it.

    Raises:
        PlatformAuthError: there is no key.
    """
    key = variables.get(KEY_VARIABLE) or _key_of_file(variables)
    if not key:
        raise PlatformAuthError(
            "there is no API key for Baseten",
            where=KEY_VARIABLE,
            hint=f"make one at https://app.baseten.co/settings/api_keys and set {KEY_VARIABLE}",
        )
    address = variables.get(ADDRESS_VARIABLE) or _ADDRESS
    return Api(key, address, variables.get(MODELS_VARIABLE) or _MODELS)


def put_archive(archive: Path, place: Mapping[str, Any]) -> None:
    """Upload an archive to where the API has said.

    Args:
        archive: The archive.
        place: The answer to `POST /v1/prepare_model_upload`: a bucket, a key, and credentials for them.

    Raises:
        MissingExtraError: the package that writes into buckets is not installed.
        DeployError: the bucket does not take it.
    """
    try:
        import boto3
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise MissingExtraError("boto3", "aws", "uploading to Baseten") from error
    try:
        session = boto3.Session(**place["creds"], region_name=place.get("s3_region"))
        session.client("s3").upload_file(str(archive), place["s3_bucket"], place["s3_key"])
    except (Boto3Error, BotoCoreError, ClientError, OSError) as error:
        where = f"s3://{place['s3_bucket']}/{place['s3_key']}"
        raise DeployError(f"the archive cannot be uploaded: {error}", where=where) from error


def _refusal(code: int, said: str, where: str) -> DeployError:
    if code in _REFUSED:
        return PlatformAuthError(
            f"Baseten refuses the API key: {said or code}",
            where=where,
            hint=f"see that {KEY_VARIABLE} is one of the workspace's that may manage models",
        )
    if code in _LIMITS:
        return QuotaError(
            f"a limit of the workspace is reached: {said or code}",
            where=where,
            hint="try again later, or see the workspace's plan: https://app.baseten.co/settings/billing",
        )
    return PlatformRefusalError(f"Baseten refuses: {said or code}", code=str(code), where=where)


def _said(content: bytes) -> str:
    """What an error's body says: under `message`, or `error` when there was too much."""
    text = content.decode(errors="replace").strip()
    try:
        body = json.loads(text)
    except ValueError:
        return text
    told = (body.get("message") or body.get("error")) if isinstance(body, dict) else None
    return str(told or text)


def _key_of_file(variables: Mapping[str, str]) -> str:
    """The key of the remote `baseten`, or of the first one of Baseten's; empty: there is none."""
    read = ConfigParser(interpolation=None)
    file = Path(variables.get(_FILE_VARIABLE) or Path.home() / _FILE)
    try:
        read.read(file.expanduser())
    except (OSError, ValueError, ConfigParserError) as error:
        raise PlatformAuthError(
            f"the file with the API key cannot be read: {error}",
            where=str(file),
            hint=f"correct it, or set {KEY_VARIABLE}",
        ) from error
    sections = sorted(read.sections(), key=lambda name: name != "baseten")
    keys = (
        read[name].get("api_key", "")
        for name in sections
        if read[name].get("remote_provider", "baseten") == "baseten"
    )
    return next((key for key in keys if key), "")
