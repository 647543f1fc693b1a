"""Target spaces: what is stored for training comes back as the chroma of the page."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from skimage import color as skcolor

from imaging.target import AB_RANGE, CHANNELS, chroma_of, quantized_target

pages = hnp.arrays(np.uint8, (12, 16, 3))


def stretched(stored: np.ndarray, space: str) -> np.ndarray:
    """Return a stored target in [-1, 1]: ab / 110, or level / 127.5 - 1."""
    return (stored / 110 if space == "ab" else stored / 127.5 - 1).astype(np.float32)


@pytest.mark.parametrize(("space", "dtype", "within"), [("ab", np.int8, 0.52), ("rgb", np.uint8, 0.02)])
@given(rgb=pages)
@settings(max_examples=30)
def test_a_stored_target_comes_back_as_the_chroma_of_the_page(
    space: str, dtype: type, within: float, rgb: np.ndarray
) -> None:
    stored = quantized_target(rgb, space)
    chroma = chroma_of(stretched(stored, space), space)

    assert stored.dtype == dtype
    assert stored.shape == (CHANNELS[space], 12, 16)
    assert chroma.shape == (12, 16, 2)
    assert chroma.dtype == np.float32
    np.testing.assert_allclose(chroma, skcolor.rgb2lab(rgb)[..., 1:], atol=within)


@given(pages)
@settings(max_examples=10)
def test_the_rgb_target_is_the_page_itself(rgb: np.ndarray) -> None:
    assert (quantized_target(rgb, "rgb").transpose(1, 2, 0) == rgb).all()


def test_the_most_saturated_colours_fit_the_range() -> None:
    corners = np.stack(np.meshgrid(*[[0, 255]] * 3), -1).reshape(1, 8, 3).astype(np.uint8)

    stored = quantized_target(corners, "ab")

    assert np.abs(stretched(stored, "ab")).max() <= 1
    assert stored.min() == -108  # blue
    assert AB_RANGE == 110


@pytest.mark.parametrize("beyond", [-1.0, 1.0])
def test_a_prediction_at_its_limits_is_a_chroma(beyond: float) -> None:
    """tanh reaches its limits: white and black have no chroma, ab reaches 110."""
    for space, expected in (("ab", beyond * 110), ("rgb", 0.0)):
        chroma = chroma_of(np.full((CHANNELS[space], 2, 3), beyond, np.float32), space)

        np.testing.assert_allclose(chroma, np.full((2, 3, 2), expected), atol=0.01)
