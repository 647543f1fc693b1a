"""Colour: scikit-image says what a colour is; the ink of a page is never lost under a prediction."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from skimage import color as skcolor
from skimage.color.colorconv import rgb_from_xyz

from imaging.color import (
    gray_of_equal_lightness,
    is_color_page,
    join_chroma,
    lightness_of_level,
    luma,
    to_lab,
)

SIZE = (24, 32)
WHITE = np.array([0.95047, 1.0, 1.08883])  # D65, 2 degrees: CIE 15
LEVELS = np.arange(256, dtype=np.uint8)[None]

pages = hnp.arrays(np.uint8, (*SIZE, 3))
seeds = st.integers(0, 2**32 - 1)


def lightness(rgb: np.ndarray) -> np.ndarray:
    return skcolor.rgb2lab(rgb)[..., 0]


def gray_page(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=-1)


def ink_and_chroma(seed: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ink = rng.integers(0, 256, (64, 64), dtype=np.uint8)
    angle, length = rng.uniform(0, 2 * np.pi, ink.shape), rng.uniform(0, reach, ink.shape)
    return ink, np.stack([length * np.cos(angle), length * np.sin(angle)], -1).astype(np.float32)


# What colour a page has.


@given(pages)
@settings(max_examples=30)
def test_lab_is_that_of_scikit_image(rgb: np.ndarray) -> None:
    lab = to_lab(rgb)

    assert lab.dtype == np.float32
    np.testing.assert_allclose(lab, skcolor.rgb2lab(rgb), atol=0.02)


def test_lab_of_the_corners_of_the_cube_is_that_of_scikit_image() -> None:
    corners = np.stack(np.meshgrid(*[[0, 1, 10, 11, 254, 255]] * 3), -1).reshape(1, -1, 3).astype(np.uint8)

    np.testing.assert_allclose(to_lab(corners), skcolor.rgb2lab(corners), atol=0.02)


def test_the_lightness_of_a_gray_level_is_that_of_scikit_image() -> None:
    np.testing.assert_allclose(lightness_of_level(), lightness(gray_page(LEVELS))[0], atol=0.01)


@given(pages)
@settings(max_examples=30)
def test_the_gray_of_equal_lightness_is_the_nearest_level_there_is(rgb: np.ndarray) -> None:
    gray = gray_of_equal_lightness(rgb)

    off = np.abs(lightness(gray_page(gray)) - lightness(rgb))
    step = np.abs(np.diff(lightness(gray_page(LEVELS))[0])).max()  # 0.46 L*, between the darkest levels
    assert off.max() <= step / 2 + 0.05


def test_a_gray_page_is_its_own_gray() -> None:
    assert (gray_of_equal_lightness(gray_page(LEVELS)) == LEVELS).all()
    assert (luma(gray_page(LEVELS)) == LEVELS).all()


@given(pages)
@settings(max_examples=30)
def test_luma_is_the_gray_that_pillow_makes(rgb: np.ndarray) -> None:
    pillow = np.asarray(Image.fromarray(rgb).convert("L"))

    assert np.abs(luma(rgb).astype(int) - pillow.astype(int)).max() <= 1


# Colour under ink.


@given(seeds, st.sampled_from([5.0, 60.0, 110.0, 500.0, 1e4, 1e6]))
@example(0, 1e6)
@settings(max_examples=40)
def test_any_chroma_leaves_the_lightness_of_the_ink(seed: int, reach: float) -> None:
    ink, chroma = ink_and_chroma(seed, reach)

    off = np.abs(lightness(join_chroma(ink, chroma)) - lightness(gray_page(ink)))

    assert np.percentile(off, 99.9) <= 0.3
    assert off.max() <= 0.5  # three channels are rounded, each by half a level at most


@given(hnp.arrays(np.float32, (8, 8, 2), elements=st.floats(-150, 150, width=32)), hnp.arrays(np.uint8, (8, 8)))
@settings(max_examples=100)
def test_no_chosen_chroma_moves_the_lightness_of_the_ink(chroma: np.ndarray, ink: np.ndarray) -> None:
    off = np.abs(lightness(join_chroma(ink, chroma)) - lightness(gray_page(ink)))

    assert off.max() <= 0.5


@given(hnp.arrays(np.uint8, (*SIZE, 3), elements=st.integers(40, 215)))
@settings(max_examples=30)
def test_chroma_inside_the_gamut_comes_back(rgb: np.ndarray) -> None:
    """Levels 40..215: half a level of ink more or less can not push such a colour out of the gamut."""
    asked = skcolor.rgb2lab(rgb)[..., 1:].astype(np.float32)

    page = join_chroma(gray_of_equal_lightness(rgb), asked)

    assert np.abs(skcolor.rgb2lab(page)[..., 1:] - asked).max() <= 1.0
    assert np.abs(page.astype(int) - rgb.astype(int)).max() <= 2


@given(seeds, st.sampled_from([60.0, 110.0, 500.0]))
@settings(max_examples=30)
def test_chroma_outside_the_gamut_keeps_its_hue_and_never_grows(seed: int, reach: float) -> None:
    """Hue is a direction in linear light, seen from the gray of the same luminance."""
    ink, chroma = ink_and_chroma(seed, reach)
    f_y = (lightness(gray_page(ink)) + 16) / 116
    f = np.stack([f_y + chroma[..., 0] / 500, f_y, f_y - chroma[..., 1] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * WHITE  # CIE 15, (8.22)-(8.27)
    gray = xyz[..., 1:2]
    asked = xyz @ rgb_from_xyz.T - gray

    page = join_chroma(ink, chroma)

    made = skcolor.rgb2xyz(page) @ rgb_from_xyz.T - gray
    along = (asked * made).sum(-1) / np.linalg.norm(asked, axis=-1)
    astray = np.sqrt(np.maximum((made**2).sum(-1) - along**2, 0))
    assert along.min() >= -0.01
    assert astray.max() <= 0.01  # one 8-bit level of a bright channel is 0.009 of linear light
    lab = skcolor.rgb2lab(page)
    grown = np.hypot(lab[..., 1], lab[..., 2]) - np.hypot(chroma[..., 0], chroma[..., 1])
    assert grown.max() <= 1.0


@given(seeds)
@settings(max_examples=20)
def test_chroma_is_given_up_only_as_far_as_the_gamut_asks(seed: int) -> None:
    ink, chroma = ink_and_chroma(seed, 1.0)
    chroma *= 400 / np.maximum(np.hypot(chroma[..., :1], chroma[..., 1:]), 1e-3)

    page = join_chroma(ink, chroma)

    colored = (ink > 0) & (ink < 255)
    at_the_wall = (page.min(-1) == 0) | (page.max(-1) == 255)
    assert at_the_wall[colored].mean() > 0.99


@pytest.mark.parametrize("level", [0, 255])
@given(a=st.floats(-1e4, 1e4), b=st.floats(-1e4, 1e4))
@settings(max_examples=30)
def test_white_and_black_stay_neutral(level: int, a: float, b: float) -> None:
    chroma = np.full((4, 4, 2), (a, b), np.float32)

    page = join_chroma(np.full((4, 4), level, np.uint8), chroma)

    assert (page == level).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (17, 1), (64, 48), (800, 4000), (4000, 800)])
@pytest.mark.parametrize("small", [(1, 1), (1, 7), (32, 32)])
def test_no_chroma_is_the_gray_page_exactly(size: tuple[int, int], small: tuple[int, int]) -> None:
    ink = np.arange(size[0] * size[1], dtype=np.int64).reshape(size).astype(np.uint8)

    page = join_chroma(ink, np.zeros((*small, 2), np.float32))

    assert page.shape == (*size, 3)
    assert page.dtype == np.uint8
    assert (page == ink[..., None]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (300, 200), (800, 4000), (4000, 800)])
def test_one_small_chroma_is_stretched_over_the_whole_page(size: tuple[int, int]) -> None:
    page = join_chroma(np.full(size, 150, np.uint8), np.full((16, 16, 2), (20, -20), np.float32))

    assert page.shape == (*size, 3)
    assert (page == page[0, 0]).all()
    np.testing.assert_allclose(skcolor.rgb2lab(page[:1, :1])[0, 0, 1:], (20, -20), atol=1)


@pytest.mark.parametrize("size", [(800, 4000), (4000, 800)])
def test_stretched_chroma_lands_where_it_belongs(size: tuple[int, int]) -> None:
    """Red left, blue right, on a page many strips high: each row alike, the border in the middle."""
    chroma = np.zeros((8, 8, 2), np.float32)
    chroma[:, :4], chroma[:, 4:] = (40, 20), (10, -40)

    page = join_chroma(np.full(size, 128, np.uint8), chroma)

    assert (page == page[:1]).all()
    left, right = page[0, : size[1] * 3 // 8], page[0, size[1] * 5 // 8 :]
    assert (left[:, 0] > left[:, 2]).all()
    assert (right[:, 2] > right[:, 0]).all()


def test_a_page_is_the_same_whatever_lies_around_it() -> None:
    """Wide pages are worked on in more strips than narrow ones; no strip may show."""
    rng = np.random.default_rng(3)
    ink = rng.integers(0, 256, (500, 900), dtype=np.uint8)
    chroma = rng.uniform(-60, 60, (500, 900, 2)).astype(np.float32)

    whole = join_chroma(ink, chroma)

    assert (whole[137:311, 20:60] == join_chroma(ink[137:311, 20:60], chroma[137:311, 20:60])).all()


# Is a page in colour already?


def drawing(height: int = 600, width: int = 400) -> np.ndarray:
    """Draw ink lines, black areas, a soft gray gradient and a screentone on white paper."""
    gray = np.full((height, width), 255, np.uint8)
    gray[40:200, 30:370] = np.linspace(60, 240, 340).astype(np.uint8)
    gray[240:400, 30:370:4] = 20
    gray[300:310, :] = 0
    cv2.circle(gray, (200, 480), 90, 0, 5)
    return cv2.GaussianBlur(gray, (3, 3), 0)


def tinted(gray: np.ndarray, dark: tuple[int, int, int], light: tuple[int, int, int]) -> np.ndarray:
    share = gray[..., None] / 255
    return np.round(np.array(dark) * (1 - share) + np.array(light) * share).astype(np.uint8)


def as_jpeg(rgb: np.ndarray, quality: int, subsampling: int = 2) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file).convert("RGB"))


GRAY_PAGES = {
    "gray": gray_page(drawing()),
    "white": np.full((300, 200, 3), 255, np.uint8),
    "yellowed evenly": np.clip(gray_page(drawing()).astype(int) * 0.8 + (30, 20, -10), 0, 255).astype(np.uint8),
    "on yellow paper": tinted(drawing(), (0, 0, 0), (250, 235, 190)),
    "brown ink on yellow paper": tinted(drawing(), (50, 25, 5), (245, 230, 190)),
    "blue scan": tinted(drawing(), (0, 0, 20), (235, 240, 255)),
    "JPEG of gray": as_jpeg(gray_page(drawing()), 40),
    "poor JPEG of yellowed paper": as_jpeg(tinted(drawing(), (20, 10, 0), (250, 235, 200)), 20),
}


@pytest.mark.parametrize("name", GRAY_PAGES)
def test_a_page_without_colour_is_not_a_colour_page(name: str) -> None:
    assert not is_color_page(GRAY_PAGES[name])


def shaded_figure() -> np.ndarray:
    """Draw a white page with a figure on a hundredth of it, its skin and its coat shaded."""
    page = gray_page(drawing(1000, 800))
    shading = np.linspace(0.5, 1, 90)[:, None, None]
    page[800:890, 600:640] = (np.array((250, 200, 170)) * shading).astype(np.uint8)
    page[800:890, 640:680] = (np.array((60, 90, 220)) * shading).astype(np.uint8)
    return page


def patchwork() -> np.ndarray:
    rng = np.random.default_rng(1)
    return cv2.resize(rng.integers(0, 256, (12, 8, 3), dtype=np.uint8), (400, 600), interpolation=cv2.INTER_NEAREST)


def painted_drawing() -> np.ndarray:
    """Draw a page whose upper half has a warm sky and whose lower half has a cold one."""
    warm = np.repeat([[(40.0, 40.0)], [(-5.0, -40.0)]], 8, axis=1).astype(np.float32)
    return join_chroma(np.minimum(drawing(), 200), warm)


COLOR_PAGES = {
    "painted": painted_drawing(),
    "painted, as JPEG": as_jpeg(painted_drawing(), 60),
    "patchwork": patchwork(),
    "small shaded figure": shaded_figure(),
}


@pytest.mark.parametrize("name", COLOR_PAGES)
def test_a_page_with_colour_is_a_colour_page(name: str) -> None:
    assert is_color_page(COLOR_PAGES[name])


@pytest.mark.parametrize("color", [(200, 30, 30), (40, 80, 200)])
def test_a_flat_figure_on_a_white_page_is_colour(color: tuple[int, int, int]) -> None:
    page = np.full((1000, 800, 3), 255, np.uint8)
    page[100:120] = 0
    page[400:500, 300:400] = color  # 1.25 % of the page

    assert is_color_page(page)


def test_a_speck_of_colour_does_not_make_a_colour_page() -> None:
    page = gray_page(drawing(1000, 800))
    page[10:20, 10:20] = (255, 0, 0)

    assert not is_color_page(page)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (240, 225, 190)])
def test_a_page_of_one_pixel_has_a_tint_and_no_colour(color: tuple[int, int, int]) -> None:
    assert not is_color_page(np.full((1, 1, 3), color, np.uint8))


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1)])
def test_a_page_of_one_line_is_looked_at(size: tuple[int, int]) -> None:
    assert not is_color_page(np.full((*size, 3), 77, np.uint8))
