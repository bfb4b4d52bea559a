"""What is in a registry's answers: documents, kinds of manifests, errors by name."""

from __future__ import annotations

import json
from typing import Any

from truss.errors import BrokenImageError, RegistryError
from truss.oci.media_types import INDEX, INDEXES, MANIFESTS
from truss.oci.transport import Answer, host_of


def manifest_type(answer: Answer) -> str:
    """What kind of manifest an answer holds: as that says itself, else as the registry says.

    Raises:
        BrokenImageError: It is of no kind that is read.
    """
    declared = (
        json_of(answer).get("mediaType") or answer.headers.get("Content-Type", "").partition(";")[0].strip()
    )
    if declared not in (*INDEXES, *MANIFESTS):
        raise BrokenImageError(
            f"the manifest is of the kind '{declared}', which is not read",
            where=host_of(answer.url),
            hint=f"expected: {MANIFESTS[0]} or {INDEX}",
        )
    return str(declared)


def json_of(answer: Answer) -> dict[str, Any]:
    """The JSON object that an answer holds.

    Raises:
        RegistryError: It holds none.
    """
    try:
        document = json.loads(answer.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RegistryError("the registry's answer is no JSON object", where=host_of(answer.url))
    return document


def first_error(answer: Answer) -> tuple[str, str]:
    """The registry's own name for what is wrong, and its words for it."""
    try:
        first = json.loads(answer.body)["errors"][0]
        return str(first.get("code") or ""), str(first.get("message") or "")
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", ""
