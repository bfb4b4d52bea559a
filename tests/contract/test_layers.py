"""The table of rooms in docs/architecture/00-overview.md, held against every import in the package."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "truss"

# Which rooms a room may import. `cli` is missing on the right-hand side: nobody imports it.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "version": frozenset(),
    "errors": frozenset(),
    "plugins": frozenset(),
    "config": frozenset({"errors"}),
    "weights": frozenset({"errors", "config"}),
    "model": frozenset({"errors", "config", "weights"}),
    "frameworks": frozenset({"errors", "config", "plugins"}),
    "packaging": frozenset({"errors", "version", "config", "model", "frameworks"}),
    "runtime": frozenset({"errors", "version", "config", "model"}),
    "oci": frozenset({"errors"}),
    "build": frozenset({"errors", "version", "config", "weights", "oci", "environments"}),
    "deploy": frozenset({"errors", "version", "config", "oci", "plugins"}),
    "environments": frozenset({"errors", "version", "config", "weights"}),
    "spec": frozenset({"config", "model", "packaging"}),
    "containers": frozenset({"errors", "config", "model", "environments", "oci", "build"}),
    "deployments": frozenset(
        {
            *("errors", "config", "model", "environments", "oci", "build", "deploy"),
            "containers",
        }
    ),
    "handle": frozenset(
        {
            *("spec", "errors", "version", "config", "model", "frameworks", "packaging", "build", "deploy"),
            *("containers", "deployments"),
        }
    ),
    "testing": frozenset(
        {
            *("errors", "version", "config", "model", "frameworks", "packaging", "environments", "handle"),
            "oci",
            "deploy",
        }
    ),
    "cli": frozenset(
        {
            "errors",
            "version",
            "config",
            "model",
            "frameworks",
            "packaging",
            "runtime",
            "handle",
            "oci",
            "build",
            "containers",
            "deploy",
            "deployments",
            "environments",
        }
    ),
    "__init__": frozenset({"errors", "version", "model", "handle"}),
}

# Third-party packages that a room may import when it is imported itself ...
THIRD_PARTY: dict[str, frozenset[str]] = {
    "config": frozenset({"msgspec", "ruamel"}),
    "model": frozenset({"msgspec", "ruamel"}),
    "packaging": frozenset({"ruamel"}),
    "runtime": frozenset({"msgspec", "uvicorn", "httptools", "uvloop"}),
    "cli": frozenset({"click"}),
    "deploy": frozenset({"msgspec"}),
    "testing": frozenset({"pytest"}),
}

# ... and those it may import inside a function only: heavy, or there only when the user has them.
THIRD_PARTY_INSIDE: dict[str, frozenset[str]] = {
    "frameworks": frozenset({"cloudpickle", "joblib", "numpy"}),
    "model": frozenset({"PIL", "numpy", "pydantic", "xxhash"}),
    "runtime": frozenset({"PIL", "grpc", "numpy", "opentelemetry", "pyarrow", "ray"}),
    "packaging": frozenset({"cloudpickle", "numpy", "packaging", "rich"}),
    "cli": frozenset({"rich"}),
    "deploy": frozenset({"boto3", "botocore", "google", "googleapiclient", "httplib2", "azure", "ruamel"}),
    "environments": frozenset({"uv"}),
    "build": frozenset({"tomli"}),
    "weights": frozenset({"gcsfs", "huggingface_hub", "s3fs"}),
    "oci": frozenset({"certifi", "deflate", "urllib3", "zstandard"}),
}

# What the adapter of a framework may import, inside a function; its model class may at the top.
LIBRARIES: dict[str, frozenset[str]] = {
    "sklearn": frozenset({"sklearn", "joblib", "numpy", "pandas"}),
    "keras": frozenset({"keras", "cloudpickle", "numpy"}),
    "tensorflow": frozenset({"tensorflow", "numpy"}),
    "onnx": frozenset({"onnx", "onnxruntime", "numpy"}),
    "statsmodels": frozenset({"statsmodels", "pandas", "numpy"}),
    "xgboost": frozenset({"xgboost", "numpy"}),
    "lightgbm": frozenset({"lightgbm", "numpy"}),
    "catboost": frozenset({"catboost"}),
    "diffusers": frozenset({"diffusers", "torch", "safetensors", "numpy", "PIL"}),
    "transformers": frozenset({"transformers", "torch", "safetensors", "numpy", "PIL"}),
    "torch": frozenset({"torch", "safetensors", "numpy"}),
    "sentence_transformers": frozenset({"sentence_transformers"}),
    "jax": frozenset({"jax", "flax", "safetensors", "numpy"}),
    "spacy": frozenset({"spacy"}),
    "mlflow": frozenset({"mlflow", "numpy", "pandas", "yaml"}),
    "callable": frozenset({"cloudpickle"}),
}

# Names that say nothing about what is inside.
BANNED_NAMES = frozenset({"utils", "util", "common", "helpers", "helper", "misc", "manager", "custom_types"})

Reach = Literal["module", "function", "typing"]


@dataclass(frozen=True)
class Import:
    """One imported module, and whether the importing module's own import reaches it."""

    module: str
    line: int
    reach: Reach


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    path: Path

    @property
    def name(self) -> str:
        parts = self.path.relative_to(SOURCE.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def room(self) -> str:
        return self.path.relative_to(SOURCE).with_suffix("").parts[0]

    @property
    def is_model_class(self) -> bool:
        """A file that is copied into Trusses rather than imported here."""
        return self.room == "frameworks" and self.path.stem.endswith("model_class")

    @property
    def framework(self) -> str | None:
        """The framework whose folder this is in."""
        parts = self.path.relative_to(SOURCE).parts
        return parts[1] if len(parts) > 2 and self.room == "frameworks" else None

    def imports(self) -> list[Import]:
        return list(_imports(ast.parse(self.path.read_text()), self, "module"))


def _imports(node: ast.AST, module: Module, reach: Reach) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, reach) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from _from_import(child, module, reach)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _imports(child, module, "typing" if reach == "typing" else "function")
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.body:
                yield from _imports(ast.Module([statement], []), module, "typing")
            for statement in child.orelse:
                yield from _imports(ast.Module([statement], []), module, reach)
        else:
            yield from _imports(child, module, reach)


