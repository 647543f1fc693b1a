"""Pictures made fit for a browser."""

import io

import numpy as np
import pytest
from PIL import Image

from datasets.errors import PageUnreadableError
from datasets.limits import Limits
from jobs.parts.desk.shown import MOST_PIXELS, for_browser, layer_of, swatches_of
from tests.jobs.colorize.chapters import color_page, gray_page, saved

PIXELS = Limits.pixels


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


def test_a_page_of_a_hundred_million_pixels_comes_reduced() -> None:
    out = io.BytesIO()
    Image.new("1", (12_000, 8_500), 1).save(out, "PNG")
    width, height = size_of(for_browser(out.getvalue(), PIXELS))
    assert width * height <= MOST_PIXELS < 1.01 * width * height
    assert width / height == pytest.approx(12 / 8.5, abs=0.001)
    with pytest.raises(PageUnreadableError, match="PIXELS"):
        for_browser(out.getvalue(), 100_000_000)


def test_a_strip_is_no_longer_than_browsers_show() -> None:
    out = io.BytesIO()
    Image.new("L", (100, 60_000), 200).save(out, "PNG")
    assert max(size_of(for_browser(out.getvalue(), PIXELS))) == 16_000


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "BMP", "GIF", "WEBP"])
def test_every_format_comes_as_a_jpeg_of_the_same_size(image_format: str) -> None:
    shown = for_browser(color_page(image_format), PIXELS)
    assert Image.open(io.BytesIO(shown)).format == "JPEG"
    assert size_of(shown) == (40, 56)


def test_colours_are_those_of_the_pages() -> None:
    green, red = (np.full((60, 40, 3), rgb, np.uint8) for rgb in ((40, 160, 60), (200, 30, 40)))
    found = swatches_of([saved(green), saved(red)], PIXELS)
    near = {tuple(round(int(css[at : at + 2], 16) / 40) for at in (1, 3, 5)) for css in found}
    assert near == {(1, 4, 2), (5, 1, 1)}
    assert swatches_of([], PIXELS) == []


def test_what_is_found_on_a_page_is_laid_over_it() -> None:
    assert b"<svg" in layer_of(gray_page(1), "areas", PIXELS)
