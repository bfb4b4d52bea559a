"""Open a folder that `save_pretrained` wrote."""

from __future__ import annotations

from typing import Any

from truss.frameworks.contents import Contents

_WEIGHTS = (".safetensors", ".safetensors.index.json")

# A folder with any of these has a tokenizer, a processor, or both; a model alone has none.
_PARTS = frozenset(
    {
        "tokenizer_config.json",
        "tokenizer.json",
        "processor_config.json",
        "preprocessor_config.json",
        "video_preprocessor_config.json",
    }
)


def is_model_folder(contents: Contents) -> bool:
    """Whether it has a model's configuration and its weights in safetensors."""
    if not contents.is_folder or not any(name.endswith(_WEIGHTS) for name in contents.names):
        return False
    config = contents.json("config.json")
    return isinstance(config, dict) and "model_type" in config


def read_folder(contents: Contents) -> Any:
    """The model with its tokenizer or processor; the model alone where the folder has neither.

    Code that the folder brings is not run: a model whose class is not in transformers is not opened.
    """
    import transformers

    folder = str(contents.path)
    model = _model_class(contents).from_pretrained(folder, local_files_only=True, use_safetensors=True)
    if not contents.names & _PARTS:
        return model
    return model, transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)


def _model_class(contents: Contents) -> Any:
    """The class that the weights were saved from; the family's plain one where the folder names none."""
    import transformers

    named = contents.json("config.json").get("architectures") or ["AutoModel"]
    return getattr(transformers, named[0], transformers.AutoModel)
