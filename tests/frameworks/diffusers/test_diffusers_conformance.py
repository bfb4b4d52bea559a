"""The shared suite, over a pipeline of noise, of prompts, and of images."""

import base64
import io
from typing import Any

import diffusers_pipelines as pipelines
from PIL import Image

from truss.frameworks.diffusers.adapter import DiffusersFramework
from truss.testing.environments import OwnEnvironment, ServedAlone


class DiffusersConformance(ServedAlone):
    framework = DiffusersFramework()
    strangers = (pipelines.vae(), pipelines.tokenizer())


class TestNoise(OwnEnvironment, DiffusersConformance):
    def make_model(self) -> Any:
        return pipelines.unconditional()

    def make_request(self) -> Any:
        return {"inputs": [{"seed": 1}, {"seed": 2, "batch_size": 2}], "num_inference_steps": 2}


class TestPrompts(DiffusersConformance):
    def make_model(self) -> Any:
        return pipelines.text_to_image()

    def make_request(self) -> Any:
        return {
            "inputs": ["a red kite", {"prompt": "the sea", "seed": 2}],
            "num_inference_steps": 2,
            "seed": 1,
        }


class TestImages(DiffusersConformance):
    def make_model(self) -> Any:
        return pipelines.image_to_image()

    def make_request(self) -> Any:
        file = io.BytesIO()
        Image.new("RGB", (pipelines.SIZE, pipelines.SIZE), "red").save(file, "PNG")
        image = base64.b64encode(file.getvalue()).decode()
        item = {"prompt": "a red kite", "image": image, "strength": 0.5, "seed": 1}
        return {"inputs": [item, {**item, "seed": 2}], "num_inference_steps": 2}
