"""What a target is told: the config's `deploy: {target: {...}}`, and over it what the command line says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from truss.config.values import closest
from truss.deploy.target import Options, Target
from truss.errors import PlanError


@dataclass(frozen=True)
class Description:
    """One option, for people.

    Attributes:
        name: As in a config.
        type: What it takes: `text`, `number`, `yes or no`, `list`.
        default: Its default as it would be written; empty: there is none.
        text: What it means.
    """

    name: str
    type: str
    default: str
    text: str

    @property
    def flag(self) -> str:
        """As on the command line."""
        return _flag(self.name)


def read_options(target: Target, given: Mapping[str, Any], where: str = "") -> Options:
    """The options of a target, from plain values; texts are taken for numbers and truth values as well.

    Args:
        target: Whose.
        given: The values by name.
        where: What to name as the place of a mistake; default: the key in the config.

    Raises:
        PlanError: there is no such option, or a value does not fit.
    """
    place = where or f"deploy.{target.name}"
    names = target.options.__struct_fields__
    for name in given:
        if name not in names:
            near = closest(name, names)
            raise PlanError(
                f"the target '{target.name}' has no option '{name}'",
                where=place,
                hint=f"did you mean '{near}'?" if near else f"see `truss targets {target.name}`",
            )
    try:
        return msgspec.convert(dict(given), target.options, strict=False)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise PlanError(
            message, where=f"{place}{path.rstrip('`')}", hint=f"see `truss targets {target.name}`"
        ) from None


def refuse_unused(options: Options, target: str, names: Iterable[str], why: str, hint: str) -> None:
    """Refuse options that would do nothing: whoever gives one expects something of it.

    One that has its default counts as not given.

    Args:
        options: What the target is told.
        target: The target's name.
        names: The options that do nothing.
        why: When they do not, as `without GPUs`.
        hint: What to do.

    Raises:
        PlanError: one of them is given.
    """
    defaults = type(options)()
    for name in names:
        if getattr(options, name) != getattr(defaults, name):
            raise PlanError(f"{_flag(name)} does nothing {why}", where=f"deploy.{target}.{name}", hint=hint)


def check_copies(options: Options, target: str, least: str, most: str, by: Iterable[str] = ()) -> None:
    """Refuse fewer copies at most than at least, and what says when there are more where that never happens.

    A number at most that has its default counts as not given: it is that at least, if that is more.

    Args:
        options: What the target is told.
        target: The target's name.
        least: The option that says how many there are at least.
        most: That which says how many at most.
        by: Those that say when there are more.

    Raises:
        PlanError: it is so.
    """
    lower, upper = getattr(options, least), getattr(options, most)
    if upper < lower and upper != getattr(type(options)(), most):
        raise PlanError(
            f"there cannot be {lower} copies at least and {upper} at most",
            where=f"deploy.{target}.{most}",
            hint=f"give a {_flag(most)} that is not below {_flag(least)}",
        )
    if upper <= lower:
        hint = f"leave it out, or give a {_flag(most)} above {lower}"
        refuse_unused(options, target, by, "where the number of copies is fixed", hint)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def describe(target: Target) -> Iterator[Description]:
    """The options of a target."""
    hints = get_type_hints(target.options, include_extras=True)
    for field in msgspec.structs.fields(target.options):
        hint = hints[field.name]
        text = (
            next((one.description for one in get_args(hint)[1:] if isinstance(one, msgspec.Meta)), "") or ""
        )
        default = field.default if field.default is not msgspec.NODEFAULT else None
        shown = (
            ""
            if default in (None, "", ())
            else str(default).lower()
            if isinstance(default, bool)
            else str(default)
        )
        yield Description(field.name, _kind(hint), shown, text)


def _kind(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    bare = [part for part in get_args(hint) if part is not type(None)]
    if get_origin(hint) not in (None, tuple, dict, list) and len(bare) == 1:
        hint = bare[0]
    names = {str: "text", int: "whole number", float: "number", bool: "yes or no"}
    if hint in names:
        return names[hint]
    if get_origin(hint) in (tuple, list):
        return "list"
    if all(isinstance(part, str) for part in bare) and bare:
        return " or ".join(bare)
    return "mapping"


_FLAG = re.compile(r"--(no-)?([a-z][a-z0-9-]*)(?:=(.*))?", re.DOTALL)


def from_words(target: Target, words: Sequence[str]) -> dict[str, Any]:
    """The options that words of a command line say: `--region eu-west-1`, `--no-spot`, `--zones a,b`.

    Raises:
        PlanError: a word is no option, or its value is missing.
    """
    kinds = {one.flag.removeprefix("--"): one for one in describe(target)}
    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        match = _FLAG.fullmatch(word)
        known = kinds.get(match[2]) if match else None
        if match is None or known is None:
            near = closest(match[2], tuple(kinds)) if match else None
            raise PlanError(
                f"the target '{target.name}' takes no {word!r}",
                hint=f"did you mean --{near}?" if near else f"see `truss targets {target.name}`",
            )
        if known.type == "yes or no" and match[3] is None:
            found[known.name] = not match[1]
            continue
        if match[3] is None and not rest:
            raise PlanError(f"{known.flag} needs a value: {known.type}", hint=known.text)
        value = match[3] if match[3] is not None else rest.pop(0)
        found[known.name] = value.split(",") if known.type == "list" else value
    return found
