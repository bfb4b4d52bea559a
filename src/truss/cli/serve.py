"""`truss serve`. Imports next to nothing: the time to the first answer is the model's, not ours."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from truss.cli.arguments import directory
from truss.cli.isolated import isolated, run_in_its_environment
from truss.cli.output import note

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080


@click.command("serve")
@directory
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="The TCP port; 0 picks a free one.",
)
@click.option(
    "--host", default=DEFAULT_HOST, show_default=True, help="The address to listen on; 0.0.0.0 for all."
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Copies of the model; by default runtime.workers of config.yaml, else one per GPU, else 1.",
)
@click.option(
    "--tls-certificate",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="TRUSS_TLS_CERTIFICATE",
    help="Serve HTTPS with this certificate (PEM).",
)
@click.option(
    "--tls-key",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="TRUSS_TLS_KEY",
    help="Its private key, unless that is in the same file.",
)
@click.option(
    "--tls-client-ca",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="TRUSS_TLS_CLIENT_CA",
    help="Take only clients with a certificate from these roots.",
)
@click.option("--watch", is_flag=True, help="Take up edits of the model's code while it is served.")
@isolated
def command(
    directory: Path,
    port: int,
    host: str,
    workers: int | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    watch: bool,
    isolated: bool,
) -> int:
    """Serve a Truss over HTTP.

    Runs until interrupted; answers what it has accepted before it ends.
    """
    if isolated:
        options = [] if workers is None else ["--workers", str(workers)]
        options += [*_tls_options(tls_certificate, tls_key, tls_client_ca), *(["--watch"] if watch else [])]
        run_in_its_environment(directory, ["serve", directory, "--host", host, "--port", str(port), *options])
    from truss.runtime.serve import serve
    from truss.runtime.tls import Tls

    tls = None if tls_certificate is None else Tls(tls_certificate, tls_key, tls_client_ca)
    return serve(directory, host=host, port=port, workers=workers, on_listening=_greet, tls=tls, watch=watch)


def _tls_options(certificate: Path | None, key: Path | None, client_ca: Path | None) -> list[str]:
    named = {"--tls-certificate": certificate, "--tls-key": key, "--tls-client-ca": client_ca}
    return [text for option, file in named.items() if file is not None for text in (option, str(file))]


def _greet(url: str) -> None:
    request = shlex.quote('{"inputs": [...]}')
    note(f"serving on {url}")
    note(f"try: curl {url}/v1/models/model:predict -d {request}")
