"""A plan as a configuration of Terraform, for people who deploy with that.

It is written in Terraform's JSON syntax: https://developer.hashicorp.com/terraform/language/syntax/json. How
a kind of a plan's resources is called there, and what its arguments are, a `Form` says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from truss.config import secret_variable
from truss.deploy.plan import File, Output, Plan, Resource, SecretValue

PATH = "terraform/main.tf.json"

_IMAGE = "The image that runs, by its digest."


@dataclass(frozen=True, slots=True)
class Own:
    """An attribute of the first block of the same resource."""

    attribute: str


@dataclass(frozen=True, slots=True)
class Variable:
    """The value of a variable of the configuration."""

    name: str


@dataclass(frozen=True, slots=True)
class Joined:
    """A text out of parts, of which some are known later."""

    parts: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON text: kept as a local value, so that people can read it, and encoded by Terraform."""

    value: Any


@dataclass(frozen=True, slots=True)
class Block:
    """A resource of Terraform, or what is looked up.

    Attributes:
        type: What it is, as `aws_lb`.
        arguments: Its arguments: JSON values, those of a plan's body, and the markers above. None: it has no
            such argument.
        part: What its label ends in where a resource of the plan has several blocks of a type.
        looked_up: Whether it is there already.
    """

    type: str
    arguments: Mapping[str, Any]
    part: str = ""
    looked_up: bool = False


@dataclass(frozen=True)
class Form:
    """How one kind of a plan's resources is written.

    Attributes:
        blocks: Its blocks, the one that it is named after first; those that use it come after all of them.
        outputs: Where the values are that the plan uses of it, as `aws_lb.{label}.arn`.
        after: Kinds that are to be there before it, though it uses no value of theirs.
        shown: What a person wants to know of it afterwards.
    """

    blocks: Callable[[Resource], Iterable[Block]]
    outputs: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    shown: Callable[[Resource], Mapping[str, Any]] = lambda _: {}


@dataclass(frozen=True)
class Provider:
    """Where Terraform gets resources of a platform from.

    Attributes:
        name: What resources name it by.
        source: Where it is in Terraform's registry.
        version: The versions that have what the forms say.
        forms: By kind.
    """

    name: str
    source: str
    version: str
    forms: Mapping[str, Form]


def snake_case(value: Any, free: Iterable[str] = ()) -> Any:
    """A value of a cloud's API with its keys as Terraform spells them.

    Args:
        value: JSON values and markers.
        free: Keys, in Terraform's spelling, of maps whose own keys are somebody's names and stay.
    """
    if isinstance(value, Mapping):
        named = ((_snake(key), part) for key, part in value.items())
        return {key: part if key in free else snake_case(part, free) for key, part in named}
    if isinstance(value, list | tuple):
        return [snake_case(part, free) for part in value]
    return value


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def with_terraform(
    plan: Plan, provider: Provider, image: str, settings: Mapping[str, tuple[str, str]]
) -> Plan:
    """A plan with a configuration among its files. Values of secrets are variables of it, and in no file.

    Args:
        plan: The plan.
        provider: The provider, which has a form for each kind of its resources.
        image: What the plan runs, which becomes a variable: a pipeline may have pushed another one.
        settings: The provider's own, as its region, which are variables too: what each is, and its value;
            empty: Terraform finds it where the provider says.
    """
    document = _Configuration(plan, provider, image).document(settings)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return replace(plan, files=(*plan.files, File(PATH, text)))


