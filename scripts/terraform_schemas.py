"""Write what Terraform's providers say of resources, out of classes that are generated from their schemas.

`terraform_schemas.py FOLDER FILE`; see scripts/terraform-schemas. The classes are read, and never run.

The file has one line a resource. What an argument takes is `"string"`, `"number"`, `"bool"` or `"any"`;
`[one]` is a list, `{"": one}` a map of any keys, any other object a block with arguments of its own. `!`
stands before the name of what is required.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TYPES: Mapping[str, tuple[str, ...]] = {
    "aws": (
        "aws_appautoscaling_policy",
        "aws_appautoscaling_target",
        "aws_autoscaling_group",
        "aws_cloudwatch_log_group",
        "aws_ecr_repository",
        "aws_ecr_repository_policy",
        "aws_ecs_capacity_provider",
        "aws_ecs_cluster",
        "aws_ecs_cluster_capacity_providers",
        "aws_ecs_service",
        "aws_ecs_task_definition",
        "aws_iam_instance_profile",
        "aws_iam_role",
        "aws_iam_role_policy",
        "aws_iam_role_policy_attachment",
        "aws_lambda_function",
        "aws_lambda_function_url",
        "aws_lambda_permission",
        "aws_launch_template",
        "aws_lb",
        "aws_lb_listener",
        "aws_lb_target_group",
        "aws_sagemaker_endpoint",
        "aws_sagemaker_endpoint_configuration",
        "aws_sagemaker_model",
        "aws_secretsmanager_secret",
        "aws_secretsmanager_secret_version",
        "aws_security_group",
        "aws_vpc_security_group_egress_rule",
        "aws_vpc_security_group_ingress_rule",
        "data.aws_region",
        "data.aws_subnet",
        "data.aws_subnets",
    ),
    "google": (
        "google_cloud_run_v2_service",
        "google_cloud_run_v2_service_iam_member",
        "google_secret_manager_secret",
        "google_secret_manager_secret_iam_binding",
        "google_secret_manager_secret_version",
        "google_service_account",
    ),
}

_PLAIN = {"builtins.str": "string", "jsii.Number": "number", "builtins.bool": "bool", "typing.Any": "any"}
_DEPTH = 2
_OF_EVERY_RESOURCE = frozenset(
    {"connection", "count", "depends_on", "for_each", "lifecycle", "provider", "provisioners"}
)


def schemas(package: Path, provider: str) -> dict[str, Any]:
    """The version of a provider, its settings, and its resources by type, `data.` before those looked up."""
    metadata = next(package.parent.glob(f"{package.name}-*.dist-info/METADATA")).read_text(encoding="utf-8")
    version = re.search(rf"hashicorp/{provider} provider version ([\d.]+)", metadata)
    assert version is not None, "the package does not say which provider it was made from"
    settings = _Classes(package / "provider" / "__init__.py").object(f"{provider.title()}ProviderConfig")
    return {
        "version": version[1],
        "settings": sorted(name for name in settings if not name.endswith("_custom_endpoint")),
        "resources": {name: _resource(package, provider, name) for name in TYPES[provider]},
    }


def _resource(package: Path, provider: str, name: str) -> dict[str, Any]:
    looked_up, _, type_ = name.rpartition(".")
    folder = f"data_{type_}" if looked_up else type_.removeprefix(f"{provider}_")
    classes = _Classes(package / folder / "__init__.py")
    cased = "".join(part.title() for part in folder.split("_"))
    return {"arguments": classes.object(f"{cased}Config"), "attributes": sorted(classes.attributes(cased))}


class _Classes:
    """The classes of one module."""

    def __init__(self, path: Path) -> None:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        self._nodes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}

    def object(self, name: str, *, whole: bool = False) -> dict[str, Any]:
        """The arguments that a class has, without a provider's time limits.

        Args:
            name: The class.
            whole: Whether it has to have all of them.
        """
        made = next(one for one in self._methods(name) if one.name == "__init__")
        told = ast.get_docstring(made) or ""
        found = {}
        for argument, default in zip(made.args.kwonlyargs, made.args.kw_defaults, strict=True):
            if argument.arg in _OF_EVERY_RESOURCE or argument.arg == "timeouts":
                continue
            assert argument.annotation is not None
            # What Terraform calls it is told where its page is.
            said = re.search(rf":param {argument.arg}: (.*?)#(\w+) ", told)
            key, text = (said[2], said[1]) if said else (argument.arg, "")
            required = "!" if whole or default is None else ""
            # What is a value and no block can leave nothing out.
            found[required + key] = self._kind(argument.annotation, whole=" block." not in text)
        return found

    def attributes(self, name: str) -> Iterator[str]:
        """What can be read of a resource."""
        for method in self._methods(name):
            decorators = [ast.unparse(one) for one in method.decorator_list]
            if "builtins.property" in decorators and not method.name.endswith("_input"):
                yield method.name

    def _methods(self, name: str) -> list[ast.FunctionDef]:
        return [one for one in self._nodes[name].body if isinstance(one, ast.FunctionDef)]

    def _kind(self, said: ast.expr, *, whole: bool) -> Any:
        text = ast.unparse(said)
        if text in _PLAIN:
            return _PLAIN[text]
        name = said.value if isinstance(said, ast.Constant) else text
        if isinstance(name, str) and name in self._nodes:
            return self.object(name, whole=whole)
        assert isinstance(said, ast.Subscript), text
        match ast.unparse(said.value), said.slice:
            case "typing.Optional", inner:
                return self._kind(inner, whole=whole)
            case "typing.Union", ast.Tuple(elts=parts):
                # Beside what is meant: what stands for it until later, and the same as a dictionary.
                meant = [
                    one for one in parts if not re.search(r"IResolvable$|^typing.Dict", ast.unparse(one))
                ]
                assert len(meant) == 1, text
                return self._kind(meant[0], whole=whole)
            case "typing.Sequence", inner:
                return [self._kind(inner, whole=whole)]
            case "typing.Mapping", ast.Tuple(elts=[_, inner]):
                return {"": self._kind(inner, whole=whole)}
        raise AssertionError(f"a form that is not read: {text}")


def _text(value: Any, depth: int = 0) -> str:
    """JSON with a line for each resource."""
    if depth > _DEPTH or not isinstance(value, Mapping):
        return json.dumps(value)
    lines = (f"{json.dumps(key)}: {_text(part, depth + 1)}" for key, part in value.items())
    return "{\n" + ",\n".join(lines) + "\n}"


if __name__ == "__main__":
    packages, written = map(Path, sys.argv[1:])
    every = {name: schemas(packages / f"cdktf_cdktf_provider_{name}", name) for name in TYPES}
    # All that Google's provider has of Vertex AI, to see what it has not.
    of_vertex = (packages / "cdktf_cdktf_provider_google").glob("vertex_ai_*")
    every["google"]["vertex_ai"] = sorted(f"google_{folder.name}" for folder in of_vertex)
    written.write_text(_text(every) + "\n", encoding="utf-8")
