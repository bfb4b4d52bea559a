"""Config files as people write them: every key that the types allow, in every layout that YAML allows."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from hypothesis import strategies as st

from truss.config import values
from truss.config.convert import Kind, keys_of, kind_of
from truss.config.schema import Section, TrussConfig

text_characters = st.characters(
    codec="utf-8", exclude_characters="\x00", exclude_categories=["Cs", "Cc", "Co", "Cn"]
)
words = st.one_of(
    st.text("abcXYZ 019.,:#-_'\"[]{}&*!|>%@`?=~\\/<+", max_size=10),
    st.text(text_characters, max_size=8),
    st.sampled_from(
        ["yes", "null", "010", "1:30", "1e3", "3.10", "0x1F", "2020-01-01", "<<", "=", "- a", "a: b", "a #b"]
    ),
)
names = st.text("abcdefgh_-.XYZ019", min_size=1, max_size=8).filter(lambda name: name not in {".", ".."})
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, width=32) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
sizes = st.builds(
    "{}{}".format,
    st.integers(0, 9999) | st.sampled_from(["0.5", "1.25", "1e3"]),
    st.sampled_from(list(values.UNITS)),
)
PARSED = {
    values.size: sizes,
    values.cpu: st.from_regex(r"[0-9]{1,3}(\.[0-9])?m?", fullmatch=True).filter(str.isascii),
    values.python_version: st.sampled_from([f"py3{minor}" for minor in values.PYTHON_MINORS]),
    values.accelerator: st.builds(
        "{}{}".format, st.sampled_from(values.ACCELERATORS), st.sampled_from(["", ":1", ":8"])
    ),
    values.secret_name: names,
    values.build_secret_name: names | names.map("DOCKER_REGISTRY_https://{}/v1/".format),
    values.environment_value: words,
    values.absolute_path: words.map("/{}".format),
    values.optional_absolute_path: words.map("/{}".format) | st.just(""),
    values.ipv4_network: st.sampled_from(["1.1.1.1", "10.0.0.0/8", "10.1.2.3/16"]),
    values.domain: st.sampled_from(["huggingface.co", "*.example.com", "localhost"]),
}


def of_kind(kind: Kind) -> st.SearchStrategy[Any]:
    """Values of a type of the schema."""
    inner = _not_null(kind)
    return st.none() | inner if kind.optional else inner


def _not_null(kind: Kind) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(kind.type), get_args(kind.type)
    limits = {
        name: limit
        for meta in kind.metas
        for name in ("ge", "gt", "le", "min_length")
        if (limit := getattr(meta, name)) is not None
    }
    if kind.parser in PARSED:
        return PARSED[kind.parser]
    if kind.parser is not None or any(meta.pattern for meta in kind.metas):
        patterns = [m.pattern or (m.extra_json_schema or {}).get("pattern") for m in kind.metas]
        choices = [
            m.extra_json_schema["enum"]
            for m in kind.metas
            if m.extra_json_schema and "enum" in m.extra_json_schema
        ]
        if choices:
            return st.sampled_from(choices[0])
        pattern = next(pattern for pattern in patterns if pattern)
        return st.sampled_from(ADDRESSES).filter(lambda text: re.search(pattern, text))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is list:
        return st.lists(of_kind(kind_of(arguments[0])), min_size=limits.get("min_length", 0), max_size=3)
    if origin is dict:
        return st.dictionaries(
            of_kind(kind_of(arguments[0])) if kind_of(arguments[0]).parser else names,
            of_kind(kind_of(arguments[1])),
            max_size=3,
        )
    if kind.type is Any:
        return anything
    if isinstance(kind.type, type) and issubclass(kind.type, Section):
        return sections(kind.type)
    if kind.type is str:
        return words.filter(lambda text: len(text) >= limits.get("min_length", 0))
    if kind.type is bool:
        return st.booleans()
    if kind.type is int:
        return st.integers(limits.get("ge", limits.get("gt", 0) + 1), limits.get("le", 10**6))
    return st.floats(limits.get("ge", 0) + 0.0625, limits.get("le", 10**6), width=32)


ADDRESSES = [
    "hf://owner/name@main",
    "s3://bucket/path",
    "https://example.com/file",
    "bdn:weights/llama-8b:prod",
    "bdn:weights/llama-8b@b3:0123456789abcdef",
]


def sections(section: type[Section]) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings with any of a section's keys, the required ones always, whose values agree with each other."""
    keys = keys_of(section)
    return st.fixed_dictionaries(
        {name: of_kind(key.kind) for name, key in keys.items() if key.required},
        optional={name: of_kind(key.kind) for name, key in keys.items() if not key.required},
    ).map(lambda found: AGREEING.get(section.__name__, lambda same: same)(found))


