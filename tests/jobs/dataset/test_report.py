"""The report on a data set: what it counts, and how it looks in a real browser, from disk and from a host."""

import functools
import http.server
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.page import Page
from datasets.storage import open_storage
from datasets.synthetic import Series, draw_page
from jobs.parts.dataset.duplicates import Duplicate
from jobs.parts.dataset.facts import PageFacts, facts_of, preview_of
from jobs.parts.dataset.report import MOST_PREVIEWS, REPORT, publish_report
from jobs.parts.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, draw_histogram
from tests.browser import chromium
from tests.jobs.report.test_pages import HOSTILE, QuietHandler


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def drawn(number: int, *, gray: bool = True, color: bool = True, masked: bool = False) -> tuple[PageFacts, bytes]:
    """Facts and preview of a drawn page, whose upper quarter may be masked."""
    page = draw_page(Series(seed=2, chapters=3, pages=4, width=400, height=600), 1 + number // 4, 1 + number % 4)
    mask = np.zeros((600, 400), np.uint8)
    mask[:150] = 255
    split, pictures = "holdout" if number > 8 else "train", (b"g" if gray else None, b"c" if color else None)
    row = Page("s", f"s/ch{number // 4}", number, f"{number}.png", *pictures, "source", 400, 600, split, "in",
               png(mask) if masked else None)  # fmt: skip
    pixels = (page.ink if gray else None, page.color if color else None)
    return facts_of(row, *pixels), preview_of(row, *pixels)


def test_the_facts_of_a_page() -> None:
    found, preview = drawn(1, masked=True)
    assert (found.gray, found.color, found.masked) == (True, True, 0.25)
    assert found.colorfulness is not None
    assert found.colorfulness > 10
    assert 2 <= len(found.panels) <= 8
    assert all(60 < width <= 400 and 60 < height <= 600 for width, height in found.panels)
    picture = np.asarray(Image.open(io.BytesIO(preview))).astype(int)
    assert picture.shape == (240, 320, 3)
    upper, lower = picture[10:50, :150], picture[70:, :150]
    assert (upper[..., 0] - upper[..., 1]).mean() > 40  # pink
    assert np.abs(lower[..., 0] - lower[..., 1]).mean() < 3  # ink


def test_a_large_page_is_measured_in_its_own_pixels() -> None:
    ink = draw_page(Series(seed=2, chapters=1, pages=4, width=600, height=900), 1, 2).ink
    large = np.asarray(Image.fromarray(ink).resize((1800, 2700)))
    row = Page("s", "c", 0, "1.png", b"g", None, "source", 1800, 2700, "train", "in")
    small = facts_of(replace(row, width=600, height=900), ink, None)
    found = facts_of(row, large, None)
    assert len(found.panels) == len(small.panels) > 0
    for (width, height), (small_width, small_height) in zip(found.panels, small.panels, strict=True):
        assert width == pytest.approx(3 * small_width, abs=25)
        assert height == pytest.approx(3 * small_height, abs=25)
    assert found.colorfulness is found.chroma is None


def test_a_histogram_counts_each_value_once() -> None:
    values = [*range(100), 250, float("nan")]
    chart = draw_histogram("Heights", values, bins=10)
    unit = (HEIGHT - TOP - BOTTOM) / 30  # the axis ends at 30
    assert [round(height / unit) for _, _, _, height in chart.bars] == [30, 30, 30, 10, 1]
    assert all(left >= LEFT and left + width <= WIDTH - RIGHT for left, _, width, _ in chart.bars)
    assert [tick.label for tick in chart.x_ticks] == ["0", "100", "200", "300"]
    assert chart.in_words == "101, from 0 to 250, median 50.0"


def test_a_histogram_of_ratios_is_logarithmic() -> None:
    chart = draw_histogram("Shapes", [0.5, 1.0, 2.0, 0.01, 99], marks={0.5: "1:2", 1: "1:1", 2: "2:1"}, bins=4)
    unit = (HEIGHT - TOP - BOTTOM) / 2
    bins = [(round((left - LEFT) / (WIDTH - LEFT - RIGHT) * 4), round(high / unit)) for left, _, _, high in chart.bars]
    assert bins == [(0, 2), (2, 1), (3, 2)]
    assert [tick.label for tick in chart.x_ticks] == ["1:2", "1:1", "2:1"]
    assert draw_histogram("Shapes", []).bars == ()


def published(folder: Path) -> Path:
    rows = [drawn(number, gray=number != 3, color=number != 4, masked=number == 1) for number in range(10)]
    rows[2] = (replace(rows[2][0], chapter=HOSTILE, name=HOSTILE), rows[2][1])
    publish_report(
        open_storage(str(folder)),
        title="Data set shards",
        pages=[facts for facts, _ in rows],
        duplicates=[Duplicate(replace(rows[5][0], name="again.png"), rows[9][0])],
        rejected=[{"source": f"in/{HOSTILE}", "code": "TRUNCATED", "message": "12 bytes"}] * 201,
        previews=rows,
        settings={"color": "in"},
    )
    return folder


def test_pictures_of_an_earlier_report_go(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    storage.put("report/099.jpg", b"old")
    storage.put("train/pages-1.parquet", b"kept")
    published(tmp_path)
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [f"{n:03}.jpg" for n in range(1, 11)]
    assert (tmp_path / "train/pages-1.parquet").exists()
    page, preview = drawn(1)
    publish_report(
        storage, title="t", pages=[], duplicates=[], rejected=[], previews=[(page, preview)] * 150, settings={}
    )
    assert len(list((tmp_path / "report").iterdir())) == MOST_PREVIEWS - 10  # every third of 150


@pytest.fixture(params=["disk", "host"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    site = published(tmp_path / "run #1 100%")
    if request.param == "disk":
        yield (site / REPORT).as_uri()
        return
    handler: Any = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{REPORT}"
        server.shutdown()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_report_in_a_browser(address: str, width: int) -> None:
    complaints: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(address)
        assert page.evaluate("window.pwned") is None
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        pictures = page.locator(".sheet img")
        assert pictures.count() == 10
        for picture in pictures.all():
            picture.scroll_into_view_if_needed()
            picture.evaluate("picture => picture.decode()")
        text = page.inner_text("body")
        for row in ("training\t4\t9\t7\t1\t1", "held out\t1\t1\t1\t0\t0"):
            assert row in text
        assert "1 page with a mask: 25.0 %" in text
        assert "TRUNCATED: 201. The first 200:" in text
        assert page.locator("#rejected tbody tr").count() == 200
        assert "s/ch1/again.png\ts/ch2/9.png held out" in text
        assert page.locator("#sizes svg").count() == 6
        assert page.locator("#sizes svg rect").count() > 10
    assert complaints == []
