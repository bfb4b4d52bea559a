"""Compare images in answers, which stand there as PNG files in base64.

The same model rounds a colour up on one machine and down on another; as files, the two images have not a
byte in common.
"""

from __future__ import annotations

import base64
import io
from typing import Any

_PNG = base64.b64encode(b"\x89PNG\r\n\x1a")[:9].decode()

ROUNDING = 2 / 255
"""Difference between colours, of 1 for the full range, that is no difference."""


def same_image(expected: str, actual: str, tolerance: float) -> bool:
    """Whether both texts are PNG files of one size whose colours are the same but for rounding.

    Args:
        expected: A text, which may be an image.
        actual: Another.
        tolerance: Difference allowed between colours, of 1 for the full range; at least that of rounding.

    Returns:
        False also where Pillow, which reads the files, is not installed.
    """
    if not (expected.startswith(_PNG) and actual.startswith(_PNG)):
        return False
    try:
        first, second = _colours(expected), _colours(actual)
    except (ImportError, OSError, ValueError, SyntaxError):  # Pillow's words for a damaged file
        return False
    if first.shape != second.shape:
        return False
    farthest = abs(first - second).max(initial=0)
    return bool(farthest <= 255 * max(tolerance, ROUNDING))


def _colours(text: str) -> Any:
    """The image as an array of (height, width, channels)."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
        return np.asarray(image.convert("RGBA"), dtype=np.int16)
