"""The measures of a training."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from imaging.color import U8
from pretraining.measure import Judged, stories, summary
from pretraining.pack import Pack, write_pack
from pretraining.sources import STORYBOOKS, Picture


@pytest.fixture(scope="module")
def page() -> U8:
    """Fields of eleven colours between lines."""
    rng = np.random.default_rng(0)
    page = np.full((240, 320, 3), 255, np.uint8)
    for row in range(4):
        for column in range(5):
            corner, end = (column * 64 + 2, row * 60 + 2), (column * 64 + 60, row * 60 + 56)
            cv2.rectangle(page, corner, end, rng.integers(0, 256, 3).tolist(), -1)
            cv2.rectangle(page, corner, end, (0, 0, 0), 2)
    return page


def test_the_truth_has_no_error_and_the_gray_page_no_colour(page: U8) -> None:
    judged = Judged(page)
    true, gray = judged.measure(page), judged.left_gray

    assert (true.error, true.color) == (0, 1)
    assert true.areas.named_right(1) == 1
    assert gray.error > 5
    assert gray.color == 0
    assert gray.areas.named_right(1) < 0.5


def test_a_row_adds_up_pages(page: U8) -> None:
    judged = Judged(page)
    row = summary("s", "w", [(judged.measure(page), judged.left_gray), (judged.left_gray, judged.left_gray)])

    assert row.startswith("| s | w | ")
    error, share, color = (float(cell) for cell in row.split("|")[3:6])
    assert error == pytest.approx(judged.left_gray.error / 2, abs=0.01)
    assert (share, color) == (0.5, 0.5)


def test_a_reference_is_never_judged(tmp_path: Path) -> None:
    pictures = [(STORYBOOKS, "one", 6), ("peppercarrot", "ep10", 3), ("peppercarrot-art", "ep10", 3)]
    levels_of = iter(range(0, 256, 12))
    rows = [
        (Picture(series, story, f"{n}.jpg", ""), np.full((32, 32, 3), next(levels_of), np.uint8))
        for series, story, count in pictures
        for n in range(count)
    ]
    write_pack(rows, tmp_path / "pack", quality=95)
    found = {story: (references, judged) for _, story, references, judged in stories(Pack(tmp_path / "pack"), 2, ())}

    levels = {story: [[int(page.mean()) for page in pages] for pages in parts] for story, parts in found.items()}
    assert {story: tuple(map(len, parts)) for story, parts in levels.items()} == {"one": (3, 2), "ep10": (1, 2)}
    assert all(min(judged) > max(references) + 6 for references, judged in levels.values())
