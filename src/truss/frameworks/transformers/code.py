"""Which class loads a saved part, and whether its code is transformers' own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from truss.errors import PackagingError

_AUTO_CLASSES = {
    "tokenizer": "AutoTokenizer",
    "image_processor": "AutoImageProcessor",
    "feature_extractor": "AutoFeatureExtractor",
    "video_processor": "AutoVideoProcessor",
    "processor": "AutoProcessor",
    "model": "AutoModel",
}


def class_name(name: str, part: Any) -> str:
    """The name in `transformers` of the class that loads `part`: its own, or an `Auto...` class.

    Raises:
        PackagingError: the class is neither in transformers nor registered to be saved with the weights.
    """
    import transformers

    kind = type(part)
    if getattr(transformers, kind.__name__, None) is kind:
        return str(kind.__name__)
    if is_custom(part):
        return str(getattr(kind, "_auto_class", None) or _AUTO_CLASSES[name])
    if kind.__module__.startswith("transformers."):
        return _AUTO_CLASSES[name]
    raise PackagingError(
        f"the class {kind.__name__} is neither in transformers nor registered to be saved with the weights",
        hint=f'before packaging: `{kind.__name__}.register_for_auto_class("{_AUTO_CLASSES[name]}")`, '
        "with the auto class that fits; the class must live in a file, not in a notebook cell",
    )


def is_custom(part: Any) -> bool:
    """Whether the class of `part` is code that is saved beside the weights."""
    kind = type(part)
    outside = not kind.__module__.startswith("transformers.")
    return outside and (
        kind.__module__.startswith("transformers_modules") or bool(getattr(kind, "_auto_class", None))
    )


def custom_code_settings(parts: Mapping[str, Any]) -> tuple[bool, tuple[str, ...]]:
    """Whether loading `parts` runs code from the model's folder, and the note that says so."""
    custom = [type(part).__name__ for part in parts.values() if is_custom(part)]
    if not custom:
        return False, ()
    note = (
        f"{', '.join(custom)}: code that came with the weights is saved with them in data/model and runs "
        "when the model is loaded (trust_remote_code); read it before you serve it"
    )
    return True, (note,)


def imported_distributions(folder: Path) -> Iterator[str]:
    """The distributions that Python files in `folder`, saved with the weights, import."""
    from transformers.dynamic_module_utils import get_imports

    installed = packages_distributions()
    for file in sorted(folder.glob("*.py")):
        for module in get_imports(str(file)):
            top = module.partition(".")[0]
            if top not in sys.stdlib_module_names:
                yield from installed.get(top, ())
