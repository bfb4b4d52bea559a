"""Authorisation: answers a registry's challenges with names and passwords, or with tokens got for them."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from truss.errors import RegistryAuthError
from truss.oci.content import Memory
from truss.oci.credentials import Credentials, Found
from truss.oci.transport import Answer, Request, Transport, host_of

_PARAMETER = re.compile(r'([a-zA-Z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME = re.compile(r"(?:^|,)\s*([a-zA-Z][a-zA-Z0-9-]*)(?=\s+[a-zA-Z0-9_-]+\s*=|\s*(?:,|$))")
_SHORTEST_LIFE = 60.0  # what a token lives when its maker does not say
_MARGIN = 10.0  # a token that ends so soon is not used any more
_CLIENT_ID = "truss"


@dataclass(frozen=True)
class Challenge:
    """How a registry wants to be asked.

    Attributes:
        scheme: `basic` or `bearer`, in lower case.
        parameters: What it says about that: `realm`, `service`, `scope`.
    """

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Read a `WWW-Authenticate` header; one may hold several challenges."""
    starts = list(_SCHEME.finditer(_without_quoted(header)))
    ends = [*(start.start() for start in starts[1:]), len(header)]
    found = []
    for start, end in zip(starts, ends, strict=False):  # without a scheme there is an end too many
        parameters = _PARAMETER.finditer(header[start.end() : end])
        values = {one[1].lower(): re.sub(r"\\(.)", r"\1", one[2] or one[3] or "") for one in parameters}
        found.append(Challenge(start[1].lower(), values))
    return found


def _without_quoted(header: str) -> str:
    """The header with quoted text blanked out, so that commas and words in it mean nothing."""
    return re.sub(r'"(?:[^"\\]|\\.)*"', lambda quoted: '"' + "_" * (len(quoted[0]) - 2) + '"', header)


