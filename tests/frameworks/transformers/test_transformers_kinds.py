"""The shared suite over pipelines for texts, images, sounds and one's own labels, and quantised weights."""

import base64
import io
import json
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import pipeline

from truss.frameworks.transformers.adapter import TransformersFramework
from truss.testing.environments import ServedAlone

RATE = 16000
IS_VERSION_4 = transformers.__version__.startswith("4.")
TEXTS = ["the cat sat", "a dog ate my hat while it was warm"]
WAV2VEC2 = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": (16, 16),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
PYRAMID = {
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [8, 8, 8, 8],
    "num_attention_heads": [1, 1, 1, 1],
    "decoder_hidden_size": 8,
}


def png(colour: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def tone(pitch: int) -> str:
    samples = (np.sin(np.linspace(0, pitch, RATE // 8)) * 20000).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())
    return base64.b64encode(file.getvalue()).decode()


def image_processor(kind: str, **settings: Any) -> Any:
    """One that takes images of 16 by 16 pixels, and needs no torchvision."""
    found = getattr(transformers, f"{kind}Pil", None) or getattr(transformers, kind)
    return found(**(settings or {"size": {"height": 16, "width": 16}, "do_center_crop": False}))


class KindConformance(ServedAlone):
    framework = TransformersFramework()
    relative_tolerance = 1e-4
    tiny: SimpleNamespace

    @pytest.fixture(autouse=True)
    def _factories(self, tiny: SimpleNamespace) -> None:
        self.tiny = tiny


class TestTokens(KindConformance):
    def make_model(self) -> Any:
        model = self.tiny.bert("BertForTokenClassification", num_labels=3)
        return pipeline(
            "token-classification",
            model=model,
            tokenizer=self.tiny.tokenizer(),
            aggregation_strategy="simple",
        )

    def make_request(self) -> Any:
        return {"inputs": TEXTS}


class TestMaskedWords(KindConformance):
    def make_model(self) -> Any:
        model = self.tiny.bert("BertForMaskedLM")
        return pipeline("fill-mask", model=model, tokenizer=self.tiny.tokenizer(), top_k=2)

    def make_request(self) -> Any:
        return {"inputs": ["the [MASK] sat", "a dog ate my [MASK] in here"]}


@pytest.mark.skipif(not IS_VERSION_4, reason="version 5 has no pipeline for questions")
class TestQuestions(KindConformance):
    def make_model(self) -> Any:
        model = self.tiny.bert("BertForQuestionAnswering")
        return pipeline("question-answering", model=model, tokenizer=self.tiny.tokenizer())

    def make_request(self) -> Any:
        context = "a dog ate my hat while it was warm"
        return {"inputs": [{"question": text, "context": context} for text in ("the cat", "hello world")]}


class TestTranslation(KindConformance):
    def make_model(self) -> Any:
        return self.tiny.t5(), self.tiny.tokenizer(encoder=False, eos="</s>"), "translation"

    def make_request(self) -> Any:
        return {"inputs": TEXTS}


class TestPrompts(KindConformance):
    def make_model(self) -> Any:
        words = self.tiny.tokenizer(encoder=False, eos="</s>")
        return pipeline("text-generation", model=self.tiny.gpt2(), tokenizer=words, do_sample=False)

    def make_request(self) -> Any:
        return {"inputs": ["the cat", {"prompt": "a dog", "max_new_tokens": 2}], "max_new_tokens": 4}


class TestChat(KindConformance):
    def make_model(self) -> Any:
        model, words = self.tiny.chat()
        return pipeline("text-generation", model=model, tokenizer=words)

    def make_request(self) -> Any:
        message = {"role": "user", "content": "the cat sat on my mat"}
        return {"messages": [message], "max_tokens": 4, "temperature": 0}


class TestImages(KindConformance):
    def make_model(self) -> Any:
        processor = image_processor("ViTImageProcessor")
        return pipeline("image-classification", model=self.tiny.vit(), image_processor=processor)

    def make_request(self) -> Any:
        return {"inputs": [png("navy"), png("red")]}


class TestSounds(KindConformance):
    def make_model(self) -> Any:
        torch.manual_seed(0)
        config = transformers.Wav2Vec2Config(**WAV2VEC2, classifier_proj_size=8, num_labels=3)
        model = transformers.Wav2Vec2ForSequenceClassification(config).eval()
        extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE)
        return pipeline("audio-classification", model=model, feature_extractor=extractor)

    def make_request(self) -> Any:
        return {"inputs": [tone(300), tone(900)]}


class TestSpeech(KindConformance):
    @pytest.fixture(autouse=True)
    def _letters(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.vocabulary = tmp_path_factory.mktemp("letters") / "vocab.json"
        tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
        self.vocabulary.write_text(json.dumps({token: number for number, token in enumerate(tokens)}))

    def make_model(self) -> Any:
        torch.manual_seed(0)
        letters = transformers.Wav2Vec2CTCTokenizer(str(self.vocabulary))
        config = transformers.Wav2Vec2Config(**WAV2VEC2, vocab_size=len(letters))
        return pipeline(
            "automatic-speech-recognition",
            model=transformers.Wav2Vec2ForCTC(config).eval(),
            tokenizer=letters,
            feature_extractor=transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE),
        )

    def make_request(self) -> Any:
        return {"inputs": [tone(300), tone(900)]}


class TestObjects(KindConformance):
    def make_model(self) -> Any:
        torch.manual_seed(0)
        config = transformers.YolosConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=[16, 16],
            patch_size=8,
            num_detection_tokens=2,
            num_labels=3,
        )
        return pipeline(
            "object-detection",
            model=transformers.YolosForObjectDetection(config).eval(),
            image_processor=image_processor("YolosImageProcessor", size={"height": 16, "width": 16}),
            threshold=0.0,
        )

    def make_request(self) -> Any:
        return {"inputs": [png("navy"), png("red")]}


class TestSegments(KindConformance):
    def make_model(self) -> Any:
        torch.manual_seed(0)
        config = transformers.SegformerConfig(**PYRAMID, num_labels=3)
        return pipeline(
            "image-segmentation",
            model=transformers.SegformerForSemanticSegmentation(config).eval(),
            image_processor=image_processor("SegformerImageProcessor", size={"height": 32, "width": 32}),
        )

    def make_request(self) -> Any:
        return {"inputs": [png("navy"), png("red")]}


class TestDepths(KindConformance):
    def make_model(self) -> Any:
        torch.manual_seed(0)
        return pipeline(
            "depth-estimation",
            model=transformers.GLPNForDepthEstimation(transformers.GLPNConfig(**PYRAMID)).eval(),
            image_processor=image_processor("GLPNImageProcessor", size_divisor=32),
        )

    def make_request(self) -> Any:
        return {"inputs": [png("navy"), png("red")]}


class TestLabelsForTexts(KindConformance):
    def make_model(self) -> Any:
        labels = {"contradiction": 0, "neutral": 1, "entailment": 2}
        names = {number: label for label, number in labels.items()}
        model = self.tiny.bert("BertForSequenceClassification", label2id=labels, id2label=names)
        return pipeline("zero-shot-classification", model=model, tokenizer=self.tiny.tokenizer())

    def make_request(self) -> Any:
        labels = ["warm", "a hat"]
        return {"inputs": [{"sequences": text, "candidate_labels": labels} for text in ("the cat", "my dog")]}


class TestLabelsForImages(KindConformance):
    def make_model(self) -> Any:
        torch.manual_seed(0)
        shape = {
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "projection_dim": 8,
        }
        tokenizer = self.tiny.tokenizer(model_input_names=["input_ids", "attention_mask"])  # as CLIP's own
        config = transformers.CLIPConfig(
            text_config={**shape, "vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id},
            vision_config={**shape, "image_size": 16, "patch_size": 8},
            projection_dim=8,
        )
        return pipeline(
            "zero-shot-image-classification",
            model=transformers.CLIPModel(config).eval(),
            tokenizer=tokenizer,
            image_processor=image_processor("CLIPImageProcessor"),
        )

    def make_request(self) -> Any:
        labels = ["the cat", "a dog", "my hat"]
        return {"inputs": [{"image": png(colour), "candidate_labels": labels} for colour in ("navy", "red")]}


@pytest.mark.skipif(IS_VERSION_4, reason="version 4 writes these as pickles")
class TestQuantisedWeights(KindConformance):
    """Whole numbers of eight bits, which torchao keeps as such in the weights file."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.folder = tmp_path_factory.mktemp("plain")

    def make_model(self) -> Any:
        from torchao.quantization import Int8WeightOnlyConfig

        self.tiny.bert("BertForSequenceClassification", num_labels=3).save_pretrained(self.folder)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            self.folder, quantization_config=transformers.TorchAoConfig(Int8WeightOnlyConfig(version=2))
        )
        return pipeline("text-classification", model=model, tokenizer=self.tiny.tokenizer(), top_k=None)

    def make_request(self) -> Any:
        return {"inputs": TEXTS}

    def test_they_stay_whole_numbers(self, tmp_path: Path) -> None:
        from safetensors import safe_open

        saved = self.framework.save(self.make_model(), tmp_path)
        assert "torchao" in saved.requirements
        with safe_open(tmp_path / "model" / "model.safetensors", "pt") as file:
            kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - not a mapping
        assert "I8" in kinds
