"""Postprocessing, pixel by pixel, against pages that it made before."""

import numpy as np
import pytest

from imaging.color import U8
from tests.imaging.golden_pages import CASES, postprocess, stored

Made = tuple[U8, list[str]]


@pytest.fixture(scope="module")
def golden() -> tuple[dict[str, np.ndarray], dict[str, Made]]:
    return stored()


@pytest.mark.parametrize("name", CASES)
def test_a_page_comes_out_as_it_did(golden: tuple[dict[str, np.ndarray], dict[str, Made]], name: str) -> None:
    arrays, made = golden
    page, faults = made[name]
    now, faults_now = postprocess(arrays, CASES[name])
    off = np.abs(now.astype(int) - page).max(axis=2)
    assert off.max() <= 1  # another processor rounds differently here and there
    assert (off > 0).mean() <= 0.001
    assert faults_now == faults


def test_the_stored_pages_tell_the_settings_apart(golden: tuple[dict[str, np.ndarray], dict[str, Made]]) -> None:
    _, made = golden
    assert list(made) == list(CASES)
    apart = {page.tobytes() for page, _ in made.values()}
    # Two cases come out as another does: by the whole-page chroma, or by the page's own ink.
    assert len(apart) == len(made) - 2
