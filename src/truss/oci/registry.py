"""A registry: asked and told over HTTP, as the OCI distribution specification has it."""

from __future__ import annotations

import ipaddress
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlencode, urljoin, urlsplit

from truss.errors import BrokenImageError, ImageNotFoundError, RegistryError
from truss.oci.answers import first_error, json_of, manifest_type
from truss.oci.auth import Authority
from truss.oci.content import Memory
from truss.oci.credentials import Found, find_credentials
from truss.oci.descriptor import Blob, Descriptor
from truss.oci.digest import Digest, measure
from truss.oci.manifest import Index
from truss.oci.media_types import INDEXES, MANIFESTS
from truss.oci.reference import DOCKER_HUB, Repository
from truss.oci.remote_content import RemoteContent
from truss.oci.transport import Answer, Request, Transport

INSECURE_VARIABLE = "TRUSS_INSECURE_REGISTRIES"
"""Registries that are spoken to without encryption, `host:port` separated by commas."""

_ACCEPT = ", ".join((*INDEXES, *MANIFESTS))
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*rel="?next"?')


class Registry:
    """A registry, to be shared by all threads and repositories that use it.

    Args:
        host: Host and port, as references name it.
        transport: What sends requests; a new one by default.
        find: Looks up credentials; by default where Docker and Podman keep them.
        insecure: Whether to speak plain HTTP; by default with registries of this machine, and those that the
            variable `TRUSS_INSECURE_REGISTRIES` lists.
    """

    def __init__(
        self,
        host: str,
        *,
        transport: Transport | None = None,
        find: Callable[[Repository], Found] = find_credentials,
        insecure: bool | None = None,
    ) -> None:
        plain = _is_insecure(host) if insecure is None else insecure
        self.host = host
        self.origin = (
            f"{'http' if plain else 'https'}://{'registry-1.docker.io' if host == DOCKER_HUB else host}"
        )
        self.transport = transport or Transport()
        self._find = find
        self._authorities: dict[str, Authority] = {}
        self._lock = threading.Lock()

    def repository(self, name: str, *, push: bool = False, sources: tuple[str, ...] = ()) -> RemoteRepository:
        """A repository of the registry.

        Args:
            name: Which.
            push: Whether to write to it.
            sources: Other repositories that blobs may be taken over from.
        """
        scopes = (
            f"repository:{name}:{'pull,push' if push else 'pull'}",
            *(f"repository:{source}:pull" for source in sorted(set(sources) - {name})),
        )
        return RemoteRepository(self, name, scopes)

    def authority(self, name: str) -> Authority:
        """What lets us use a repository."""
        with self._lock:
            if name not in self._authorities:
                repository = Repository(self.host, name)
                self._authorities[name] = Authority(self.host, self.transport, lambda: self._find(repository))
            return self._authorities[name]