def _authenticated(found: dict[str, Any]) -> dict[str, Any]:
    secret = "secret_name" if "secret_name" in keys_of_auth(found) else "auth_secret_name"
    method = found["auth_method"]
    kept = {
        key: value
        for key, value in found.items()
        if not key.startswith(("aws_oidc", "gcp_oidc", "aws_assume")) and key != secret
    }
    needed = {
        "AWS_OIDC": ["aws_oidc_role_arn", "aws_oidc_region"],
        "GCP_OIDC": ["gcp_oidc_service_account", "gcp_oidc_workload_id_provider"],
        "AWS_ASSUME_ROLE": ["aws_assume_role_arn", "aws_assume_role_region"],
        "GCP_SERVICE_ACCOUNT_JSON": ["secret_name"],
        "CUSTOM_SECRET": ["auth_secret_name"],
    }
    return {**kept, **dict.fromkeys(needed.get(method, []), "something")}


def keys_of_auth(found: dict[str, Any]) -> set[str]:
    return set(found)


def _unique(items: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    return list({item.get(key, ""): item for item in items}.values())


def _top(found: dict[str, Any]) -> dict[str, Any]:
    found = dict(found)
    if found.get("requirements"):
        found.pop("requirements_file", None)
    if found.get("weights"):
        found["weights"] = _unique(found["weights"], "mount_location")
        found.pop("model_cache", None)
    if found.get("model_cache"):
        found["model_cache"] = found["model_cache"][:1]
    if (found.get("docker_server") or {}).get("run_as_user_id") is not None:
        found.pop("runtime", None)
    if found.get("docker_server") is not None and found.get("runtime"):
        found["runtime"] = {key: value for key, value in found["runtime"].items() if key != "grpc"}
    return found


def _signature(found: dict[str, Any]) -> dict[str, Any]:
    kept = {
        key: _unique(value, "name") if key in ("columns", "tensors") else value
        for key, value in found.items()
    }
    return {key: value for key, value in kept.items() if key != "tensors" or not kept.get("columns")}


AGREEING = {
    "Signature": _signature,
    "TrussConfig": _top,
    "Build": lambda found: {**found, "no_cache": False} if "no_cache" in found else found,
    "DockerServer": lambda found: {**found, "start_command": "run", "run_as_user_id": None},
    "DockerAuth": _authenticated,
    "WeightsAuth": _authenticated,
    "WeightsSource": lambda found: {**found, "auth_secret_name": None} if found.get("auth") else found,
    "CachedRepo": lambda found: {**found, "revision": "main", "volume_folder": "folder"},
    "Bdn": lambda found: {
        **found,
        "mounts": _unique(found.get("mounts", []), "path"),
        "access": _unique(found.get("access", []), "namespace"),
    },
    "TrainingCheckpoints": lambda found: {**found, "loops_checkpoint_ids": []},
    "QuantizationConfig": lambda _: {"calib_size": 128},
    "Runtime": lambda found: {
        **found,
        "truss_server_version_override": "0.9.0",
        "is_websocket_endpoint": None,
    },
}

configs = sections(TrussConfig)


# Layouts. Written independently of the product's own writer, which is what the files test.


@dataclass(frozen=True)
class Line:
    """A line of a file, and the path of the key it belongs to; comments and blank lines belong to none."""

    text: str
    path: tuple[str, ...] | None


@dataclass(frozen=True)
class File:
    """A config file: its lines, its text, what it says."""

    lines: list[Line]
    text: str
    values: dict[str, Any]

    def around(self, path: tuple[str, ...], newline: str) -> tuple[str, str]:
        """The text before and after the lines of a key."""
        owned = [
            index
            for index, line in enumerate(self.lines)
            if line.path is not None and line.path[: len(path)] == path
        ]
        before = "".join(line.text + newline for line in self.lines[: owned[0]])
        rest = self.lines[owned[-1] + 1 :]
        behind = "".join(line.text + newline for line in rest)
        return before, behind if self.text.endswith(behind) else behind.removesuffix(newline)


comments = st.lists(
    st.sampled_from(["", "# a comment", "#", "  # {indented: [1", "   ", "# key: value"]), max_size=2
)
trailing = st.sampled_from(["", "", "  # why", " #x", "   "])
gaps = st.sampled_from([" ", " ", "  "])


def _can_be_plain(text: str, in_flow: bool) -> bool:
    return (
        bool(re.fullmatch(r"[A-Za-z_/][A-Za-z0-9_./=<>~+-]*( [A-Za-z0-9_./=<>-]+)*", text))
        and not isinstance(_SPECIAL.get(text.lower(), text), bool)
        and text.lower() not in _SPECIAL
        and not (in_flow and "," in text)
    )


_SPECIAL = {
    "yes": True,
    "no": True,
    "on": True,
    "off": True,
    "true": True,
    "false": True,
    "null": True,
    "nan": True,
    "inf": True,
}


@st.composite
def scalars(draw: Any, value: Any, in_flow: bool = False) -> str:
    """One value on one line, in one of the ways to write it."""
    if value is None:
        return draw(st.sampled_from(["null", "~"]))
    if isinstance(value, bool):
        return draw(
            st.sampled_from(["true", "True", "yes", "on"] if value else ["false", "FALSE", "no", "off"])
        )
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return ".inf" if value > 0 else "-.inf"
        return (
            re.sub(r"^(-?[0-9]+)e", r"\1.0e", repr(value)).replace("e", "e")
            if "e-" in repr(value) or "e+" in repr(value) or "e" not in repr(value)
            else repr(value).replace("e", "e+")
        )
    styles = ["double"]
    if value.isprintable():
        styles.append("single")
    if _can_be_plain(value, in_flow):
        styles += ["plain", "plain"]
    style = draw(st.sampled_from(styles))
    if style == "plain":
        return value
    if style == "single":
        return "'" + value.replace("'", "''") + "'"
    escaped = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in escaped)


