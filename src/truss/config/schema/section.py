"""What every section of the schema is built from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from msgspec import Meta, Struct

from truss.config import values
from truss.config.values import Parser

Origin = Literal["2022", "today", "truss"]
"""Where a key comes from: the first format, the original project's present one, or this project."""


class Complaint(NamedTuple):
    """What a section says about its own values taken together; `key` is one of its keys, or empty."""

    key: str
    message: str
    expected: str = ""
    hint: str = ""


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A mapping in config.yaml.

    Attributes:
        unknown: The keys that the schema does not know, kept as they were read.
    """

    unknown: dict[str, Any] = {}

    def complaints(self) -> Iterator[Complaint]:
        """What is wrong with the values taken together; each alone has been checked."""
        yield from ()


def repeated(key: str, what: str, found: list[str]) -> Iterator[Complaint]:
    """A complaint per value that more than one entry has."""
    for value in sorted({value for value in found if found.count(value) > 1}):
        yield Complaint(key, f"has more than one entry with the {what} {value!r}", f"each {what} once")


def doc(text: str, origin: Origin = "today") -> Meta:
    """The description of a key, for the reference, the JSON schema and editors."""
    return Meta(description=text, extra={"origin": origin})


def parsed(parser: Parser, **json_schema: Any) -> Meta:
    """Have a value read by `parser`; `json_schema` says the same to editors, as far as it can."""
    return Meta(extra={"parser": parser}, extra_json_schema=json_schema)


SIZE = parsed(values.size, pattern=r"^[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?([kMGTPE]|[KMGTPE]i)?$")
CPU = parsed(values.cpu, pattern=r"^[0-9]*\.?[0-9]+m?$")
PYTHON_VERSION = parsed(values.python_version, pattern=r"^(py3(7|8|9|1[0-4])|3\.(7|8|9|1[0-4]))$")
ACCELERATOR = parsed(values.accelerator, pattern=f"^({'|'.join(values.ACCELERATORS)})(:[1-9][0-9]*)?$")
SECRET_NAME = parsed(values.secret_name, pattern=r"^(?!\.{1,2}$)[-._a-zA-Z0-9]{1,253}$")
BUILD_SECRET_NAME = parsed(values.build_secret_name)
ENVIRONMENT_VALUE = parsed(values.environment_value)
ABSOLUTE_PATH = parsed(values.absolute_path, pattern="^/")
OPTIONAL_ABSOLUTE_PATH = parsed(values.optional_absolute_path, pattern="^(/|$)")
IPV4_NETWORK = parsed(values.ipv4_network)
DOMAIN = parsed(values.domain)
NOT_EMPTY = Meta(min_length=1)
POSITIVE = Meta(ge=1)
NOT_NEGATIVE = Meta(ge=0)
SECONDS = Meta(gt=0)
