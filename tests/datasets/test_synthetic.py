"""The generated series: its ground truth is true and the same every time, and its pages are comic pages."""

import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets.errors import BadUsageError
from datasets.synthetic import CAST, DrawnPage, Series, draw_page, layout_page, write_series
from datasets.synthetic.cast import FUR
from imaging.color import gray_of_equal_lightness, to_lab
from jobs.parts.runtime import ROOT

SMALL = Series(seed=5, chapters=4, pages=6, width=320, height=480)
NUMBERS = [(chapter, page) for chapter in (1, 2, 3, 4) for page in (1, 2, 4, 6)]


@cache
def drawn(chapter: int, page: int) -> DrawnPage:
    return draw_page(SMALL, chapter, page)


def digest(page: DrawnPage) -> str:
    return hashlib.sha256(b"".join(a.tobytes() for a in (page.ink, page.color, page.cast, page.bubbles))).hexdigest()


def chroma_of(page: DrawnPage) -> np.ndarray:
    return to_lab(page.color)[..., 1:]


def colorfulness(rgb: np.ndarray) -> float:
    """Return the colourfulness (Hasler and Suesstrunk 2003)."""
    r, g, b = np.moveaxis(rgb.astype(np.float64), -1, 0)
    rg, yb = r - g, (r + g) / 2 - b
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def gutters(series: Series, chapter: int, page: int) -> np.ndarray:
    outside = np.ones((series.height, series.width), np.uint8)
    for panel in layout_page(series, chapter, page):
        cv2.fillPoly(outside, [np.round(panel.corners).astype(np.int32)], 0)
    return cv2.erode(outside, np.ones((5, 5), np.uint8)) > 0


def test_dyes_change_the_colours_of_what_they_name_and_nothing_else() -> None:
    plain = drawn(2, 4)
    dyed = draw_page(replace(SMALL, dyes={FUR: FUR._replace(a=-40.0, b=-40.0)}), 2, 4)
    changed = np.abs(chroma_of(plain) - chroma_of(dyed)).max(axis=-1) > 20

    assert np.array_equal(plain.ink, dyed.ink)
    assert changed.mean() > 0.005
    assert set(np.unique(plain.cast[changed])) <= {0, 1}  # the fox, and the soft edge of her fur
    assert (plain.cast[changed] == 1).mean() > 0.9


def test_the_same_arguments_draw_the_same_bytes_in_any_process() -> None:
    script = (
        "import hashlib; from datasets.synthetic import *; p = draw_page(Series(5, 4, 6, 320, 480), 2, 4);"
        "print(hashlib.sha256(b''.join(a.tobytes() for a in (p.ink, p.color, p.cast, p.bubbles))).hexdigest())"
    )
    fresh = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert fresh.stdout.strip() == digest(drawn(2, 4)) == digest(draw_page(SMALL, 2, 4))


def test_a_page_does_not_depend_on_how_many_chapters_there_are() -> None:
    longer = Series(seed=5, chapters=40, pages=6, width=320, height=480)
    assert digest(draw_page(longer, 2, 4)) == digest(drawn(2, 4))


def test_other_seeds_and_pages_are_other_pages() -> None:
    other = draw_page(Series(seed=6, chapters=4, pages=6, width=320, height=480), 1, 2)
    pages = [other, *(drawn(chapter, page) for chapter, page in NUMBERS)]
    assert len({hashlib.sha256(page.ink.tobytes()).hexdigest() for page in pages}) == len(pages)


@pytest.mark.parametrize(("chapter", "page"), NUMBERS)
def test_the_ink_is_the_colour_page_at_equal_lightness(chapter: int, page: int) -> None:
    one = drawn(chapter, page)
    difference = np.abs(gray_of_equal_lightness(one.color).astype(int) - one.ink)
    assert difference.max() <= 2


@pytest.mark.parametrize(("chapter", "page"), NUMBERS)
def test_bubbles_and_gutters_are_neutral(chapter: int, page: int) -> None:
    one = drawn(chapter, page)
    length = np.hypot(*np.moveaxis(chroma_of(one), -1, 0))
    assert length[one.bubbles].max() < 2
    between = gutters(SMALL, chapter, page)
    if page > 1:
        assert between.any(), "only the title page is all panel"
        assert length[between].max() < 2
        assert one.ink[between].min() > 250


@pytest.mark.parametrize(("chapter", "page"), NUMBERS)
def test_every_page_has_panels_lettering_and_characters(chapter: int, page: int) -> None:
    one = drawn(chapter, page)
    assert layout_page(SMALL, chapter, page)
    assert one.bubbles.mean() > 0.004
    paper = (one.ink > 250) & one.bubbles
    lettering = (one.ink < 80) & one.bubbles
    assert paper.any()
    assert lettering.any()
    assert (one.cast > 0).mean() > 0.03
    assert one.cast.max() <= len(CAST)
    assert not (one.bubbles & (one.cast > 0)).any()


@pytest.mark.parametrize("chapter", [1, 2, 3, 4])
def test_all_of_the_cast_occur_in_every_chapter(chapter: int) -> None:
    seen = set(np.unique(drawn(chapter, 1).cast))
    assert seen == {0, *range(1, len(CAST) + 1)}


