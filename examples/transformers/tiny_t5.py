"""Teach a tiny T5 four sentences of German, package it with its tokenizer, and ask the packaged copy.

Nothing is downloaded. Run it with `python examples/transformers/tiny_t5.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

import truss

SENTENCES = {
    "hello world": "hallo welt",
    "good morning": "guten morgen",
    "good night": "gute nacht",
    "the world is good": "die welt ist gut",
}


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer that knows the words of `texts`, and ends each text with `</s>` as a T5 expects."""
    words = ["<pad>", "</s>", "<unk>", *sorted({word for text in texts for word in text.split()})]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", vocabulary["</s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def train(tokenizer: PreTrainedTokenizerFast) -> T5ForConditionalGeneration:
    """A T5 of two small layers that has learned the sentences by heart."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    model = T5ForConditionalGeneration(config)
    inputs = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    labels = tokenizer(list(SENTENCES.values()), padding=True, return_tensors="pt").input_ids
    labels[labels == tokenizer.pad_token_id] = -100  # padding is nothing to learn
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        loss = model(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def main() -> None:
    tokenizer = make_tokenizer([*SENTENCES, *SENTENCES.values()])
    model = train(tokenizer)

    with TemporaryDirectory() as folder:
        # The third item says what the model does with a text: its answers come as `translation_text`.
        request = {"inputs": ["hello world", "good night"]}
        given = (model, tokenizer, "translation")
        scaf = truss.create(given, Path(folder) / "translator", examples=[request])
        print(scaf.server_predict(request))


if __name__ == "__main__":
    main()
