"""Config files as people write them: every key of the schema, in many layouts."""

import math
import re
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from truss.config import render
from truss.config.check import field_types
from truss.config.schema import Section, TrussConfig

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
names = st.text("abcdefgh_-.XYZ019", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)


def values(hint: Any, meta: Any = None):
    """Values of an annotated type of the schema."""
    if get_origin(hint) is Annotated:
        inner, *rest = get_args(hint)
        own = next(
            (
                m
                for m in reversed(rest)
                if isinstance(m, msgspec.Meta) and (m.pattern or m.ge or m.gt or m.min_length)
            ),
            meta,
        )
        return values(inner, own)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is Union or type(hint).__name__ == "UnionType":
        return st.one_of([st.none() if kind is type(None) else values(kind, meta) for kind in arguments])
    if origin is list:
        return st.lists(values(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(names, values(arguments[1]), max_size=3)
    if hint is Any:
        return anything
    if isinstance(hint, type) and issubclass(hint, Section):
        return sections(hint)
    return SCALARS[hint](meta)


def text_values(meta: Any):
    if meta is None or meta.pattern is None:
        return words.filter(lambda text: len(text) >= ((meta and meta.min_length) or 0))
    return st.from_regex(re.compile(meta.pattern, re.ASCII), fullmatch=True).filter(
        lambda text: "\n" not in text
    )


SCALARS = {
    str: text_values,
    int: lambda meta: st.integers((meta and meta.ge) or 0, (meta and meta.le) or 10**6),
    float: lambda meta: st.floats(((meta and meta.ge) or 0) + 0.5, 1e6, allow_nan=False).filter(
        math.isfinite
    ),
    bool: lambda _: st.booleans(),
}


def sections(kind: type[Section]):
    """Mappings that hold any of a section's keys, and all that it requires."""
    hints = field_types(kind)
    required = {info.name for info in msgspec.structs.fields(kind) if info.required}
    return st.fixed_dictionaries(
        {name: values(hint) for name, hint in hints.items() if name in required},
        optional={name: values(hint) for name, hint in hints.items() if name not in required},
    )


@st.composite
def layouts(draw, content):
    """A mapping as YAML text with comments, blank lines, mixed quoting, block and flow style."""
    lines = draw(comments)
    for key, value in content.items():
        if draw(st.booleans()):
            made = [f"{render.scalar(key)}: {render.flow(value)}"]
        else:
            made = render.entry(key, value, 0)
        if draw(st.booleans()) and len(made) == 1:
            made[0] += draw(st.sampled_from(["  # why", " #x", ""]))
        lines += [*made, *draw(comments)]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return end.join(lines) + draw(st.sampled_from([end, "", end * 2]))


comments = st.lists(st.sampled_from(["", "# a comment", "#", "  # indented: {not: yaml"]), max_size=2)


def consistent(content):
    """Leave out what contradicts itself: those combinations have tests of their own."""
    content = dict(content)
    if content.get("docker_server"):
        content["docker_server"] = {**content["docker_server"], "start_command": "run"}
    if content.get("weights"):
        content["weights"] = content["weights"][:1]
    if content.get("requirements"):
        content.pop("requirements_file", None)
    return content


configs = sections(TrussConfig).map(consistent)
