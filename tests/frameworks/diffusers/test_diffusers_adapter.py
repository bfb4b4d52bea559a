"""What the diffusers adapter keeps, how its pipelines answer, and what it refuses."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import diffusers
import diffusers_pipelines as pipelines
import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import truss
from truss.errors import PackagingError, TrussError
from truss.frameworks.diffusers import model_class
from truss.frameworks.diffusers.adapter import DiffusersFramework
from truss.frameworks.files import open_model
from truss.frameworks.registry import framework_for
from truss.testing.server import running_server

FRAMEWORK = DiffusersFramework()
QUICK = {"num_inference_steps": 2, "seed": 1}


def saved_copy(pipe: Any, folder: Path, **settings: Any) -> Any:
    """The model class with the saved pipeline loaded."""
    saved = FRAMEWORK.save(pipe, folder)
    config = {"model_metadata": {**saved.model_metadata, **settings}}
    model = model_class.Model(data_dir=folder, config=config)
    model.load()
    return model


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def encoded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A packaged pipeline for prompts."""
    return saved_copy(pipelines.text_to_image(), tmp_path_factory.mktemp("painter"))


@pytest.fixture(scope="module")
def changer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A packaged pipeline for images."""
    return saved_copy(pipelines.image_to_image(), tmp_path_factory.mktemp("changer"))


def test_the_answer_is_the_pipelines_own_image(painter: Any) -> None:
    pipe = pipelines.text_to_image()
    pipe.text_encoder.eval()
    expected = pipe("a red kite", num_inference_steps=2, generator=torch.Generator().manual_seed(1)).images[0]
    (prediction,) = painter.predict({"inputs": ["a red kite"], **QUICK})["predictions"]
    assert list(prediction) == ["images"]
    assert np.array_equal(np.asarray(opened(prediction["images"][0])), np.asarray(expected))


def test_options_of_an_input_go_before_those_beside_it(painter: Any) -> None:
    inputs = [{"prompt": "the sea", "num_images_per_prompt": 2, "height": 32}, {"prompt": ["a", "red"]}]
    first, second = painter.predict({"inputs": inputs, "height": 16, "width": 16, **QUICK})["predictions"]
    assert [opened(image).size for image in first["images"]] == [(16, 32)] * 2
    assert [opened(image).size for image in second["images"]] == [(16, 16)] * 2


def test_an_input_may_stand_without_a_list(painter: Any) -> None:
    one = painter.predict({"prompt": "the sea", **QUICK})
    assert one == painter.predict({"inputs": ["the sea"], "instances": ["the sea"], **QUICK})


def test_a_seed_repeats_and_no_seed_differs(painter: Any) -> None:
    def ask(**options: Any) -> Any:
        return painter.predict({"inputs": ["the sea"], "num_inference_steps": 2, **options})

    assert ask(seed=7) == ask(seed=7)
    assert ask(seed=7) != ask(seed=8)
    assert ask() != ask()
    assert ask(seed=None) != ask(seed=None)


def test_options_in_the_config_hold_for_every_request(tmp_path: Path) -> None:
    model = saved_copy(pipelines.text_to_image(), tmp_path, parameters={"height": 32, "width": 16, **QUICK})
    ask = {"inputs": ["the sea"]}
    assert model.predict(ask) == model.predict(ask)
    assert opened(model.predict(ask)["predictions"][0]["images"][0]).size == (16, 32)
    assert opened(model.predict({**ask, "height": 16})["predictions"][0]["images"][0]).size == (16, 16)


@pytest.mark.parametrize(
    "form", [encoded, lambda image: f"data:image/png;base64,{encoded(image)}", np.asarray]
)
def test_images_come_as_text_or_array(changer: Any, form: Any) -> None:
    picture = Image.linear_gradient("L").resize((16, 16)).convert("RGB")
    item = {"prompt": "a kite", "strength": 0.5, "num_inference_steps": 4, "seed": 1}
    expected = changer.predict({"inputs": [{**item, "image": base64.b64decode(encoded(picture))}]})
    assert changer.predict({"inputs": [{**item, "image": form(picture)}]}) == expected
    other = changer.predict({"inputs": [{**item, "image": form(picture.rotate(90))}]})
    assert other != expected


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"inputs": "a prompt"}, "`inputs` must be a list"),
        ({"inputs": [3]}, "an input is a prompt or a mapping, not int"),
        ({"inputs": [{"seed": 1}]}, r"an input of this pipeline needs \['prompt'\]"),
        ({"inputs": ["a"], "steps": 3}, r"unknown options \['steps'\]; known are .*'num_inference_steps'"),
        ({"inputs": ["a"], "generator": 3}, r"unknown options \['generator'\]"),
        ({"inputs": ["a"], "callback_on_step_end": "f"}, r"unknown options \['callback_on_step_end'\]"),
        ({"inputs": ["a"], "prompt_embeds": [1]}, r"unknown options \['prompt_embeds'\]"),
        (
            {"inputs": ["a"], "num_inference_steps": 0},
            "`num_inference_steps` must be a whole number from 1, not 0",
        ),
        ({"inputs": ["a"], "num_inference_steps": True}, "whole number from 1, not True"),
        ({"inputs": ["a"], "seed": -1}, "`seed` must be a whole number from 0, not -1"),
        ({"inputs": ["a"], "seed": 2**70}, "`seed` must be a whole number"),
        ({"inputs": ["a"], "guidance_scale": "3"}, "`guidance_scale` must be a number, not '3'"),
        ({"inputs": [{"prompt": 3}]}, "`prompt` must be a text or a list of texts, not 3"),
        ({"inputs": [{"prompt": []}]}, "`prompt` must be a text or a list of texts"),
    ],
)
def test_requests_that_are_wrong(painter: Any, request_: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        painter.predict(request_)


@pytest.mark.parametrize(
    "image", ["/etc/hostname", "http://127.0.0.1/a.png", "aGVsbG8=", 3, b"hello", np.zeros((2, 2, 3))]
)
def test_neither_paths_nor_addresses_nor_other_things_are_images(changer: Any, image: Any) -> None:
    with pytest.raises(
        ValueError, match="`image` must be an image file as base64 text or as bytes, or an array"
    ):
        changer.predict({"inputs": [{"prompt": "a", "image": image}]})


def test_a_pipeline_without_prompts_says_so() -> None:
    with pytest.raises(ValueError, match=r"takes no prompt; an input is a mapping of \['batch_size', "):
        FRAMEWORK.answer(pipelines.unconditional(), {"inputs": ["a prompt"]})


def test_an_empty_mapping_is_an_input_without_prompts(tmp_path: Path) -> None:
    model = saved_copy(pipelines.unconditional(), tmp_path)
    both = model.predict({"inputs": [{}, {"batch_size": 3}], **QUICK})["predictions"]
    assert [len(one["images"]) for one in both] == [1, 3]
    assert {opened(image).size for one in both for image in one["images"]} == {(8, 8)}


def test_only_safetensors_and_settings_are_written(tmp_path: Path) -> None:
    FRAMEWORK.save(pipelines.text_to_image(), tmp_path)
    endings = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert endings <= {".safetensors", ".json", ".txt"}


def test_requirements_are_those_of_the_parts(tmp_path: Path) -> None:
    for name, make in (("noise", pipelines.unconditional), ("words", pipelines.text_to_image)):
        (tmp_path / name).mkdir()
        needs = FRAMEWORK.save(make(), tmp_path / name).requirements
        assert set(needs) - {"transformers"} == {"diffusers", "torch", "pillow", "numpy"}
        assert ("transformers" in needs) is (name == "words")


def test_the_mode_of_the_parts_is_left_as_it_was() -> None:
    pipe = pipelines.text_to_image()
    assert pipe.text_encoder.training
    before = FRAMEWORK.answer(pipe, {"inputs": ["a red kite"], **QUICK})
    assert pipe.text_encoder.training
    assert FRAMEWORK.answer(pipe, {"inputs": ["a red kite"], **QUICK}) == before


def formats(model: Any) -> dict[str, torch.dtype]:
    parts = model.pipeline.components.items()
    return {name: part.dtype for name, part in parts if isinstance(part, torch.nn.Module)}


def test_each_part_keeps_its_number_format(tmp_path: Path) -> None:
    pipe = pipelines.text_to_image()
    pipe.unet.to(torch.float16)
    pipe.text_encoder.to(torch.bfloat16)
    expected = {"unet": torch.float16, "text_encoder": torch.bfloat16, "vae": torch.float32}
    assert formats(saved_copy(pipe, tmp_path)) == expected


@pytest.mark.parametrize(("dtype", "expected"), [("auto", "float16"), ("bfloat16", "bfloat16")])
def test_the_config_names_the_format(tmp_path: Path, dtype: str, expected: str) -> None:
    model = saved_copy(pipelines.text_to_image().to(torch.float16), tmp_path, dtype=dtype)
    assert set(formats(model).values()) == {getattr(torch, expected)}


def test_an_unknown_format_and_device_are_refused(tmp_path: Path) -> None:
    truss.create(pipelines.unconditional(), tmp_path / "here")
    config = tmp_path / "here" / "config.yaml"
    text = config.read_text()
    for key, value, message in (
        ("dtype", "int3", "model_metadata.dtype is 'int3'"),
        ("device_map", "nowhere", "nowhere"),
    ):
        config.write_text(re.sub(rf"  {key}: \w+\n", f"  {key}: {value}\n", text))
        with pytest.raises(TrussError, match=message):
            truss.load(tmp_path / "here").server_predict({"inputs": [{}]})


def test_golden_requests_with_a_seed_are_kept_and_others_asked(tmp_path: Path) -> None:
    examples = [{"inputs": ["a red kite"], **QUICK}, {"inputs": ["a red kite"], "num_inference_steps": 2}]
    truss.create(pipelines.text_to_image(), tmp_path / "here", examples=examples)
    seeded, drawn = truss.load(tmp_path / "here").examples()
    assert "expected" in seeded.to_dict()
    assert "expected" not in drawn.to_dict()


def test_over_http(tmp_path: Path) -> None:
    scaf = truss.create(pipelines.text_to_image(), tmp_path / "here", examples=[{"inputs": ["a"], **QUICK}])
    with running_server(scaf.truss_dir) as server:
        ask = {"inputs": ["a red kite", "the sea"], **QUICK}
        answer = server.predict(ask).json()
        assert [opened(one["images"][0]).size for one in answer["predictions"]] == [(16, 16)] * 2
        assert server.predict(ask).json() == answer


class Own(diffusers.DDPMPipeline):
    """A pipeline whose code is nowhere but here."""


class OwnNetwork(diffusers.UNet2DModel):
    """A part whose code is nowhere but here."""


def with_own_part() -> Any:
    return diffusers.DDPMPipeline(OwnNetwork(block_out_channels=(32,) * 4), diffusers.DDPMScheduler())


def with_own_class() -> Any:
    pipe = pipelines.unconditional()
    return Own(pipe.unet, pipe.scheduler)


def offloaded() -> Any:
    pipe = pipelines.unconditional()
    pipe.unet.to("meta")
    return pipe


def with_adapter() -> Any:
    pipe = pipelines.unconditional()
    pipe.unet.peft_config = {"default": object()}
    return pipe


def with_packed_weights() -> Any:
    pipe = pipelines.text_to_image()
    quantise = torch.ao.quantization.quantize_dynamic
    pipe.text_encoder = quantise(pipe.text_encoder, {torch.nn.Linear}, dtype=torch.qint8)
    return pipe


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (with_packed_weights, "the text encoder was quantised by torch: its layer `.*` holds packed"),
        (with_own_class, "the pipeline class Own is not one of diffusers"),
        (with_own_part, r"the unet is a .*OwnNetwork, whose code would not be saved"),
        (offloaded, "the weights of the unet are not in memory"),
        (with_adapter, r"the unet has an adapter \(LoRA\) on it.*\n.*fuse_lora"),
    ],
)
def test_what_would_not_be_saved_whole_is_refused(make: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match=message):
        FRAMEWORK.save(make(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_pipeline_is_opened(tmp_path: Path) -> None:
    pipe = pipelines.unconditional()
    pipe.save_pretrained(tmp_path / "from")
    model = open_model(tmp_path / "from")
    assert framework_for(model).name == "diffusers"
    assert FRAMEWORK.answer(model, {"inputs": [{}], **QUICK}) == FRAMEWORK.answer(
        pipe, {"inputs": [{}], **QUICK}
    )


def test_a_folder_is_opened_in_the_formats_of_its_parts(tmp_path: Path) -> None:
    pipe = pipelines.text_to_image()
    pipe.unet.to(torch.float16)
    pipe.save_pretrained(tmp_path / "mixed")
    opened_parts = open_model(tmp_path / "mixed").components
    assert opened_parts["unet"].dtype == torch.float16
    assert opened_parts["vae"].dtype == torch.float32


def test_a_folder_with_one_variant_only_is_opened(tmp_path: Path) -> None:
    pipelines.text_to_image().to(torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    assert not (tmp_path / "half" / "unet" / "diffusion_pytorch_model.safetensors").exists()
    opened_parts = open_model(tmp_path / "half").components
    assert {opened_parts[name].dtype for name in ("unet", "vae", "text_encoder")} == {torch.float16}


def test_a_damaged_folder_is_told(tmp_path: Path) -> None:
    pipelines.unconditional().save_pretrained(tmp_path)
    next(tmp_path.rglob("*.safetensors")).write_bytes(b"cut off")
    with pytest.raises(PackagingError, match="cannot be read"):
        open_model(tmp_path)


def test_a_folder_with_code_is_not_run(tmp_path: Path) -> None:
    pipelines.unconditional().save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    index["_class_name"] = ["pipeline", "Own"]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "pipeline.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(PackagingError):
        open_model(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_parts_of_transformers_alone_are_not_pipelines() -> None:
    assert not FRAMEWORK.recognises(transformers.CLIPTextConfig())
    assert framework_for(pipelines.text_encoder()).name == "transformers"
