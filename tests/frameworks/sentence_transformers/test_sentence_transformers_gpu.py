"""On a machine with a GPU: encoders of sentences and of pairs, and what they are given, are on it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sentence_transformers = pytest.importorskip("sentence_transformers")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

import truss  # noqa: E402 - after what the machine may lack
from truss.model.loader import load_model  # noqa: E402
from truss.testing.server import running_server  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]

TEXTS = ["a man eats", "somebody had a meal that he had waited for since the morning", "stars"]
PAIRS = [[TEXTS[0], TEXTS[1]], [TEXTS[0], TEXTS[2]]]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def saved(folder: Path, kind: str, **options: Any) -> str:
    """A folder with a small model of random weights and a tokenizer of words."""
    words = sorted({word for text in TEXTS for word in text.split()})
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *words])}
    splitter = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    splitter.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
        **options,
    )
    getattr(transformers, kind)(config).save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=splitter, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    return str(folder)


def encoder(folder: Path, device: str) -> Any:
    # Of a plain model the library makes one that takes the mean of its tokens' vectors.
    return sentence_transformers.SentenceTransformer(saved(folder, "BertModel"), device=device)


def cross_encoder(folder: Path, device: str) -> Any:
    path = saved(folder, "BertForSequenceClassification", num_labels=1)
    return sentence_transformers.CrossEncoder(path, device=device)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("build", "inputs"), [(encoder, TEXTS), (cross_encoder, PAIRS)])
def test_model_and_inputs_are_on_the_gpu(build: Any, inputs: Any, device: str, tmp_path: Path) -> None:
    live = build(tmp_path / "live", device)
    expected = live.encode(inputs) if build is encoder else live.predict(inputs)
    truss.create(live, tmp_path / "here")
    copy = load_model(tmp_path / "here", truss.load(tmp_path / "here").spec.config)
    module = copy.model.model
    assert {weight.device.type for weight in module.parameters()} == {"cuda"}
    seen: set[str] = set()

    def note(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.update(one.device.type for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor))

    for part in module.modules():
        part.register_forward_pre_hook(note, with_kwargs=True)
    answer = copy.predict({"inputs": inputs})["predictions"]
    assert seen == {"cuda"}
    np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-4)


def test_over_http(tmp_path: Path) -> None:
    live = encoder(tmp_path / "live", "cuda")
    truss.create(live, tmp_path / "here", examples={"inputs": TEXTS})
    with running_server(tmp_path / "here") as server:
        answer = server.predict({"inputs": TEXTS}).json()["predictions"]
    np.testing.assert_allclose(answer, live.encode(TEXTS), rtol=1e-3, atol=1e-4)
