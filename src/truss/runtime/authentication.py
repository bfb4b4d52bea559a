"""API keys: which there are, and whether a request carries one."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from time import monotonic

from truss.config import TrussConfig, secret_variable
from truss.errors import ServerStartError, TrussError, UnauthorizedError
from truss.model.secrets import Secrets

_SECONDS = 1.0
"""A secret is looked up again when it was looked up longer ago than this: a key that was added counts from
then on, and one that was removed no more."""

_SCHEMES = (b"bearer ", b"api-key ")
"""Before a key in `Authorization`, in any case."""


class ApiKeys:
    """The keys that clients may show.

    Only digests of them are kept, and comparing takes as long whatever is shown.

    Args:
        secrets: Where the keys are looked up.
        name: The secret that holds them, separated by white space or commas.
    """

    def __init__(self, secrets: Secrets, name: str) -> None:
        self._secrets = secrets
        self._name = name
        self._digests: tuple[bytes, ...] = ()
        self._looked_up = float("-inf")

    @property
    def digests(self) -> tuple[bytes, ...]:
        """The digests of the keys as they are now; none when the secret cannot be read."""
        if monotonic() - self._looked_up > _SECONDS:
            self._digests = self._look_up()
            self._looked_up = monotonic()
        return self._digests

    def _look_up(self) -> tuple[bytes, ...]:
        try:
            text = self._secrets[self._name] or ""
        except TrussError:  # the file is being replaced: nobody is let in meanwhile
            return ()
        return tuple(_digest(key.encode()) for key in re.split(r"[\s,]+", text) if key)

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Refuse a request that shows none of the keys.

        Args:
            headers: Its headers, names in lower case.

        Raises:
            UnauthorizedError: it does not.
        """
        shown = [_digest(key) for key in _shown(headers)]
        known = self.digests
        # Every pair is compared, so that the time tells nothing of which key was close.
        matches = [hmac.compare_digest(one, key) for one in shown for key in known]
        if True not in matches:
            message = "the API key is not one of this server's" if shown else "the request carries no API key"
            raise UnauthorizedError(message, hint="send it in the header `Authorization: Bearer ...`")


def api_keys(config: TrussConfig) -> ApiKeys | None:
    """The keys that the config asks for, or None when everybody may ask.

    Raises:
        ServerStartError: it asks for keys, and there is none: nobody could ever be let in.
    """
    name = config.runtime.authentication.api_keys_secret
    if name is None:
        return None
    where = "runtime.authentication.api_keys_secret"
    if name not in config.secrets:
        raise ServerStartError(
            f"secret {name!r} is not declared", where=where, hint="add it under `secrets:` in config.yaml"
        )
    keys = ApiKeys(Secrets(config.secrets), name)
    if not keys.digests:
        raise ServerStartError(
            f"secret {name!r} holds no API key",
            where=where,
            hint=f"set {secret_variable(name)}, or write one a line to the file {name} in the secrets folder",
        )
    return keys


def _shown(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
    for name, value in headers:
        if name in (b"x-api-key", b"api-key"):
            yield value.strip()
        elif name == b"authorization":
            for scheme in _SCHEMES:
                if value[: len(scheme)].lower() == scheme:
                    yield value[len(scheme) :].strip()


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