class _Configuration:
    """The parts of one configuration, filled in as the plan's resources are gone through."""

    def __init__(self, plan: Plan, provider: Provider, image: str) -> None:
        self._plan, self._provider, self._image = plan, provider, image
        self._every = {one.key: one for one in (*plan.existing, *plan.resources)}
        self._secrets: set[str] = set()
        self._documents: dict[str, Any] = {}

    def document(self, settings: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
        name, outputs = self._provider.name, {}
        blocks: dict[bool, dict[str, dict[str, Any]]] = {True: {}, False: {}}
        for one in self._every.values():
            for block in self._form(one).blocks(one):
                labelled = blocks[block.looked_up].setdefault(block.type, {})
                label = _label(one, block)
                labelled[label] = _joined(labelled.get(label, {}), self._arguments(one, block))
            for key, value in self._form(one).shown(one).items():
                outputs[key] = {"value": self._expressed(value, one)}
        variables = {key: _variable(*said) for key, said in settings.items()}
        variables["image"] = _variable(_IMAGE, self._image)
        for secret in sorted(self._secrets):
            text = f"The value of the secret {secret}."
            said = {"type": "string", "description": text, "sensitive": True}
            variables[secret_variable(secret)] = said
        required = {name: {"source": self._provider.source, "version": self._provider.version}}
        parts = {
            "terraform": {"required_providers": required},
            "provider": {name: {key: f"${{var.{key}}}" for key in settings}},
            "variable": variables,
            "locals": self._documents,
            "data": blocks[True],
            "resource": blocks[False],
            "output": outputs,
        }
        return {key: part for key, part in parts.items() if part}

    def _form(self, resource: Resource) -> Form:
        return self._provider.forms[resource.kind]

    def _arguments(self, resource: Resource, block: Block) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for key, value in block.arguments.items():
            if isinstance(value, Document):
                name = f"{_address(resource, block).replace('.', '_')}_{key}"
                self._documents[name] = self._expressed(value.value, resource)
                said[key] = f"${{jsonencode(local.{name})}}"
            elif value is not None:
                said[key] = self._expressed(value, resource)
        if before := sorted(self._before(resource, block)):
            said["depends_on"] = before
        return said

    def _before(self, resource: Resource, block: Block) -> set[str]:
        """What has to be there before a block, beside what its arguments name: the rest of what they use."""
        used = {output.resource for output in _outputs(list(block.arguments.values()))} - {resource.key}
        rest = [
            _address(one, other)
            for one in map(self._every.__getitem__, used)
            for other in list(self._form(one).blocks(one))[1:]
            if not other.looked_up
        ]
        kinds = self._form(resource).after
        whole = [one for one in self._plan.resources if one.kind in kinds]
        every = {*rest, *(_address(one, other) for one in whole for other in self._form(one).blocks(one))}
        return every - {_address(resource, block)}

    def _expressed(self, value: Any, resource: Resource) -> Any:
        """A value in which what is known later is an expression, and a text is no template."""
        if isinstance(value, Output):
            said = self._every[value.resource]
            return f"${{{self._form(said).outputs[value.name].format(label=_name(said))}}}"
        if isinstance(value, Own):
            first = next(iter(self._form(resource).blocks(resource)))
            return f"${{{_address(resource, first)}.{value.attribute}}}"
        if isinstance(value, Variable):
            return f"${{var.{value.name}}}"
        if isinstance(value, Joined):
            return "".join(self._expressed(part, resource) for part in value.parts)
        if isinstance(value, SecretValue):
            self._secrets.add(value.name)
            return f"${{var.{secret_variable(value.name)}}}"
        if isinstance(value, str):
            return "${var.image}" if value == self._image else _plain(value)
        if isinstance(value, Mapping):
            return {_plain(key): self._expressed(part, resource) for key, part in value.items()}
        if isinstance(value, Sequence):
            return [self._expressed(part, resource) for part in value]
        return value


def _variable(description: str, default: str) -> dict[str, Any]:
    return {"type": "string", "description": description, "default": default or None}


def _joined(block: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """One block that two resources are part of: both say the same of it, but for what is in its lists."""
    said = {**block, **more}
    for key in block.keys() & more.keys():
        if isinstance(block[key], list):
            said[key] = [*block[key], *(one for one in more[key] if one not in block[key])]
        assert isinstance(block[key], list) or block[key] == more[key], key
    return said


def _plain(text: str) -> str:
    """A text that Terraform does not take for a template."""
    return text.replace("${", "$${").replace("%{", "%%{")


def _name(resource: Resource) -> str:
    """What the first block of a resource is labelled."""
    return re.sub(r"[^A-Za-z0-9]+", "_", resource.name).strip("_")


def _label(resource: Resource, block: Block) -> str:
    return f"{_name(resource)}_{block.part}" if block.part else _name(resource)


def _address(resource: Resource, block: Block) -> str:
    return f"{'data.' if block.looked_up else ''}{block.type}.{_label(resource, block)}"


def _outputs(value: Any) -> Iterator[Output]:
    """Every output that a value uses."""
    if isinstance(value, Output):
        yield value
    elif isinstance(value, Joined):
        yield from _outputs(value.parts)
    elif isinstance(value, Document):
        yield from _outputs(value.value)
    elif isinstance(value, Mapping):
        yield from _outputs(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _outputs(part)
