"""Chroma after a reference of coloured pages: by lightness, and by what a network got wrong there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.color import lightness_of_level
from imaging.reference import ReferencePage, build_reference, transfer

TONES = {40: (30.0, -20.0), 120: (-25.0, 35.0), 200: (5.0, 50.0)}  # ab by gray level


def striped(order: list[int], side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Return a page of even stripes, and its true chroma."""
    level = np.repeat(np.array(order, np.uint8), side // len(order))
    gray = np.tile(level, (side, 1))
    chroma = np.array([TONES.get(int(value), (0, 0)) for value in level], np.float32)
    return gray, np.tile(chroma, (side, 1, 1))


def rms(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(((one - other) ** 2).sum(axis=-1).mean()))


def test_without_a_network_each_tone_takes_the_references_chroma() -> None:
    reference = build_reference([ReferencePage(*striped([40, 120, 200]))])
    gray, truth = striped([200, 40, 200, 120])
    assert np.abs(transfer(reference, gray) - truth).max() < 1


def test_tones_the_reference_has_not_lie_between_their_neighbours() -> None:
    reference = build_reference([ReferencePage(*striped([40, 120, 200]))])
    between = transfer(reference, np.full((2, 2), 80, np.uint8))[0, 0]
    low, high = np.sort([TONES[40], TONES[120]], axis=0)
    assert (between > low + 5).all()
    assert (between < high - 5).all()
    assert transfer(reference, np.full((2, 2), 255, np.uint8))[0, 0] == pytest.approx(TONES[200], abs=1)


def test_several_references_count_by_their_pixels() -> None:
    gray = np.full((30, 30), 120, np.uint8)
    one, other = (np.full((30, 30, 2), value, np.float32) for value in (0, 30))
    reference = build_reference([ReferencePage(gray, one), ReferencePage(gray, other), ReferencePage(gray, other)])
    assert transfer(reference, gray) == pytest.approx(20, abs=0.01)


def wrong(chroma: np.ndarray, gray: np.ndarray) -> np.ndarray:
    """Predict as a network that is too pale, and too yellow where the page is light."""
    out = 0.5 * chroma
    out[..., 1] += 0.3 * lightness_of_level()[gray]
    return out.astype(np.float32)


def test_the_networks_error_on_the_reference_is_taken_from_other_pages() -> None:
    gray, truth = striped([40, 120, 200])
    reference = build_reference([ReferencePage(gray, truth, wrong(truth, gray))])
    other, other_truth = striped([120, 40, 200, 40])
    predicted = wrong(other_truth, other)
    all_of_it = transfer(reference, other, predicted, taken_back=1, table_share=0)
    assert rms(all_of_it, other_truth) < 0.35 * rms(predicted, other_truth)
    some = transfer(reference, other, predicted)
    assert rms(all_of_it, other_truth) < rms(some, other_truth) < 0.8 * rms(predicted, other_truth)


def test_a_network_that_is_right_is_left_alone_but_for_the_table() -> None:
    gray, truth = striped([40, 120, 200])
    reference = build_reference([ReferencePage(gray, truth, truth)])
    predicted = np.full_like(truth, 12)
    assert transfer(reference, gray, predicted, table_share=0) == pytest.approx(predicted, abs=1e-3)
    mixed = transfer(reference, gray, predicted, table_share=0.25)
    assert mixed == pytest.approx(0.75 * predicted + 0.25 * transfer(reference, gray), abs=1e-3)


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_any_pages_give_finite_chroma_of_their_own_size(height: int, width: int, network: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gray = rng.integers(0, 256, (7, 5), dtype=np.uint8)
    chroma = rng.uniform(-90, 90, (7, 5, 2)).astype(np.float32)
    reference = build_reference([ReferencePage(gray, chroma, -chroma if network else None)])
    other = rng.integers(0, 256, (height, width), dtype=np.uint8)
    predicted = rng.uniform(-90, 90, (height, width, 2)).astype(np.float32) if network else None
    made = transfer(reference, other, predicted)
    assert made.shape == (height, width, 2)
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    assert np.abs(made).max() < 250


def test_what_does_not_fit_together_is_refused() -> None:
    gray, truth = striped([40, 120, 200])
    with pytest.raises(ValueError, match="one coloured page"):
        build_reference([])
    with pytest.raises(ValueError, match="for all"):
        build_reference([ReferencePage(gray, truth, truth), ReferencePage(gray, truth)])
    with pytest.raises(ValueError, match="without a network"):
        transfer(build_reference([ReferencePage(gray, truth)]), gray, truth)
