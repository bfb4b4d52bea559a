"""Package a tiny diffusion pipeline, and ask the packaged copy for an image.

The weights are random, so the image is noise; a trained pipeline is packaged in the same way.

Run it with `python examples/diffusers/noise_to_image.py`.
"""

import base64
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import diffusers
import torch
from PIL import Image

import truss


def tiny_pipeline() -> diffusers.DDPMPipeline:
    """A pipeline that makes images of 32 by 32 pixels."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=32,
        block_out_channels=(16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    return diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler())


def main() -> None:
    with TemporaryDirectory() as folder:
        request = {"inputs": [{"seed": 1}], "num_inference_steps": 5}
        scaf = truss.create(tiny_pipeline(), Path(folder) / "noise", examples=[request])
        (prediction,) = scaf.server_predict(request)["predictions"]
        image = Image.open(io.BytesIO(base64.b64decode(prediction["images"][0])))
        print(f"a {image.format} of {image.width} by {image.height} pixels")


if __name__ == "__main__":
    main()
