"""`truss predict`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from truss.cli.arguments import FOLDER, accepted, directory, json_output, server_url
from truss.cli.output import progress, reserved_stdout


@click.command("predict")
@directory
@click.option("-d", "--data", "--request", "data", metavar="JSON", help="The request.")
@click.option(
    "-f",
    "--file",
    "--request-file",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="A file with the request; - for stdin.",
)
@server_url
@click.option("--binary", is_flag=True, help="Request and answer are msgpack, with NumPy arrays.")
@click.option("--target_directory", "--target-directory", "target_directory", type=FOLDER, hidden=True)
@accepted("--run-local")
@json_output
def command(
    directory: Path,
    data: str | None,
    file: Path | None,
    url: str | None,
    binary: bool,
    target_directory: Path | None,
    as_json: bool,  # noqa: ARG001 - the answer is JSON anyway; errors are, when asked for
) -> None:
    """Ask a Truss, or a running server, for one prediction.

    The request comes from -d, from -f, or from stdin; the answer goes to stdout. Without --url the model is
    loaded here, in this process.

    \b
    truss predict my_model -d '{"inputs": [[5.1, 3.5, 1.4, 0.2]]}'
    truss predict --url http://127.0.0.1:8080 -f request.json
    """  # noqa: D301 - click reads the \b, which keeps the lines apart
    body = _body(data, file)
    if url is not None:
        answer = _ask_server(url, body, binary)
    else:
        answer = _ask_model(target_directory or directory, body, binary)
    sys.stdout.buffer.write(answer if binary else answer.rstrip(b"\n") + b"\n")
    sys.stdout.buffer.flush()


def _body(data: str | None, file: Path | None) -> bytes:
    if data is not None and file is not None:
        raise click.UsageError("the request comes from -d or from -f, not both")
    if data is not None:
        return data.encode()
    if file is not None and str(file) != "-":
        return file.read_bytes()
    if file is None and sys.stdin.isatty():
        raise click.UsageError("there is no request: give it with -d JSON, with -f FILE or on stdin")
    return sys.stdin.buffer.read()


def _ask_server(url: str, body: bytes, binary: bool) -> bytes:
    from truss.cli import client

    return client.ask(url, body, path=client.BINARY_PATH if binary else client.PREDICT_PATH)


def _ask_model(truss_dir: Path, body: bytes, binary: bool) -> bytes:
    from truss.config import read_config
    from truss.model import load_model
    from truss.runtime import codecs

    config = read_config(truss_dir)
    # Before the model is loaded: a typing mistake should not cost the time of a load.
    request = codecs.decode_msgpack(body) if binary else codecs.decode_json(body)
    with reserved_stdout():
        with progress("Loading the model"):
            loaded = load_model(truss_dir, config, isolated=False)
        try:
            answer = loaded.predict(request)
            return codecs.encode_msgpack(answer) if binary else codecs.encode_json(answer)
        finally:
            loaded.close()
