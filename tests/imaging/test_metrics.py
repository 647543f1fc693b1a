"""Metrics, against scikit-image, the published tables, and examples computed by hand."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import color as skcolor
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from imaging.color import gray_of_equal_lightness, join_chroma
from imaging.metrics import ciede2000, ciede2000_map, colorfulness, luminance_ssim, psnr, ssim

seeds = st.integers(0, 2**32 - 1)

# Sharma, Wu, Dalal 2005, table 1: two colours and their CIEDE2000.
SHARMA = np.array(
    [
        (50, 2.6772, -79.7751, 50, 0, -82.7485, 2.0425),
        (50, 3.1571, -77.2803, 50, 0, -82.7485, 2.8615),
        (50, 2.8361, -74.0200, 50, 0, -82.7485, 3.4412),
        (50, -1.3802, -84.2814, 50, 0, -82.7485, 1.0000),
        (50, -1.1848, -84.8006, 50, 0, -82.7485, 1.0000),
        (50, -0.9009, -85.5211, 50, 0, -82.7485, 1.0000),
        (50, 0, 0, 50, -1, 2, 2.3669),
        (50, -1, 2, 50, 0, 0, 2.3669),
        (50, 2.4900, -0.0010, 50, -2.4900, 0.0009, 7.1792),
        (50, 2.4900, -0.0010, 50, -2.4900, 0.0010, 7.1792),
        (50, 2.4900, -0.0010, 50, -2.4900, 0.0011, 7.2195),
        (50, 2.4900, -0.0010, 50, -2.4900, 0.0012, 7.2195),
        (50, -0.0010, 2.4900, 50, 0.0009, -2.4900, 4.8045),
        (50, -0.0010, 2.4900, 50, 0.0010, -2.4900, 4.8045),
        (50, -0.0010, 2.4900, 50, 0.0011, -2.4900, 4.7461),
        (50, 2.5, 0, 50, 0, -2.5, 4.3065),
        (50, 2.5, 0, 73, 25, -18, 27.1492),
        (50, 2.5, 0, 61, -5, 29, 22.8977),
        (50, 2.5, 0, 56, -27, -3, 31.9030),
        (50, 2.5, 0, 58, 24, 15, 19.4535),
        (50, 2.5, 0, 50, 3.1736, 0.5854, 1.0000),
        (50, 2.5, 0, 50, 3.2972, 0, 1.0000),
        (50, 2.5, 0, 50, 1.8634, 0.5757, 1.0000),
        (50, 2.5, 0, 50, 3.2592, 0.3350, 1.0000),
        (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
        (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630),
        (61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731),
        (35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645),
        (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
        (36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146),
        (90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441),
        (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
        (6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377),
        (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
    ]
)
# Rows 10 and 14 lie half a turn of hue apart to the last bit: rounding decides which side they fall on.
OPPOSITE = (9, 13)


def noise(seed: int, size: tuple[int, int] = (40, 48)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def disturbed(page: np.ndarray, by: float) -> np.ndarray:
    drift = np.random.default_rng(9).normal(0, by, page.shape)
    return np.clip(page + drift, 0, 255).round().astype(np.uint8)


def soft(seed: int, size: tuple[int, int] = (64, 80)) -> np.ndarray:
    return cv2.GaussianBlur(noise(seed, size), (0, 0), 3)


def ssim_by_oracle(one: np.ndarray, other: np.ndarray, data_range: float) -> float:
    """Return the structural similarity by scikit-image, with a Gaussian of sigma 1.5 on 11 x 11 pixels (Wang et al.).

    scikit-image leaves out the five pixels along the border; ours mirrors the page there and counts them.
    """
    one, other = (np.pad(page, ((5, 5), (5, 5), (0, 0)), mode="reflect") for page in (one, other))
    return structural_similarity(
        one,
        other,
        data_range=data_range,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


def random_labs(seed: int, count: int = 500) -> np.ndarray:
    rng = np.random.default_rng(seed)
    labs = rng.uniform((0, -110, -110), (100, 110, 110), (count, 3))
    labs[::7, 1:] = 0
    labs[1::7, 1:] *= 0.02
    return labs.astype(np.float32)


@pytest.mark.parametrize("row", [row for row in range(len(SHARMA)) if row not in OPPOSITE])
def test_ciede2000_is_that_of_the_published_table(row: int) -> None:
    pair = SHARMA[row]

    assert float(ciede2000_map(pair[:3], pair[3:6])) == pytest.approx(pair[6], abs=1e-4)
    assert float(ciede2000_map(pair[3:6], pair[:3])) == pytest.approx(pair[6], abs=1e-4)


@given(seeds, seeds)
@settings(max_examples=30)
def test_ciede2000_is_that_of_scikit_image(one: int, other: int) -> None:
    ours = ciede2000_map(random_labs(one), random_labs(other))

    np.testing.assert_allclose(
        ours, skcolor.deltaE_ciede2000(random_labs(one), random_labs(other)), rtol=1e-3, atol=0.01
    )


@given(seeds)
@settings(max_examples=20)
def test_ciede2000_of_near_colours_is_that_of_scikit_image(seed: int) -> None:
    one = random_labs(seed)
    other = one + np.random.default_rng(seed + 1).normal(0, 1, one.shape).astype(np.float32)

    np.testing.assert_allclose(ciede2000_map(one, other), skcolor.deltaE_ciede2000(one, other), rtol=1e-3, atol=0.01)


def test_ciede2000_of_achromatic_colours() -> None:
    gray, red = np.array([[50.0, 0, 0]], np.float32), np.array([[50.0, 40, 20]], np.float32)

    assert ciede2000_map(gray, gray)[0] == 0
    assert ciede2000_map(gray, red)[0] == pytest.approx(skcolor.deltaE_ciede2000(gray, red)[0], abs=1e-3)
    assert ciede2000_map(gray, red)[0] == ciede2000_map(red, gray)[0]


def test_ciede2000_of_pages_is_the_mean_over_their_pixels() -> None:
    truth = noise(1)
    ours = truth.copy()
    ours[:, :24] = noise(2)[:, :24]

    by_oracle = skcolor.deltaE_ciede2000(skcolor.rgb2lab(ours), skcolor.rgb2lab(truth))

    assert ciede2000(truth, truth) == 0
    assert ciede2000(ours, truth) == pytest.approx(by_oracle.mean(), abs=0.01)


@pytest.mark.parametrize("by", [1, 10, 60])
def test_psnr_is_that_of_scikit_image(by: float) -> None:
    page = noise(4)

    expected = peak_signal_noise_ratio(page, disturbed(page, by), data_range=255)

    assert psnr(page, disturbed(page, by)) == pytest.approx(expected, abs=1e-3)


def test_psnr_of_equal_pages_is_infinite() -> None:
    assert psnr(noise(4), noise(4)) == math.inf


@pytest.mark.parametrize("by", [1, 10, 60])
def test_ssim_is_that_of_scikit_image(by: float) -> None:
    page = soft(5)

    expected = ssim_by_oracle(page, disturbed(page, by), 255)

    assert ssim(page, disturbed(page, by)) == pytest.approx(expected, abs=1e-4)
    assert ssim(page, page) == pytest.approx(1, abs=1e-6)


def test_a_gray_page_has_no_colourfulness() -> None:
    gray = np.repeat(noise(6)[..., :1], 3, axis=-1)

    assert colorfulness(gray) == 0


def test_colourfulness_by_hand() -> None:
    """Red and blue, a pixel each: rg is 255 and 0, yb is 127.5 and -255.

    Standard deviations 127.5 and 191.25, means 127.5 and -63.75:
    sqrt(127.5^2 + 191.25^2) + 0.3 sqrt(127.5^2 + 63.75^2) = 229.8539 + 0.3 x 142.5493.
    """
    page = np.array([[(255, 0, 0), (0, 0, 255)]], np.uint8)

    assert colorfulness(page) == pytest.approx(272.6187, abs=1e-3)


def test_colour_laid_under_ink_keeps_the_structure_of_the_page() -> None:
    ink = gray_of_equal_lightness(soft(7))
    quiet = join_chroma(ink, np.zeros((8, 8, 2), np.float32))
    lively = join_chroma(ink, np.random.default_rng(8).uniform(-90, 90, (8, 8, 2)).astype(np.float32))

    assert luminance_ssim(quiet, ink) == pytest.approx(1, abs=1e-6)
    assert luminance_ssim(lively, ink) > 0.995


def test_blurred_ink_has_lost_structure() -> None:
    ink = noise(7, (64, 80))[..., 0]
    blurred = np.repeat(cv2.GaussianBlur(ink, (0, 0), 1.5)[..., None], 3, axis=-1)

    assert luminance_ssim(blurred, ink) < 0.7


def test_the_structure_of_a_page_is_compared_in_lightness() -> None:
    truth, page = soft(11), disturbed(soft(11), 12)

    expected = ssim_by_oracle(skcolor.rgb2lab(page)[..., :1], skcolor.rgb2lab(truth)[..., :1], 100)

    assert luminance_ssim(page, gray_of_equal_lightness(truth)) == pytest.approx(expected, abs=0.005)


# Colour over the lines.


METRICS = {"ciede2000": ciede2000, "psnr": psnr, "ssim": ssim}


@pytest.mark.parametrize("name", METRICS)
def test_what_is_masked_is_left_out(name: str) -> None:
    metric = METRICS[name]
    truth, ours = noise(1), noise(2)
    masked = np.zeros(truth.shape[:2], bool)
    masked[5:20, 7:30] = True
    other_truth, other_ours = truth.copy(), ours.copy()
    other_truth[masked], other_ours[masked] = noise(3)[masked], 0
    assert metric(other_ours, other_truth, masked) == metric(ours, truth, masked)
    assert metric(other_ours, other_truth) != metric(ours, truth)
    assert metric(ours, truth, np.zeros_like(masked)) == pytest.approx(metric(ours, truth), rel=1e-5)
    right = ours.copy()
    right[~masked] = truth[~masked]
    assert metric(right, truth, masked) == pytest.approx(metric(truth, truth), abs=1e-6)


def test_the_structure_of_masked_ink_is_left_out() -> None:
    page = noise(1)
    ink = gray_of_equal_lightness(page)
    masked = np.zeros(ink.shape, bool)
    masked[5:20, 7:30] = True
    ink[masked] = 0
    assert luminance_ssim(page, ink, masked) == pytest.approx(1, abs=1e-3)
    assert luminance_ssim(page, ink) < 0.95
