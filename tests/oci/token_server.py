"""A token server for a real registry: says who may do what, in tokens that it signs.

https://distribution.github.io/distribution/spec/auth/token/ and .../spec/auth/jwt/
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from certificates import make_certificate
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from truss.testing.registry import PASSWORD, USER

ISSUER, SERVICE = "tokens of the tests", "the registry of the tests"

Rights = Mapping[str, str]
"""By pattern of a repository's name, what is allowed there: `pull,push`."""


@dataclass
class TokenServer:
    """Who may do what, and what was asked for.

    Attributes:
        folder: Has the certificate that the registry trusts, `tokens.pem`.
        everybody: What those may who give no name.
        user: What `USER` may besides.
        realm: Where it is asked.
        asked: The scopes of each token that was given, in the order in which they were asked for.
    """

    folder: Path
    everybody: Rights = field(default_factory=dict)
    user: Rights = field(default_factory=lambda: {"*": "pull,push"})
    realm: str = ""
    asked: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        certificate, self.key = make_certificate(self.folder, "tokens")
        encoded = certificate.public_bytes(serialization.Encoding.DER)
        self.header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(encoded).decode()]}

    @property
    def auth(self) -> dict[str, Any]:
        """What a registry has to know of it."""
        bundle = str(self.folder / "tokens.pem")
        return {
            "token": {"realm": self.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle}
        }

    def token(self, scopes: list[str], *, known: bool) -> str:
        """A token for what is allowed of that; nothing is said of what is not."""
        self.asked.append(scopes)
        rights = {**self.everybody, **(self.user if known else {})}
        access = [self.granted(*scope.split(":"), rights) for scope in scopes]
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": USER if known else "", "aud": SERVICE, "jti": secrets.token_hex(8)}
        claims |= {"exp": now + 300, "nbf": now - 10, "iat": now, "access": access}
        signed = b".".join(encoded(json.dumps(part).encode()) for part in (self.header, claims))
        numbers = decode_dss_signature(self.key.sign(signed, ec.ECDSA(hashes.SHA256())))
        signature = b"".join(number.to_bytes(32, "big") for number in numbers)
        return b".".join((signed, encoded(signature))).decode()

    @staticmethod
    def granted(kind: str, name: str, actions: str, rights: Rights) -> dict[str, Any]:
        allowed = {
            action
            for pattern, given in rights.items()
            if fnmatch.fnmatch(name, pattern)
            for action in given.split(",")
        }
        wanted = [action for action in actions.split(",") if action in allowed]
        return {"type": kind, "name": name, "actions": wanted}


def encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@contextlib.contextmanager
def running_token_server(folder: Path, **rights: Rights) -> Iterator[TokenServer]:
    """Run one on a free loopback port."""
    folder.mkdir(parents=True)
    tokens = TokenServer(folder, **rights)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            right = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            query = parse_qs(urlsplit(self.path).query)
            if given not in ("", f"Basic {right}") or query.get("service") != [SERVICE]:
                self.answer(401, {"errors": [{"code": "UNAUTHORIZED"}]})
            else:
                token = tokens.token(query.get("scope", []), known=bool(given))
                self.answer(200, {"token": token, "expires_in": 300})

        def answer(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        tokens.realm = f"http://127.0.0.1:{server.server_port}/token"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield tokens
        finally:
            server.shutdown()
            thread.join(10)