class Authority:
    """What a registry lets us do: finds the header that a request needs, once for all threads.

    Args:
        host: The registry, as references name it.
        transport: What asks for tokens.
        find: Looks credentials up; called at most once, when a registry first asks for some.
        clock: Seconds that only grow, to tell when tokens end.
    """

    def __init__(
        self,
        host: str,
        transport: Transport,
        find: Callable[[], Found],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._host = host
        self._transport = transport
        self._find = find
        self._found: Found | None = None
        self._challenge: Challenge | None = None
        self._registry_url = ""
        self._tokens: dict[frozenset[str], tuple[str, float]] = {}
        self._lock = threading.Lock()

    def header(self, scopes: Iterable[str]) -> str:
        """What to send as `Authorization` for these scopes; empty for nothing, or not yet known.

        A token that is missing or too old is asked for before anything is sent in vain.

        Raises:
            RegistryAuthError: No token is given.
        """
        wanted = frozenset(scopes)
        with self._lock:
            return self._header(wanted) or self._ask(wanted)

    def renew(self, answer: Answer, scopes: Iterable[str], used: str) -> str:
        """What to send after an answer of 401; empty when there is nothing better than what was used.

        Args:
            answer: The refusal.
            scopes: What is to be done, in the words of tokens: `repository:team/model:pull,push`.
            used: The header that was sent.

        Raises:
            RegistryAuthError: No credentials, or wrong ones.
        """
        wanted = frozenset(scopes)
        with self._lock:
            current = self._header(wanted)
            if current and current != used:
                return current  # another thread was here meanwhile
            self._tokens.pop(wanted, None)
            self._challenge = self._choose(answer)
            self._registry_url = answer.url
            renewed = self._header(wanted) or self._ask(wanted)
        return "" if renewed == used else renewed

    def explain(self, answer: Answer) -> RegistryAuthError:
        """What to tell somebody whom the registry refuses."""
        host = self._host
        if self._found is None or self._found.credentials is None:
            notes = "".join(f"; {note}" for note in (self._found.notes if self._found else ()))
            return RegistryAuthError(
                "the registry wants credentials, and none were found",
                where=host,
                hint=f"check the image's name, or log in: docker login {host}{notes}",
                http_status=answer.status,
            )
        return RegistryAuthError(
            f"the registry refuses the credentials from {self._found.credentials.source}",
            where=host,
            hint="they may be wrong, or lack the right for this repository; "
            f"to log in again: docker login {host}",
            http_status=answer.status,
        )

    @property
    def _credentials(self) -> Credentials:
        if self._found is None:
            self._found = self._find()
        return self._found.credentials or Credentials()

    def _header(self, scopes: frozenset[str]) -> str:
        if self._challenge is None:
            return ""
        if self._credentials.registry_token:
            return f"Bearer {self._credentials.registry_token}"
        if self._challenge.scheme == "basic":
            return f"Basic {self._credentials.basic}" if self._credentials.basic else ""
        token, ends = self._tokens.get(scopes, ("", 0.0))
        return f"Bearer {token}" if token and self._clock() < ends - _MARGIN else ""

    def _ask(self, scopes: frozenset[str]) -> str:
        """The header with a new token, where the registry takes tokens."""
        if self._challenge is None or self._challenge.scheme != "bearer":
            return ""
        self._tokens[scopes] = self._token(self._challenge, scopes)
        return self._header(scopes)

    def _choose(self, answer: Answer) -> Challenge:
        challenges = parse_challenges(answer.headers.get("WWW-Authenticate", ""))
        for scheme in ("bearer", "basic"):
            for challenge in challenges:
                if challenge.scheme == scheme:
                    return challenge
        raise RegistryAuthError(
            "the registry asks for credentials in a way that is not known",
            where=host_of(answer.url),
            hint=f"known are basic and bearer, it says {[one.scheme for one in challenges]}",
            http_status=answer.status,
        )

    def _token(self, challenge: Challenge, scopes: frozenset[str]) -> tuple[str, float]:
        """Ask for a token; returns it with the time of its end."""
        realm = challenge.parameters.get("realm", "")
        _check_realm(realm, self._registry_url)
        asked = _asked_scopes(challenge, scopes)
        if self._credentials.identity_token:
            request = self._exchange(realm, challenge, asked)
        else:
            query = [("service", challenge.parameters.get("service", "")), *(("scope", one) for one in asked)]
            basic = self._credentials.basic
            request = Request(
                "GET",
                f"{realm}{'&' if '?' in realm else '?'}{urlencode([pair for pair in query if pair[1]])}",
                secrets={"Authorization": f"Basic {basic}"} if basic else {},
            )
        asked_at = self._clock()
        answer = self._transport.send(request)
        return _read_token(answer, asked_at, self.explain)

    def _exchange(self, realm: str, challenge: Challenge, scopes: list[str]) -> Request:
        """The request that trades an identity token for one that the registry takes."""
        form = {
            "grant_type": "refresh_token",
            "service": challenge.parameters.get("service", ""),
            "client_id": _CLIENT_ID,
            "scope": " ".join(scopes),
            "refresh_token": self._credentials.identity_token,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Request("POST", realm, headers, content=Memory(urlencode(form).encode()))


def _asked_scopes(challenge: Challenge, scopes: frozenset[str]) -> list[str]:
    """What the registry says is needed, unless we know of more."""
    wanted = sorted(scopes)
    named = challenge.parameters.get("scope", "").split()
    return wanted or named


def _check_realm(realm: str, registry_url: str) -> None:
    """Passwords go where the registry says, but not unencrypted when the registry itself is encrypted."""
    scheme, registry_scheme = urlsplit(realm).scheme, urlsplit(registry_url).scheme
    if scheme not in ("http", "https") or (scheme == "http" and registry_scheme == "https"):
        raise RegistryAuthError(
            f"the registry sends us to '{host_of(realm) or realm}' for a token, which is not encrypted",
            where=host_of(registry_url),
        )


def _read_token(
    answer: Answer, asked_at: float, explain: Callable[[Answer], RegistryAuthError]
) -> tuple[str, float]:
    if answer.status in (400, 401, 403):
        raise explain(answer)
    try:
        document = json.loads(answer.body)
        token = document.get("token") or document.get("access_token")
        life = float(document.get("expires_in") or _SHORTEST_LIFE)
    except (ValueError, AttributeError, TypeError):
        token, life = None, 0.0
    if answer.status != 200 or not isinstance(token, str):
        raise RegistryAuthError(
            f"no token was given: HTTP status {answer.status}",
            where=host_of(answer.url),
            http_status=answer.status,
        )
    return token, asked_at + max(life, _SHORTEST_LIFE)
