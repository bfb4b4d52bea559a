"""Tiny pipelines with random weights, made in a moment."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ["a", "red", "kite", "over", "the", "grey", "sea", "in", "spring"]
SPECIAL = ("<|startoftext|>", "<|endoftext|>")
SIZE = 16


def unconditional(scheduler: Any = None) -> Any:
    """Makes images of 8 by 8 pixels out of noise."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    return quiet(diffusers.DDPMPipeline(unet, scheduler or diffusers.DDPMScheduler(num_train_timesteps=10)))


def text_to_image(kind: str = "StableDiffusionPipeline", **options: Any) -> Any:
    """Makes images of 16 by 16 pixels for prompts; the parts are those of Stable Diffusion, made tiny."""
    torch.manual_seed(0)
    pipe = getattr(diffusers, kind)(
        vae=vae(),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(),
        unet=unet(),
        scheduler=diffusers.DDIMScheduler(num_train_timesteps=20, clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        **options,
    )
    return quiet(pipe)


def image_to_image() -> Any:
    """Changes images of 16 by 16 pixels by prompts."""
    return text_to_image("StableDiffusionImg2ImgPipeline")


def unet() -> Any:
    return diffusers.UNet2DConditionModel(
        sample_size=SIZE // 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        cross_attention_dim=8,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )


def vae() -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=SIZE,
    )


def text_encoder() -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=len(WORDS) + len(SPECIAL),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        attention_dropout=0.5,  # the part is made in training mode: in it, answers would not repeat
    )
    return transformers.CLIPTextModel(config)


def tokenizer() -> Any:
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[1]))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL[0]} $A {SPECIAL[1]}", special_tokens=[(name, vocabulary[name]) for name in SPECIAL]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        unk_token=SPECIAL[1],
        pad_token=SPECIAL[1],
        model_max_length=12,
    )


def quiet(pipe: Any) -> Any:
    """The pipeline without its bars."""
    pipe.set_progress_bar_config(disable=True)
    return pipe
