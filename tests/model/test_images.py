"""Images in answers are the same where nobody could see a difference."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from truss.model.compare import difference
from truss.model.images import same_image

GREY = np.full((4, 6, 3), 100, dtype=np.uint8)


def png(colours: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(colours).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def with_one_pixel(value: int) -> np.ndarray:
    changed = GREY.copy()
    changed[2, 3, 1] = value
    return changed


@pytest.mark.parametrize(
    ("value", "tolerance", "same"),
    [(100, 0, True), (102, 0, True), (98, 0, True), (103, 0, False), (97, 0, False), (110, 0.05, True)],
)
def test_rounding_of_a_colour_is_no_difference(value, tolerance, same):
    assert same_image(png(GREY), png(with_one_pixel(value)), tolerance) is same


def test_answers_with_images_are_compared_by_colour():
    def answer(colours):
        return {"predictions": [{"images": [png(colours)]}]}

    assert png(GREY) != png(with_one_pixel(101))
    assert difference(answer(GREY), answer(with_one_pixel(101))) is None
    assert "predictions[0].images[0]" in (difference(answer(GREY), answer(with_one_pixel(200))) or "")


@pytest.mark.parametrize("other", [GREY[:3], GREY[:, :5], np.zeros((4, 6), dtype=np.uint8)])
def test_other_sizes_and_colours_differ(other):
    assert not same_image(png(GREY), png(other), 0.1)


@pytest.mark.parametrize("other", ["", "a text", png(GREY)[:-48], png(GREY)[:40], png(GREY)[:12] + "!"])
def test_what_is_no_image_is_not_the_same(other):
    assert not same_image(png(GREY), other, 1)
    assert not same_image(other, png(GREY), 1)