@dataclass(frozen=True)
class RemoteRepository:
    """A repository of a registry.

    Attributes:
        registry: Which registry's.
        name: Its name there.
        scopes: What is to be done with it, in the words of tokens.
    """

    registry: Registry
    name: str
    scopes: tuple[str, ...]

    def send(self, request: Request, *, again: bool = True, open_body: bool = False) -> Answer:
        """Send a request with what the registry wants to see of us; a 401 is answered once.

        Raises:
            RegistryAuthError: The registry wants credentials that we do not have.
            RegistryError: As `Transport.send`.
        """
        transport = self.registry.transport
        if not same_origin(request.url, self.registry.origin):
            return transport.send(request, again=again, open_body=open_body)
        authority = self.registry.authority(self.name)
        used = authority.header(self.scopes)
        answer = transport.send(_authorised(request, used), again=again, open_body=open_body)
        if answer.status != 401:
            return answer
        answer.close()
        renewed = authority.renew(answer, self.scopes, used)
        if not renewed:
            raise authority.explain(answer)
        answer = transport.send(_authorised(request, renewed), again=again, open_body=open_body)
        if answer.status == 401:
            raise authority.explain(answer)
        return answer

    def url(self, path: str, **query: str) -> str:
        """The address of something in the repository."""
        asked = f"?{urlencode(query)}" if query else ""
        return f"{self.registry.origin}/v2/{self.name}/{path}{asked}"

    def manifest(self, version: str) -> Blob:
        """The manifest or index of that tag or digest, as the registry has it.

        Raises:
            ImageNotFoundError: There is none.
            BrokenImageError: It is not what its digest says.
        """
        answer = self.send(Request("GET", self.url(f"manifests/{version}"), {"Accept": _ACCEPT}))
        if answer.status != 200:
            raise self.refusal(answer, f"the image '{self.name}' of version '{version}'")
        expected = version if ":" in version else answer.headers.get("Docker-Content-Digest")
        digest = Digest.of(answer.body)
        if expected:
            wanted = Digest.parse(expected)
            digest, _ = measure([answer.body], wanted.algorithm)
            if digest != wanted:
                raise BrokenImageError(f"the manifest is not what its digest says: {digest}", where=expected)
        media_type = manifest_type(answer)
        return Blob(Descriptor(media_type, digest, len(answer.body)), Memory(answer.body))

    def has_manifest(self, version: str, digest: Digest) -> bool:
        """Whether that tag or digest is exactly the manifest of `digest`."""
        answer = self.send(Request("HEAD", self.url(f"manifests/{version}"), {"Accept": _ACCEPT}))
        return answer.status == 200 and answer.headers.get("Docker-Content-Digest") == str(digest)

    def put_manifest(self, manifest: Blob, version: str) -> Answer:
        """Store a manifest or index under a tag or digest; what it names must be there.

        Raises:
            RegistryError: The registry refuses it.
        """
        headers = {"Content-Type": manifest.descriptor.media_type}
        request = Request("PUT", self.url(f"manifests/{version}"), headers, content=manifest.content)
        answer = self.send(request)
        if answer.status not in (200, 201, 202):
            raise self.refusal(answer, f"the manifest of '{self.name}:{version}'")
        return answer

    def tags(self) -> Iterator[str]:
        """The names of all versions.

        Raises:
            ImageNotFoundError: There is no such repository.
        """
        url: str | None = self.url("tags/list")
        while url is not None:
            answer = self.send(Request("GET", url))
            if answer.status != 200:
                raise self.refusal(answer, f"the repository '{self.name}'")
            yield from json_of(answer).get("tags") or ()
            following = _NEXT.search(answer.headers.get("Link", ""))
            url = urljoin(answer.url, following[1]) if following is not None else None

    def referrers(self, digest: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """What is attached to an image, of one kind or of all.

        Registries that cannot be asked for it have it listed under a tag made of the digest.
        """
        listed = self.own_referrers(digest, artifact_type) or self.listed_referrers(digest)
        return tuple(one for one in listed.manifests if artifact_type in ("", one.artifact_type))

    def own_referrers(self, digest: Digest, artifact_type: str = "") -> Index | None:
        """What the registry says is attached to an image; None when it cannot be asked for that."""
        query = {"artifactType": artifact_type} if artifact_type else {}
        answer = self.send(Request("GET", self.url(f"referrers/{digest}", **query)))
        return Index.parse(answer.body) if answer.status == 200 else None

    def listed_referrers(self, digest: Digest) -> Index:
        """What is listed under the tag made of the digest; nothing when there is no such tag."""
        try:
            return Index.parse(self.manifest(referrers_tag(digest)).read())
        except ImageNotFoundError:
            return Index(())

    def has_blob(self, digest: Digest) -> bool:
        """Whether the repository has that content.

        Raises:
            RegistryError: It does not say.
        """
        answer = self.send(Request("HEAD", self.url(f"blobs/{digest}")))
        if answer.status in (200, 404):
            return answer.status == 200
        raise self.refusal(answer, f"the blob {digest}")

    def blob(self, descriptor: Descriptor) -> Blob:
        """Content of the repository, read from there when it is needed."""
        return Blob(descriptor, RemoteContent(self, descriptor), Repository(self.registry.host, self.name))

    def refusal(self, answer: Answer, what: str) -> RegistryError:
        """What to tell somebody about an answer that is none."""
        code, message = first_error(answer)
        where = f"{self.registry.host}/{self.name}"
        if answer.status in (401, 403):
            error = self.registry.authority(self.name).explain(answer)
            error.code = code
            return error
        if answer.status == 404:
            return ImageNotFoundError(
                f"{what} was not found",
                where=where,
                hint="check the name; some registries hide what one may not see",
                http_status=404,
                code=code,
            )
        said = f": {message}" if message else ""
        return RegistryError(
            f"the registry refuses {what}: HTTP status {answer.status}{said}",
            where=where,
            http_status=answer.status,
            code=code,
        )


def referrers_tag(digest: Digest) -> str:
    """The tag under which registries that know no referrers list what is attached to an image."""
    return f"{digest.algorithm}-{digest.hex}"


def _is_insecure(host: str) -> bool:
    listed = {one.strip() for one in os.environ.get(INSECURE_VARIABLE, "").split(",")}
    name = urlsplit(f"//{host}").hostname or ""
    if host in listed or name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def same_origin(url: str, origin: str) -> bool:
    """Whether an address is of a server: its scheme, host and port."""
    return urlsplit(url)[:2] == urlsplit(origin)[:2]


def _authorised(request: Request, header: str) -> Request:
    return replace(request, secrets={"Authorization": header} if header else {})
