"""TLS of the listening socket: the certificate, who may connect, and a renewed certificate taken up."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from truss.errors import ServerStartError

logger = logging.getLogger("truss.serve")

_LOOK_SECONDS = 2.0
"""Between two looks at whether the certificate was renewed."""

CERTIFICATE_VARIABLE = "TRUSS_TLS_CERTIFICATE"
KEY_VARIABLE = "TRUSS_TLS_KEY"
CLIENT_CA_VARIABLE = "TRUSS_TLS_CLIENT_CA"


@dataclass(frozen=True)
class Tls:
    """The files, all PEM.

    Attributes:
        certificate: The server's certificate, with those between it and its root.
        key: Its private key; None when it is in the same file.
        client_ca: The roots that the certificates of clients must come from; None: clients need none.
    """

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """What connections are encrypted with: TLS 1.2 and later.

        Raises:
            ServerStartError: a file is not there, or not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise ServerStartError(
                f"the certificate, its key or the clients' roots cannot be used: {error}",
                where=", ".join(map(str, self._files())),
                hint="give PEM files that belong together and that this user may read",
            ) from error
        return context

    def take_up_renewals(
        self, context: ssl.SSLContext, taken_up: Callable[[Tls], None] | None = None
    ) -> None:
        """Load the certificate again when its files change; open connections keep the old one.

        Args:
            context: Where it is loaded.
            taken_up: Called then: who else shows it takes it up as well, or raises OSError.
        """
        loop = asyncio.get_running_loop()
        known = self._stamps()

        def look() -> None:
            nonlocal known
            found = self._stamps()
            if found != known:
                try:
                    context.load_cert_chain(self.certificate, self.key)
                    if taken_up is not None:
                        taken_up(self)
                    known = found
                    logger.info("took up the renewed certificate %s", self.certificate)
                except (OSError, ssl.SSLError) as error:  # half of it is there: the next look sees the rest
                    logger.warning("the changed certificate cannot be used yet: %s", error)
            loop.call_later(_LOOK_SECONDS, look)

        loop.call_later(_LOOK_SECONDS, look)

    def _files(self) -> list[Path]:
        return [file for file in (self.certificate, self.key, self.client_ca) if file is not None]

    def _stamps(self) -> list[tuple[int, int]]:
        stamps = []
        for file in (self.certificate, self.key):
            if file is not None:
                try:
                    found = file.stat()
                    stamps.append((found.st_mtime_ns, found.st_ino))
                except OSError:
                    stamps.append((0, 0))
        return stamps


def tls_of(variables: Mapping[str, str]) -> Tls | None:
    """What the environment says: `TRUSS_TLS_CERTIFICATE`, `TRUSS_TLS_KEY` and `TRUSS_TLS_CLIENT_CA`."""
    certificate = variables.get(CERTIFICATE_VARIABLE)
    if not certificate:
        return None
    key, client_ca = variables.get(KEY_VARIABLE), variables.get(CLIENT_CA_VARIABLE)
    return Tls(Path(certificate), Path(key) if key else None, Path(client_ca) if client_ca else None)