def test_pages_are_colourful_and_as_dark_and_light_as_a_comic() -> None:
    for chapter, page in NUMBERS:
        one = drawn(chapter, page)
        assert colorfulness(one.color) > 30
        assert (one.ink < 40).mean() > 0.02, "ink"
        assert (one.ink > 240).mean() > 0.01, "paper"


def test_characters_keep_their_hue_and_differ_from_each_other() -> None:
    hues = np.array([[_hue(drawn(chapter, 1), who) for who in range(1, 6)] for chapter in (1, 2, 3, 4)])
    means = np.angle(np.exp(1j * hues).mean(axis=0))
    drift = np.abs(np.angle(np.exp(1j * (hues - means))))
    assert np.rad2deg(drift.max()) < 8
    apart = np.abs(np.angle(np.exp(1j * (means[:, None] - means[None])))) + 9 * np.eye(len(CAST))
    assert np.rad2deg(apart.min()) > 20


def _hue(page: DrawnPage, who: int) -> float:
    ab = chroma_of(page)[page.cast == who]
    vivid = ab[np.hypot(ab[:, 0], ab[:, 1]) > 10]
    a, b = vivid.mean(axis=0)
    return float(np.arctan2(b, a))


def test_a_table_from_gray_level_to_colour_does_not_explain_the_colours() -> None:
    """The best such table, the mean chroma of each level, leaves most of the spread."""
    pages = [drawn(chapter, page) for chapter, page in NUMBERS]
    ink = np.concatenate([page.ink.ravel() for page in pages])
    ab = np.concatenate([chroma_of(page).reshape(-1, 2) for page in pages]).astype(np.float64)
    counts = np.maximum(np.bincount(ink, minlength=256), 1)
    table = np.stack([np.bincount(ink, ab[:, i], 256) / counts for i in (0, 1)], axis=1)
    left = np.sqrt(((ab - table[ink]) ** 2).sum(axis=1).mean())
    spread = np.sqrt(((ab - ab.mean(axis=0)) ** 2).sum(axis=1).mean())
    assert left / spread > 0.6


@settings(max_examples=12)
@given(
    width=st.integers(96, 700),
    height=st.integers(96, 700),
    seed=st.integers(0, 2**32 - 1),
    page=st.integers(1, 8),
)
def test_any_size_can_be_drawn(width: int, height: int, seed: int, page: int) -> None:
    series = Series(seed=seed, chapters=1, width=width, height=height)
    one = draw_page(series, 1, page)
    assert one.ink.shape == one.cast.shape == one.bubbles.shape == (height, width)
    assert one.color.shape == (height, width, 3)
    assert (one.ink.dtype, one.color.dtype, one.cast.dtype, one.bubbles.dtype) == (np.uint8, np.uint8, np.uint8, bool)
    assert one.bubbles.any()
    assert one.cast.any()
    assert np.abs(gray_of_equal_lightness(one.color).astype(int) - one.ink).max() <= 2


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Series(width=95), "width is 95"),
        (lambda: Series(height=9000), "height is 9000"),
        (lambda: Series(chapters=0), "chapters is 0"),
        (lambda: Series(pages=-1), "pages is -1"),
        (lambda: Series(seed=-1), "seed is -1"),
        (lambda: draw_page(SMALL, 5, 1), "chapter is 5: give a whole number from 1 to 4"),
        (lambda: draw_page(SMALL, 1, 0), "page is 0: give a whole number from 1 to 6"),
    ],
)
def test_what_can_not_be_drawn_is_refused_by_name(make: Callable[[], object], named: str) -> None:
    with pytest.raises(BadUsageError, match=named):
        make()


def test_archives_hold_both_editions_paired_by_name(tmp_path: Path) -> None:
    series = Series(seed=3, chapters=2, pages=3, width=160, height=240)
    write_series(series, tmp_path / "one")
    write_series(series, tmp_path / "two")
    names = sorted(str(p.relative_to(tmp_path / "one")) for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert names == ["color/ch01.cbz", "color/ch02.cbz", "ink/ch01.cbz", "ink/ch02.cbz"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    for chapter in (1, 2):
        color, ink = (_members(tmp_path / "one" / edition / f"ch{chapter:02}.cbz") for edition in ("color", "ink"))
        assert list(color) == list(ink) == ["ComicInfo.xml", "001.png", "002.png", "003.png"]
        for page in (1, 2, 3):
            one = draw_page(series, chapter, page)
            assert np.array_equal(_image(color[f"{page:03}.png"], "RGB"), one.color)
            assert np.array_equal(_image(ink[f"{page:03}.png"], "L"), one.ink)
        for members, black_and_white in ((color, "No"), (ink, "Yes")):
            info = ElementTree.fromstring(members["ComicInfo.xml"])
            assert info.findtext("BlackAndWhite") == black_and_white
            assert info.findtext("Number") == str(chapter)
            assert info.findtext("PageCount") == "3"


def test_an_unknown_compress_level_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadUsageError, match="compress_level is 10"):
        write_series(SMALL, tmp_path / "series", compress_level=10)
    assert not (tmp_path / "series").exists()


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        return {info.filename: archive.read(info) for info in archive.infolist()}


def _image(data: bytes, mode: str) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    assert image.mode == mode
    return np.asarray(image)
