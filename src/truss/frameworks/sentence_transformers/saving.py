"""Write a model in the library's own form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from truss.errors import PackagingError
from truss.frameworks.pickles import reason_of

MODEL_DIRECTORY = "model"
"""The folder below the data directory that holds weights, tokenizer and modules."""


def write(model: Any, folder: Path) -> None:
    """Write weights as safetensors, and everything else the library reads back, to a new folder.

    Raises:
        PackagingError: the library cannot save it.
    """
    try:
        # The card would tell of the training, and look things up to do so.
        model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
    except OSError:
        raise
    except Exception as error:
        raise PackagingError(
            f"sentence-transformers cannot save this {type(model).__name__}: {reason_of(error)}",
            hint="see that its own `save_pretrained` works",
        ) from error
