"""Tiny models with random weights and tokenizers trained on one sentence, made in a moment."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

SENTENCE = (
    "the cat sat on the mat and a dog ate my hat while it was warm in here translate hello world to german"
)
WORDS = SENTENCE.split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "</s>"]

ANSWER_SAVED = Path(__file__).with_name("answer_saved.py")


def tokenizer(*, bos: str = "[CLS]", eos: str = "[SEP]", encoder: bool = True, **settings: Any) -> Any:
    """A word-level tokenizer over `WORDS`, with the special tokens of an encoder or only an end token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *sorted(set(WORDS))])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.decoder = decoders.WordPiece()
    template = f"{bos} $A {eos}" if encoder else f"$A {eos}"
    pair = f"{bos} $A {eos} $B:1 {eos}:1" if encoder else f"$A {eos} $B {eos}"
    words.post_processor = processors.TemplateProcessing(
        single=template, pair=pair, special_tokens=[(name, vocabulary[name]) for name in {bos, eos}]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        eos_token=eos,
        model_max_length=64,
        **settings,
    )


def byte_tokenizer() -> Any:
    """A tokenizer of bytes, as those of language models are: spaces belong to the tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bytewise = Tokenizer(models.BPE())
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(initial_alphabet=letters, special_tokens=["[PAD]"], show_progress=False)
    bytewise.train_from_iterator([" ".join(WORDS)], trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bytewise, pad_token="[PAD]")


VOCABULARY = len(SPECIAL) + len(set(WORDS))
BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,
}


def bert(kind: str = "BertModel", **config: Any) -> Any:
    """A BERT of the given class, in evaluation mode."""
    torch.manual_seed(0)
    return getattr(transformers, kind)(transformers.BertConfig(**{**BERT, **config})).eval()


def t5(**config: Any) -> Any:
    """A T5 that writes at most 8 tokens."""
    torch.manual_seed(0)
    shape = {"d_model": 32, "d_ff": 32, "d_kv": 16, "num_layers": 2, "num_heads": 2}
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=VOCABULARY,
            initializer_factor=5.0,
            decoder_start_token_id=0,
            eos_token_id=5,
            **shape,
            **config,
        )
    )
    model.generation_config.max_length = 8
    return model.eval()


def gpt2(kind: str = "GPT2LMHeadModel") -> Any:
    """A GPT-2."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=5,
        eos_token_id=5,
        pad_token_id=0,
        initializer_range=0.5,
    )
    return getattr(transformers, kind)(config).eval()


def chat(words: Any = None) -> tuple[Any, Any]:
    """A Llama that writes as long as it is asked to, and its tokenizer with a chat template."""
    torch.manual_seed(0)
    words = words or tokenizer(encoder=False, eos="</s>")
    words.chat_template = (
        "{% for message in messages %}{{ message.role }} {{ message.content }} {% endfor %}"
        "{% if add_generation_prompt %}hello{% endif %}"
    )
    config = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
        initializer_range=0.5,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    model.generation_config.do_sample = False
    return model, words


def vit() -> Any:
    """A ViT that classifies images of 16 by 16 pixels."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=16,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=3,
    )
    return transformers.ViTForImageClassification(config).eval()


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """The factories above."""
    return SimpleNamespace(
        tokenizer=tokenizer,
        byte_tokenizer=byte_tokenizer,
        bert=bert,
        t5=t5,
        gpt2=gpt2,
        chat=chat,
        vit=vit,
        words=WORDS,
    )


@pytest.fixture(scope="session")
def ask_fresh_process(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Load saved model classes in one process without Truss and without a network, and ask each."""

    def ask(tasks: list[dict[str, Any]]) -> dict[str, Any]:
        home = tmp_path_factory.mktemp("home")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "HF_HOME": str(home / "huggingface"),
        }
        done = subprocess.run(
            [sys.executable, "-I", str(ANSWER_SAVED)],
            input=json.dumps(tasks),
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answers

    return ask
