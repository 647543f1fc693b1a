"""A page worked on in bands comes out as it does as a whole, bit for bit, whatever the bands are."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging import bands
from imaging.bands import ChromaRows, resized_chroma, resized_rows, whole
from imaging.color import gray_of_equal_lightness, join_chroma, neutral_levels
from imaging.gate import judge, reduce_chroma
from imaging.lines import refined_rows
from imaging.luminance import relight
from imaging.text import neutral

shapes = st.tuples(st.integers(1, 90), st.integers(1, 60))
seeds = st.integers(0, 2**32 - 1)
few_pixels = st.integers(1, 2000)


def drawn(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return levels with strokes and noise, a chroma map, and a mask of text."""
    rng = np.random.default_rng(seed)
    gray = np.full(shape, 235, np.uint8)
    for _ in range(6):
        ends = rng.integers(0, (shape[1], shape[0]), (2, 2)).tolist()
        cv2.line(gray, *ends, int(rng.integers(0, 200)), int(rng.integers(1, 9)))
    gray = np.minimum(gray, rng.integers(150, 256, shape)).astype(np.uint8)
    chroma = rng.uniform(-60, 60, (*rng.integers(1, 50, 2), 2)).astype(np.float32)
    text = np.zeros(shape, np.uint8)
    cv2.circle(text, rng.integers(0, (shape[1], shape[0])).tolist(), int(rng.integers(1, 30)), 1, -1)
    return gray, chroma, text.view(np.bool_)


def in_bands(pixels: int, work: Callable[[], np.ndarray]) -> np.ndarray:
    """Do this with bands of so many pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands, "_PIXELS", pixels)
        return work()


WAYS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], ChromaRows]] = {
    "resized": lambda gray, chroma, text: resized_chroma(chroma, gray.shape),
    "refined": lambda gray, chroma, text: refined_rows(gray, chroma),
    "neutral": lambda gray, chroma, text: neutral(resized_chroma(chroma, gray.shape), text),
}
PAGES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "joined": lambda gray, chroma, text: join_chroma(gray, chroma),
    "lightness predicted": lambda gray, chroma, text: relight(gray, np.ascontiguousarray(chroma[..., 0]), "predict"),
    "shading": lambda gray, chroma, text: relight(gray, np.ascontiguousarray(chroma[..., 0]), "blend", text),
    "gray": lambda gray, chroma, text: gray_of_equal_lightness(join_chroma(gray, chroma)),
    "reduced": lambda gray, chroma, text: whole(
        reduce_chroma(gray, resized_chroma(4 * chroma, gray.shape), text), gray.shape
    ),
}


@pytest.mark.parametrize("way", WAYS)
@given(shape=shapes, seed=seeds, pixels=few_pixels)
@settings(max_examples=60)
def test_chroma_in_bands_is_that_of_the_whole_page(way: str, shape: tuple[int, int], seed: int, pixels: int) -> None:
    page = drawn(shape, seed)
    at_once = WAYS[way](*page)(slice(0, shape[0])).transpose(1, 2, 0)

    np.testing.assert_array_equal(in_bands(pixels, lambda: whole(WAYS[way](*page), shape)), at_once)


@pytest.mark.parametrize("way", PAGES)
@given(shape=shapes, seed=seeds, pixels=few_pixels)
@settings(max_examples=40)
def test_pages_made_in_bands_are_those_made_at_once(way: str, shape: tuple[int, int], seed: int, pixels: int) -> None:
    page = drawn(shape, seed)

    np.testing.assert_array_equal(in_bands(pixels, lambda: PAGES[way](*page)), PAGES[way](*page))


@given(shape=shapes, seed=seeds, pixels=few_pixels)
@settings(max_examples=40)
def test_the_gate_measures_in_bands_what_it_does_at_once(shape: tuple[int, int], seed: int, pixels: int) -> None:
    gray, chroma, text = drawn(shape, seed)
    page = join_chroma(gray, chroma)

    def measured() -> np.ndarray:
        return np.array(list(vars(judge(gray, page, text).measures).values()))

    np.testing.assert_allclose(in_bands(pixels, measured), measured(), rtol=1e-12)


@given(shape=shapes, small=st.tuples(st.integers(1, 70), st.integers(1, 70)), seed=seeds)
@settings(max_examples=60)
def test_a_map_is_resized_as_opencv_does_it(shape: tuple[int, int], small: tuple[int, int], seed: int) -> None:
    plane = np.random.default_rng(seed).uniform(-100, 100, small).astype(np.float32)
    if (small[0], small[1]) == (2 * shape[0], 2 * shape[1]):
        return  # OpenCV takes means of four instead

    rows = resized_rows(plane, shape, slice(0, shape[0]))

    np.testing.assert_allclose(rows, cv2.resize(plane, shape[::-1], interpolation=cv2.INTER_LINEAR), atol=0.02)


def test_one_pixel_of_colour_makes_a_picture_not_neutral() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (300, 700), dtype=np.uint8)
    picture = np.repeat(gray[..., None], 3, axis=2)
    np.testing.assert_array_equal(neutral_levels(picture), gray)
    for channel in range(3):
        tinted = picture.copy()
        tinted[-1, -1, channel] ^= 1
        assert neutral_levels(tinted) is None
