"""`truss create`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from truss.cli.arguments import FOLDER, json_output
from truss.cli.output import json_result, note, reserved_stdout, result

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("create")
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("directory", metavar="DIR", type=FOLDER)
@click.option("--name", help="The model's name.")
@click.option(
    "--examples",
    metavar="FILE",
    type=_FILE,
    help="A JSON file with a request, or a list of them, to store with the model's answers.",
)
@click.option(
    "--requirements-file", metavar="FILE", type=_FILE, help="Requirements in place of the captured ones."
)
@click.option("--overwrite", is_flag=True, help="Replace a Truss that is in DIR.")
@click.option(
    "--trust-pickle", is_flag=True, help="Read the file even if that runs code, as any pickle does."
)
@json_output
def command(
    model: Path,
    directory: Path,
    name: str | None,
    examples: Path | None,
    requirements_file: Path | None,
    overwrite: bool,
    trust_pickle: bool,
    as_json: bool,
) -> None:
    """Package a model's file or folder as a Truss.

    MODEL is recognised by its content: ONNX, TorchScript, torch.export, Keras, SavedModel, XGBoost, LightGBM,
    CatBoost, spaCy, a folder of transformers, sentence-transformers or diffusers; and, if you trust who made
    it, a pickle (joblib, torch.save) or a folder of MLflow.

    Prints the new folder's path.
    """
    from truss.packaging import create_truss

    requests = None if examples is None else _read(examples)
    with reserved_stdout():
        created = create_truss(
            model,
            directory,
            name=name,
            examples=requests,
            requirements_file=requirements_file,
            overwrite=overwrite,
            trust_pickle=trust_pickle,
        )
    if as_json:
        json_result({"directory": str(created)})
        return
    result(str(created))
    note(f"next: truss serve {directory}")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise click.UsageError(f"{path} is not JSON: {error}") from error