@st.composite
def flows(draw: Any, value: Any) -> str:
    """Any value on one line."""
    if isinstance(value, dict):
        pairs = [f"{draw(scalars(key, in_flow=True))}: {draw(flows(item))}" for key, item in value.items()]
        return "{" + draw(gaps).join([", ".join(pairs), ""]).rstrip() + "}"
    if isinstance(value, list):
        comma = "," if value and draw(st.booleans()) else ""
        return f"[{', '.join(draw(flows(item)) for item in value)}{comma}]"
    return draw(scalars(value, in_flow=True))


@st.composite
def entries(
    draw: Any, content: dict[str, Any], column: int, path: tuple[str, ...], style: dict[str, Any]
) -> list[Line]:
    """The lines of a mapping in block style."""
    lines: list[Line] = []
    for key, value in content.items():
        here = (*path, key)
        written = f"{' ' * column}{draw(scalars(key))}{draw(st.sampled_from(['', '', ' ']))}:"
        if isinstance(value, dict) and value and draw(st.booleans()):
            anchor = draw(st.sampled_from(["", "", f" &a{len(lines)}x{column}"]))
            lines += [
                Line(written + anchor + draw(trailing), here),
                *(Line(text, None) for text in draw(comments)),
            ]
            lines += draw(entries(value, column + style["step"], here, style))
        elif isinstance(value, list) and value and draw(st.booleans()):
            lines.append(Line(written + draw(trailing), here))
            lines += draw(items(value, column + style["list_step"], here, style))
        elif (
            isinstance(value, str)
            and re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9 #:]*[a-z]", value)
            and draw(st.booleans())
        ):
            margin = " " * (column + style["step"])
            lines += [
                Line(f"{written} {draw(st.sampled_from(['|-', '>-', '|-  # why']))}", here),
                Line(margin + value, here),
            ]
        elif value is None and draw(st.booleans()):
            lines.append(Line(written + draw(trailing), here))
        else:
            tag = (
                draw(st.sampled_from(["", "", "!!str ", f"&anchor{len(lines)} "]))
                if isinstance(value, str)
                else ""
            )
            lines.append(Line(f"{written}{draw(gaps)}{tag}{draw(flows(value))}{draw(trailing)}", here))
        behind_text = any(sign in line.text for line in lines[-3:] for sign in ("|-", ">-"))
        # Below a block of text, an indented comment would be part of it.
        lines += [Line(text, None) for text in draw(comments) if not (behind_text and text.startswith(" "))]
    return lines


@st.composite
def items(
    draw: Any, content: list[Any], column: int, path: tuple[str, ...], style: dict[str, Any]
) -> list[Line]:
    """The lines of a list in block style."""
    lines: list[Line] = []
    gap = draw(st.sampled_from([" ", " ", "   "]))
    for item in content:
        head = f"{' ' * column}-{gap}"
        if isinstance(item, dict) and item and draw(st.booleans()):
            inner = draw(entries(item, len(head), path, style))
            first, *rest = inner
            lines += [Line(head + first.text[len(head) :], path), *(Line(line.text, path) for line in rest)]
        else:
            lines.append(Line(head + draw(flows(item)) + draw(trailing), path))
        behind_text = any(sign in line.text for line in lines[-3:] for sign in ("|-", ">-"))
        lines += [Line(text, path) for text in draw(comments) if not (behind_text and text.startswith(" "))]
    return lines


@st.composite
def files(draw: Any, contents: st.SearchStrategy[dict[str, Any]] = configs) -> tuple[File, str]:
    """A config file in some layout, and its line break."""
    content = draw(contents)
    step = draw(st.sampled_from([2, 2, 4, 1, 3]))
    style = {"step": step, "list_step": draw(st.sampled_from([0, 2, step]))}
    newline = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    lines = [Line(text, None) for text in draw(comments)]
    if draw(st.booleans()) and content:
        lines.append(Line("---", None))
    lines += draw(entries(content, 0, (), style))
    text = "".join(line.text + newline for line in lines)
    if lines and not draw(st.booleans()) and lines[-1].path is None:
        text = text.removesuffix(newline)
    if draw(st.sampled_from([False, False, True])):
        text = "\ufeff" + text
    return File(lines, text, content), newline
