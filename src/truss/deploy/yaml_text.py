"""YAML as other tools' files have it."""

from __future__ import annotations

import io
from typing import Any

from truss.deploy.plan import readable


def yaml_text(*documents: Any) -> str:
    """Values as the text of a YAML file, keys in their order; several documents are set apart by `---`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import LiteralScalarString

    def blocks(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: blocks(part) for key, part in value.items()}
        if isinstance(value, list):
            return [blocks(part) for part in value]
        return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value

    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.ignore_aliases = lambda *_: True  # what is written twice stays so
    out = io.StringIO()
    for number, document in enumerate(documents):
        if number:
            out.write("---\n")
        yaml.dump(blocks(readable(document)), out)
    return out.getvalue()
