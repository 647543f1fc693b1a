"""Tests of the measures of chroma maps."""

import numpy as np
import pytest

from benchmarks.measures import drift_between, point_colors, region_colors, seam_energy


def test_seams_are_measured_against_the_rest() -> None:
    owner = np.zeros((20, 20), int)
    owner[:, 10:] = 1
    ramp = np.repeat(np.arange(20.0)[None, :, None], 20, 0).repeat(2, 2)
    step = ramp.copy()
    step[:, 10:] += 8

    assert seam_energy(ramp.astype(np.float32), owner) == pytest.approx(np.sqrt(8) / (np.sqrt(8) * 16 / 34), rel=1e-3)
    assert seam_energy(step.astype(np.float32), owner) == pytest.approx(5 * 34 / 16, rel=1e-3)
    assert np.isnan(seam_energy(ramp.astype(np.float32), np.zeros((20, 20), int)))
    owner[:, 10:] = -1
    assert np.isnan(seam_energy(step.astype(np.float32), owner))


def test_between_chapters_the_means_count_and_not_the_pages() -> None:
    wide = np.float32([[10, 5], [-10, 5]])
    even = np.float32([[0, -5], [0, -5], [0, -5]])
    assert drift_between([wide, even]).rms == pytest.approx(5)
    assert drift_between([wide, np.full((1, 2), np.nan, np.float32)]).looks == 1


def test_regions_and_points_have_the_colours_drawn_there() -> None:
    chroma = np.zeros((40, 60, 2), np.float32)
    labels = np.zeros((40, 60), np.uint8)
    chroma[5:20, 10:30], labels[5:20, 10:30] = (25, -7), 1
    chroma[30:33, 40:44], labels[30:33, 40:44] = (-9, 9), 3
    found = region_colors(chroma, labels, 4)
    assert found[0] == pytest.approx([25, -7])
    assert np.isnan(found[1:]).all()  # 2 and 4 are missing, 3 is a speck
    points = point_colors(chroma, [(20 / 60, 12 / 40), (42 / 60, 31 / 40), (1.0, 1.0), (0.0, 0.0)])
    assert points == pytest.approx(np.array([[25, -7], [-9, 9], [0, 0], [0, 0]]))
