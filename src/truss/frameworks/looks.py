"""Say what a file looks like that no framework opens: people often have the neighbour of the right file."""

from __future__ import annotations

import json
from dataclasses import dataclass

from truss.frameworks.contents import Contents

_LOAD_FIRST = (
    "load it in Python and package the object, or a function that calls it: `truss.create(object, folder)`"
)
_CODE_MISSING = "these are weights without code: make the module, load them into it, and package the module"


@dataclass(frozen=True)
class Look:
    """What something looks like.

    Attributes:
        what: A noun phrase.
        advice: What to do instead; empty where nothing special is to be said.
    """

    what: str
    advice: str = ""


_BEGINNINGS: tuple[tuple[bytes, Look], ...] = (
    (
        b"version https://git-lfs",
        Look("a pointer of Git LFS, in place of the file itself", "fetch the file: `git lfs pull`"),
    ),
    (
        b"GGUF",
        Look(
            "GGUF weights, for llama.cpp",
            "package the model that they were made from, e.g. its transformers folder",
        ),
    ),
    (b"\x89HDF\r\n\x1a\n", Look("an HDF5 file", "save the model with `model.save('model.keras')`")),
    (b"\x93NUMPY", Look("an array of NumPy", "package the model that uses it")),
    (b"PAR1", Look("a Parquet table", "this is data: give the model")),
    (b"PK\x03\x04", Look("a zip archive of something else")),
    (b"\x7fELF", Look("a compiled program or library")),
    (b"\x89PNG", Look("an image")),
    (b"\xff\xd8\xff", Look("an image")),
    (b"%PDF", Look("a PDF document")),
    (b"#!", Look("a script", _LOAD_FIRST)),
)

_FOLDERS: tuple[tuple[frozenset[str], Look], ...] = (
    (frozenset({"config.yaml", "model"}), Look("a Truss already", "serve it: `truss serve FOLDER`")),
    (frozenset({"adapter_config.json"}), Look("an adapter of PEFT", "merge it into its base model first")),
    (
        frozenset({"config.json"}),
        Look("a configuration without weights", "a folder of transformers has config.json and *.safetensors"),
    ),
)


_JSON = (
    (
        '"max_feature_idx"',
        Look("what `dump_model` of LightGBM says of a model", "save the model: `booster.save_model(path)`"),
    ),
)
"""What JSON is in which a key comes early."""


def looks_like(contents: Contents) -> Look:
    """What a file or folder that nobody recognises looks like."""
    if contents.is_folder:
        return _look_of_folder(contents)
    if not contents.head:
        return Look("an empty file", "it was not written to its end: save or copy it again")
    for beginning, look in _BEGINNINGS:
        if contents.head.startswith(beginning):
            return look
    return _look_of_bytes(contents)


def _look_of_folder(contents: Contents) -> Look:
    if not contents.names:
        return Look("an empty folder")
    for names, look in _FOLDERS:
        if names <= contents.names:
            return look
    shown = sorted(contents.names)
    more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
    return Look(f"a folder with {', '.join(shown[:4])}{more}", "give the model's own file or folder in it")


def _look_of_bytes(contents: Contents) -> Look:
    head = contents.head
    if head[4:8] == b"TFL3":
        return Look("a model of TensorFlow Lite", _LOAD_FIRST)
    if _is_safetensors(contents):
        return Look("weights in safetensors", _CODE_MISSING)
    text = _as_text(head, complete=len(head) == contents.size)
    if text is None:
        return Look(f"binary data that begins with {head[:8].hex(' ')}")
    if text.lstrip().startswith(("{", "[")):
        return _look_of_json(text)
    return Look(f"text that begins with {text.strip()[:40]!r}")


def _look_of_json(text: str) -> Look:
    return next((look for key, look in _JSON if key in text), Look("JSON of something else"))


def _as_text(head: bytes, *, complete: bool) -> str | None:
    """The beginning of a text; None when it is none."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if complete or error.start < len(head) - 3:
            return None
        text = head[: error.start].decode()  # the end of the sample cut a character
    return None if any(ord(letter) < 32 and letter not in "\t\n\r\f\x1b" for letter in text) else text


def _is_safetensors(contents: Contents) -> bool:
    """Whether it begins with the length of a JSON header and that header."""
    length = int.from_bytes(contents.head[:8], "little")
    if contents.head[8:9] != b"{" or not 0 < length <= contents.size - 8:
        return False
    if length > 2**26:
        return False
    with contents.path.open("rb") as file:
        file.seek(8)
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return False
    return isinstance(header, dict)