def _from_import(node: ast.ImportFrom, module: Module, reach: Reach) -> Iterator[Import]:
    assert node.level == 0, f"{module.path}:{node.lineno}: write imports in full"
    assert node.module is not None
    if node.module == "truss":  # `from truss import errors` imports the room
        yield from (Import(f"truss.{alias.name}", node.lineno, reach) for alias in node.names)
    else:
        yield Import(node.module, node.lineno, reach)


MODULES = [Module(path) for path in sorted(SOURCE.rglob("*.py"))]


def _truss_room(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


def _is_third_party(name: str) -> bool:
    top = name.partition(".")[0]
    # tomllib came with Python 3.11.
    return top not in sys.stdlib_module_names and top not in ("truss", "__future__", "tomllib")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_rooms_import_only_the_rooms_they_may_know(module: Module) -> None:
    assert module.room in MAY_IMPORT, f"{module.room} is a new room: give it a line in the table"
    allowed = MAY_IMPORT[module.room] | {module.room}
    wrong = [
        f"{module.path}:{found.line} imports {found.module}"
        for found in module.imports()
        if found.module.partition(".")[0] == "truss" and _truss_room(found.module) not in allowed
    ]
    assert not wrong, f"{module.room} may import {sorted(allowed)}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_third_party_packages_stay_in_their_rooms(module: Module) -> None:
    at_top = THIRD_PARTY.get(module.room, frozenset())
    inside = at_top | THIRD_PARTY_INSIDE.get(module.room, frozenset())
    if module.framework is not None:
        inside |= LIBRARIES.get(module.framework, frozenset())
    if module.is_model_class:
        at_top = inside
    wrong = []
    for found in module.imports():
        top = found.module.partition(".")[0]
        allowed = at_top if found.reach == "module" else inside
        if found.reach != "typing" and _is_third_party(found.module) and top not in allowed:
            wrong.append(
                f"{module.path}:{found.line} imports {top} ({found.reach}); allowed: {sorted(allowed)}"
            )
    assert not wrong, "\n".join(wrong)


def test_frameworks_do_not_know_each_other() -> None:
    wrong = [
        f"{module.path}:{found.line} imports {found.module}"
        for module in MODULES
        if module.framework is not None
        for found in module.imports()
        if found.module.startswith("truss.frameworks.")
        and found.module.split(".")[2] in LIBRARIES
        and found.module.split(".")[2] != module.framework
    ]
    assert not wrong, "\n".join(wrong)


def test_model_classes_import_nothing_of_ours() -> None:
    wrong = [
        f"{module.path}:{found.line} imports {found.module}"
        for module in MODULES
        if module.is_model_class
        for found in module.imports()
        if found.module.partition(".")[0] == "truss"
    ]
    assert not wrong, "\n".join(wrong)


def test_commands_import_each_other_never() -> None:
    from truss.cli.group import COMMANDS

    commands = {f"truss.cli.{name.replace('-', '_')}" for name in COMMANDS}
    wrong = [
        f"{module.path}:{found.line} imports {found.module}"
        for module in MODULES
        if module.room == "cli"
        for found in module.imports()
        if found.module in commands
    ]
    assert not wrong, "\n".join(wrong)


def test_file_names_say_what_is_inside() -> None:
    root = SOURCE.parents[1]
    folders = [root / name for name in ("src", "tests", "examples", "benchmarks", "scripts")]
    found = [
        path.relative_to(root)
        for folder in folders
        for path in folder.rglob("*")
        if path.name.removeprefix("_").partition(".")[0] in BANNED_NAMES
    ]
    assert not found


def test_the_table_here_is_the_table_of_the_overview() -> None:
    text = (SOURCE.parents[1] / "docs" / "architecture" / "00-overview.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (.*?) \| .*\|$", text, re.MULTILINE)
    drawn = {
        room: {name for name in re.findall(r"\w+", may_import.partition(";")[0]) if name in MAY_IMPORT}
        for room, may_import in rows
        if room in MAY_IMPORT and not may_import.startswith("everything")
    }
    # `version` is a constant that any room may read.
    assert drawn == {room: MAY_IMPORT[room] - {"version"} for room in drawn}
    assert drawn.keys() >= {
        "errors",
        "config",
        "frameworks",
        "model",
        "packaging",
        "runtime",
        "oci",
        "build",
        "deploy",
        "weights",
    }


def test_the_reader_of_imports_sees_every_kind(tmp_path: Path) -> None:
    tree = ast.parse(
        "import a\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import b\nelse:\n    import c\n"
        "def f():\n    import d\n"
        "class K:\n    import e\n    async def g(self):\n        from h.i import j\n"
        "try:\n    import k\nexcept ImportError:\n    pass\n"
        "from truss import errors\n"
    )
    found = {(one.module, one.reach) for one in _imports(tree, Module(tmp_path), "module")}
    assert found == {
        ("a", "module"),
        ("typing", "module"),
        ("b", "typing"),
        ("c", "module"),
        ("d", "function"),
        ("e", "module"),
        ("h.i", "function"),
        ("k", "module"),
        ("truss.errors", "module"),
    }
