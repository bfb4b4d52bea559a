"""`s3://` and `gs://`: all that is below a prefix of a bucket, through fsspec's file systems."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from truss.errors import MissingExtraError, WeightsError
from truss.weights.sources import Source
from truss.weights.store import Listing, RemoteFile, missing, refused

_RANGE = 8 << 20
"""How many bytes one request asks for: memory is this, times the files that are fetched at a time."""

_S3_KEYS = {
    "aws_access_key_id": "key",
    "access_key_id": "key",
    "aws_secret_access_key": "secret",
    "secret_access_key": "secret",
    "aws_session_token": "token",
    "session_token": "token",
    "endpoint_url": "endpoint_url",
}


@dataclass(frozen=True)
class BucketStore:
    """A prefix of a bucket.

    Attributes:
        source: Which.
        files: fsspec's file system.
        given: Whether a secret was found for it.
        digests: Reads the digests of a file from its path and what the listing says of it.
    """

    source: Source
    files: Any = field(repr=False)
    given: bool
    digests: Callable[[str, Mapping[str, Any]], dict[str, str]]

    def listing(self) -> Listing:
        """The files below the prefix; of a prefix that is itself a file, that one."""
        root = self.source.path
        found: Mapping[str, Any] = self._asked(lambda: self.files.find(root, detail=True))
        named = {_below(path, root): (path, facts) for path, facts in found.items()}
        wanted = {
            name: one for name, one in named.items() if self.source.wants(name) and not name.endswith("/")
        }
        if not found:
            raise missing(self.source)
        with ThreadPoolExecutor(8) as pool:
            digests = list(pool.map(lambda one: self._asked(lambda: self.digests(*one)), wanted.values()))
        return Listing(
            tuple(
                RemoteFile(name, int(facts["size"]), _version(facts), digest, path)
                for (name, (path, facts)), digest in zip(wanted.items(), digests, strict=True)
            )
        )

    def read(self, file: RemoteFile, start: int) -> tuple[int, Iterator[bytes]]:
        """A file's content, some mebibytes per request."""
        return start, self._ranges(file, start)

    def _ranges(self, file: RemoteFile, start: int) -> Iterator[bytes]:
        end = file.size or 0
        while start < end:
            until = min(end, start + _RANGE)
            block = self._asked(partial(self.files.cat_file, file.address, start=start, end=until))
            if not block:
                raise ConnectionError("the store gives less than it told")
            yield block
            start += len(block)

    def _asked(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except FileNotFoundError:
            raise missing(self.source) from None
        except Exception as error:  # the libraries of the clouds have trees of errors of their own
            if (
                isinstance(error, PermissionError)
                or type(error).__name__ in _NO_CREDENTIALS
                or (_status(error) in (401, 403))
            ):
                raise refused(self.source, given=self.given) from error
            if isinstance(error, OSError):
                raise
            raise ConnectionError(str(error) or type(error).__name__) from error


_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"})


def s3_store(source: Source, secret: str) -> BucketStore:
    """A prefix of a bucket of S3, or of what speaks as it does (`AWS_ENDPOINT_URL`).

    Args:
        source: Which.
        secret: A JSON object with `aws_access_key_id`, `aws_secret_access_key` and, where they are needed,
            `aws_session_token`, `aws_region`, `endpoint_url`; empty: what the environment or the machine has.
    """
    try:
        import s3fs
    except ImportError:
        raise MissingExtraError("s3fs", "s3", f"fetching {source.url}") from None
    given = _json_object(source, secret)
    options: dict[str, Any] = {_S3_KEYS[name]: value for name, value in given.items() if name in _S3_KEYS}
    region = given.get("aws_region") or given.get("region")
    if region:
        options["client_kwargs"] = {"region_name": region}
    files = s3fs.S3FileSystem(anon=False, skip_instance_cache=True, use_listings_cache=False, **options)

    def digests(path: str, facts: Mapping[str, Any]) -> dict[str, str]:
        bucket, _, key = path.partition("/")
        head = files.call_s3("head_object", Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        whole = head.get("ChecksumSHA256", "")
        if whole and "-" not in whole:
            return {"sha256": base64.b64decode(whole).hex()}
        # The entity tag is an MD5 digest unless the file came in parts, or is encrypted by a user's key.
        tag = str(facts.get("ETag", "")).strip('"')
        encrypted = head.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in head
        return {"md5": tag} if len(tag) == 32 and not encrypted else {}

    return BucketStore(source, files, bool(secret), digests)


def gs_store(source: Source, secret: str) -> BucketStore:
    """A prefix of a bucket of Google Cloud Storage, or of what speaks as it does (`STORAGE_EMULATOR_HOST`).

    Args:
        source: Which.
        secret: The JSON of a service account; empty: what the environment or the machine has.
    """
    try:
        import gcsfs
    except ImportError:
        raise MissingExtraError("gcsfs", "gs", f"fetching {source.url}") from None
    options: dict[str, Any] = {"token": _json_object(source, secret)} if secret else {}
    files = gcsfs.GCSFileSystem(skip_instance_cache=True, use_listings_cache=False, **options)

    def digests(_path: str, facts: Mapping[str, Any]) -> dict[str, str]:
        told = facts.get("md5Hash")
        return {"md5": base64.b64decode(told).hex()} if told else {}

    return BucketStore(source, files, bool(secret), digests)


def _json_object(source: Source, secret: str) -> dict[str, Any]:
    try:
        found = json.loads(secret) if secret else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise WeightsError(
            f"the secret '{source.secret}' is not a JSON object",
            where=source.url,
            hint="see the guide on weights for what it holds",
        )
    return found


def _below(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/") or path.rpartition("/")[2]


def _version(facts: Mapping[str, Any]) -> str:
    return str(facts.get("generation") or facts.get("ETag") or facts.get("etag") or "")


def _status(error: BaseException) -> int:
    found = getattr(error, "code", None) or getattr(error, "status", None)
    return int(found) if isinstance(found, int) or (isinstance(found, str) and found.isdigit()) else 0
