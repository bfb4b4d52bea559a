"""Connections: direct or through a proxy, with the certificates that the environment names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from truss.errors import MissingExtraError, RegistryError
from truss.oci.content import BLOCK_SIZE

if TYPE_CHECKING:
    import urllib3

_CONNECT_TIMEOUT = 15
_READ_TIMEOUT = 300  # some registries move a large blob to where it stays before they answer


def proxy_for(url: str) -> str:
    """The proxy that the environment, or the system, names for an address; empty for none."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return ""
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all") or ""


def new_pool(scheme: str, proxy: str, connections: int) -> urllib3.PoolManager:
    """Connections through a proxy, or direct ones when it is empty; `connections` to each host are kept.

    Those for the scheme `http` know no certificates: reading them takes its time.

    Raises:
        MissingExtraError: urllib3 is not installed.
        RegistryError: The proxy is of an unknown kind, or named certificates cannot be read.
    """
    try:
        import urllib3
    except ImportError:
        raise MissingExtraError("urllib3", "build", "talking to a registry") from None
    timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=_READ_TIMEOUT)
    settings: dict[str, Any] = {
        "maxsize": connections,
        "timeout": timeout,
        "ssl_context": _ssl_context() if scheme == "https" else None,
        "blocksize": BLOCK_SIZE,
    }
    if not proxy:
        return urllib3.PoolManager(**settings)
    parts = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme not in ("http", "https"):
        raise RegistryError(f"proxies of the kind '{parts.scheme}' are not supported")
    headers = urllib3.make_headers(proxy_basic_auth=unquote(parts.auth)) if parts.auth else None
    settings["proxy_ssl_context"] = _ssl_context() if parts.scheme == "https" else None
    return urllib3.ProxyManager(parts._replace(auth=None).url, proxy_headers=headers, **settings)


def _ssl_context() -> Any:
    """What certificates are checked with: the system's, and those that the usual variables name."""
    import ssl

    context = ssl.create_default_context()  # reads SSL_CERT_FILE and SSL_CERT_DIR itself
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or paths.capath):
        _trust_certifi(context)
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if bundle := os.environ.get(variable):
            try:
                context.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})  # noqa: PTH112
            except OSError as error:
                raise RegistryError(
                    f"the certificates that {variable} names cannot be read: {error}", where=bundle
                ) from error
    return context


def _trust_certifi(context: Any) -> None:
    """Trust a package's certificates where the system has none: some builds of Python for macOS."""
    try:
        import certifi
    except ImportError:
        return
    context.load_verify_locations(certifi.where())
