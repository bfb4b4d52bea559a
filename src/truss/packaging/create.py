"""Turn a live object into a Truss folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from truss.config import Signature, read_config, render_config
from truss.errors import MissingExtraError, PackagingError
from truss.frameworks.base import Framework, Saved
from truss.frameworks.files import open_model
from truss.frameworks.registry import framework_for
from truss.model.examples import write_examples
from truss.model.integrity import record
from truss.packaging import layout
from truss.packaging.golden import as_examples, recorded
from truss.packaging.progress import progress
from truss.packaging.requirements import Needs, capture
from truss.packaging.signature import as_config, completed

PathText = str | PathLike[str]


def create_truss(
    model: object,
    target_directory: PathText | None = None,
    *,
    name: str | None = None,
    examples: Any = None,
    data_files: Sequence[PathText] | None = None,
    requirements_file: PathText | None = None,
    bundled_packages: Sequence[PathText] | None = None,
    overwrite: bool = False,
    check: bool = True,
    trust_pickle: bool = False,
) -> Path:
    """Package a trained model. See `truss.create`, which takes and raises the same.

    Returns:
        The new folder, absolute.
    """
    if isinstance(model, (str, PathLike)):
        with progress("Opening the model"):
            model = open_model(Path(model).expanduser(), trusted=trust_pickle)
    framework = framework_for(model)
    target = _target(target_directory, framework)
    layout.check_target(target, overwrite=overwrite)
    golden = as_examples(examples)
    # Looked for before anything is written: a mistyped path is said at once.
    data = [path for pattern in data_files or () for path in layout.matching(pattern, "data file")]
    packages = [path for pattern in bundled_packages or () for path in layout.matching(pattern, "package")]
    lines = None if requirements_file is None else read_requirements(requirements_file)
    with layout.built_beside(target) as folder:
        (folder / "data").mkdir()
        with progress(f"Saving the model ({framework.name})"):
            saved = _save(framework, model, folder / "data")
            needs = capture(saved)
        signature = completed(saved.signature, golden[0].input if golden else None)
        _write(folder, framework, saved, needs, signature, name=name, requirements=lines)
        layout.copy_into(data, folder / "data")
        if packages or needs.local:
            given = {path.absolute().name for path in packages}  # goes before what was found
            found = [path for path in needs.local if path.name not in given]
            layout.copy_into([*found, *packages], folder / "packages")
        with progress("Checksums of the data files"):
            record(folder, [folder / "data"])
        config = read_config(folder)
        if check and golden:
            with progress("Checking the examples on the packaged copy"):
                live = partial(framework.answer, model)
                golden = recorded(golden, live, folder, config, repeats=saved.repeats)
        write_examples(folder, config, golden)
        layout.write_git_files(folder, folder / "data")
    for note in (*saved.notes, *_left_out(needs)):
        # Where a notebook or a terminal shows it; results go elsewhere.
        sys.stderr.write(f"note: {note}\n")
    return target


def _left_out(needs: Needs) -> list[str]:
    if not needs.left_out:
        return []
    return [
        f"the model states requirements that nothing in it needs, which are left out: "
        f"{', '.join(needs.left_out)}; add to `requirements` what your own code in the Truss uses of them"
    ]


def _target(given: PathText | None, framework: Framework) -> Path:
    path = layout.default_target(framework.name) if given is None else Path(given).expanduser()
    return path.absolute()


def _save(framework: Framework, model: object, data_dir: Path) -> Saved:
    try:
        return framework.save(model, data_dir)
    except (PackagingError, MissingExtraError):
        raise
    except OSError as error:
        raise PackagingError(
            f"the model's files cannot be written: {error.strerror or error}",
            where=str(error.filename or data_dir),
            hint="check the free space and your rights to the folder",
        ) from error


def _write(
    folder: Path,
    framework: Framework,
    saved: Saved,
    needs: Needs,
    signature: Signature,
    *,
    name: str | None,
    requirements: list[str] | None,
) -> None:
    """Write the config and the model class."""
    values: dict[str, Any] = {
        "model_name": name,
        "model_framework": framework.model_framework,
        "model_type": saved.model_type,
        "python_version": _python(saved),
        "requirements": list(needs.pins) if requirements is None else requirements,
        "model_metadata": dict(saved.model_metadata),
        "signature": as_config(signature),
    }
    values["runtime"] = {
        **({"batching": {"mode": saved.batching}} if saved.batching != "none" else {}),
        **({"workers": 1} if saved.spread_out else {}),
    }
    kept = {key: value for key, value in values.items() if value not in (None, {}, [])}
    (folder / "config.yaml").write_text(render_config(kept), encoding="utf-8", newline="\n")
    (folder / "model").mkdir()
    (folder / "model" / "__init__.py").touch()
    (folder / "model" / "model.py").write_text(saved.model_class, encoding="utf-8", newline="\n")


def _python(saved: Saved) -> str:
    major, minor = (saved.python_version or f"{sys.version_info.major}.{sys.version_info.minor}").split(".")
    return f"py{major}{minor}"


def read_requirements(path: PathText) -> list[str]:
    """The lines of a requirements file, without comments and blank lines.

    Raises:
        PackagingError: it cannot be read.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PackagingError(
            f"the requirements file cannot be read: {getattr(error, 'strerror', None) or error}",
            where=str(path),
            hint="give the path of a text file with one requirement a line",
        ) from error
    lines = [line.partition(" #")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]
