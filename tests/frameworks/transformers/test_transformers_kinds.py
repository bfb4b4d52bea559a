"""The shared suite over pipelines that take images, sounds and labels of one's own, and quantised weights."""

import base64
import io
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
from truss.testing.frameworks import FrameworkConformance

RATE = 16000


def png(colour: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), colour).save(file, format="PNG")
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


def image_processor(kind: str) -> Any:
    """One that takes images of 16 by 16 pixels."""
    found = getattr(transformers, f"{kind}Pil", None) or getattr(transformers, kind)
    return found(size={"height": 16, "width": 16}, do_center_crop=False)


class KindConformance(FrameworkConformance):
    framework = TransformersFramework()
    relative_tolerance = 1e-4
    tiny: SimpleNamespace

    @pytest.fixture(autouse=True)
    def _factories(self, tiny: SimpleNamespace) -> None:
        self.tiny = tiny


class TestImages(KindConformance):
    def make_model(self) -> Any:
        processor = image_processor("ViTImageProcessor")
        return pipeline("image-classification", model=self.tiny.vit(), image_processor=processor)

    def make_request(self) -> Any:
        return {"inputs": [png("navy"), png("red")]}


class TestSounds(KindConformance):
    def make_model(self) -> Any:
        torch.manual_seed(0)
        config = transformers.Wav2Vec2Config(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            conv_dim=(16, 16),
            conv_kernel=(10, 3),
            conv_stride=(5, 2),
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
            classifier_proj_size=8,
            num_labels=3,
        )
        model = transformers.Wav2Vec2ForSequenceClassification(config).eval()
        extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE)
        return pipeline("audio-classification", model=model, feature_extractor=extractor)

    def make_request(self) -> Any:
        return {"inputs": [tone(300), tone(900)]}


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


@pytest.mark.skipif(transformers.__version__.startswith("4."), reason="version 4 writes these as pickles")
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
        return {"inputs": ["the cat sat", "a dog ate my hat while it was warm"]}

    def test_they_stay_whole_numbers(self, tmp_path: Path) -> None:
        from safetensors import safe_open

        saved = self.framework.save(self.make_model(), tmp_path)
        assert "torchao" in saved.requirements
        with safe_open(tmp_path / "model" / "model.safetensors", "pt") as file:
            kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - not a mapping
        assert "I8" in kinds
