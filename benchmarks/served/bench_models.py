"""The models that every server serves: each takes a list of items and gives a list of answers.

Runs in the environment of each peer, so it imports little, and that late. `BENCH_MODELS` names the folder
that holds the saved models.
"""

import asyncio
import os
import time
from pathlib import Path

SLEEP_SECONDS = 0.02


def load_model(workload):
    """The function from items to answers for one workload."""
    return MODELS[workload]()


def folder():
    """Where the saved models are."""
    return Path(os.environ["BENCH_MODELS"])


def echo():
    """Answer each item with itself."""
    return list


def sleep():
    """Answer each item with itself, a batch of any size after 20 ms: a model with a cost per batch only."""

    def predict(items):
        time.sleep(SLEEP_SECONDS)
        return list(items)

    return predict


async def sleep_async(items):
    """The same, leaving the event loop free while it waits."""
    await asyncio.sleep(SLEEP_SECONDS)
    return list(items)


def tensor():
    """Answer each image with the mean of its channels: all the work is in carrying it."""
    import numpy as np

    def predict(items):
        return np.asarray(items, dtype=np.float32).mean(axis=(-2, -1)).reshape(len(items), -1).tolist()

    return predict


def logreg():
    """Answer each flower with its class and the classes' probabilities."""
    import joblib
    import numpy as np

    model = joblib.load(folder() / "logreg.joblib")

    def predict(items):
        rows = np.asarray(items)
        return [
            {"label": label, "probabilities": probabilities}
            for label, probabilities in zip(
                model.predict(rows).tolist(), model.predict_proba(rows).tolist(), strict=True
            )
        ]

    return predict


def embed():
    """Answer each text with its vector: the mean of its tokens' vectors, scaled to length 1."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder() / "encoder")
    model = AutoModel.from_pretrained(folder() / "encoder").eval()

    def predict(items):
        tokens = tokenizer(list(items), padding=True, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            vectors = model(**tokens)[0]
            mask = tokens["attention_mask"].unsqueeze(-1)
            means = (vectors * mask).sum(dim=1) / mask.sum(dim=1)
            return torch.nn.functional.normalize(means, dim=-1).tolist()

    return predict


MODELS = {
    "echo": echo,
    "logreg": logreg,
    "embed": embed,
    "tensor": tensor,
    "tensor-binary": tensor,
    "tensor-inference": tensor,
    "tensor-grpc": tensor,
    "sleep": sleep,
}
