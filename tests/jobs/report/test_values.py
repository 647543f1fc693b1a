"""What the reports compute before a browser sees them: the best of a row, curves, values as text, addresses."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from imaging.palette import Color, Palette
from jobs.parts.colorize.report.drift_chart import MOST_CHARTS, drift_charts
from jobs.parts.colorize.report.job_report import ChapterLine, render_job_report
from jobs.parts.evaluate.report import Figure, PageView, best_columns, by_chapter, columns_of, render_report
from jobs.parts.ledger.palette_usage import pack
from jobs.parts.report.charts import MOST_POINTS, downsample, draw_curve, nice_ticks, tick_labels
from jobs.parts.report.render import duration, number, plain, relative_url

DONE = ChapterLine("s3://in/a/01.cbz", "s3://out/a/01.cbz", "done", 20, 18, 2, 0, "", "", 12.0)


def test_an_empty_report_is_a_page() -> None:
    html = render_report(title="nothing", summary={}, figures=[], curves=[], pages=[], settings={})
    assert "<h1>" in html
    assert "<section" not in html
    assert "0 chapters" in render_job_report(title="nothing", summary={}, chapters=[], settings={})


def test_a_report_can_always_be_written() -> None:
    undecodable = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    page = PageView("c", undecodable, undecodable, "b.png", None, {}, 4, 4)
    html = render_report(title="t", summary={}, figures=[], curves=[], pages=[page], settings={})
    assert 'src="caf%E9.png"' in html
    html.encode("utf-8")


@pytest.mark.parametrize("path", ["", "/etc/page.png", "//elsewhere.example/page.png"])
def test_a_picture_that_is_not_beside_the_page_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="relative"):
        relative_url(path)


def test_a_url_cannot_name_a_scheme() -> None:
    assert relative_url("javascript:alert(1)") == "javascript%3Aalert%281%29"
    assert relative_url("a/b c#?%é.png") == "a/b%20c%23%3F%25%C3%A9.png"


def test_the_best_is_judged_by_what_is_shown() -> None:
    assert best_columns(Figure("m", "lower", {"a": 1.001, "b": 1.002, "c": 2.0})) == {"a", "b"}
    assert best_columns(Figure("m", "higher", {"a": 1.0, "b": math.nan, "c": 2.0})) == {"c"}
    assert best_columns(Figure("m", "lower", {"a": 1.0, "truth": 0.0})) == set(), "no best without a rival"
    assert best_columns(Figure("m", "truth", {"a": 1.0, "b": 2.0})) == set(), "no truth, no best"
    assert best_columns(Figure("m", "truth", {"a": 40.0, "b": 47.0, "truth": 44.0})) == {"b"}
    with pytest.raises(ValueError, match="lower, higher, truth"):
        Figure("m", "more", {})


def test_columns_and_chapters_keep_their_order() -> None:
    assert columns_of([Figure("m", "lower", {"truth": 0, "b": 1}), Figure("n", "lower", {"a": 1})]) == [
        "b",
        "a",
        "truth",
    ]
    views = [PageView(chapter, "n", "b", "a", None, {}, 1, 1) for chapter in ("2", "1", "2")]
    assert [(chapter, [i for i, _ in group]) for chapter, group in by_chapter(views)] == [("2", [1, 3]), ("1", [2])]


def test_a_long_curve_keeps_its_spikes_and_its_breaks() -> None:
    points = [(float(i), 1.0) for i in range(100_000)]
    points[77_777], points[50_000] = (77_777.0, 9.0), (50_000.0, math.nan)
    kept = downsample(points)
    assert len(kept) <= MOST_POINTS
    assert (77_777.0, 9.0) in kept
    chart = draw_curve("loss", points)
    assert chart.path.count("M") == 2, "the line is drawn across a value that was no number"
    assert chart.lost == 1
    assert [tick.label for tick in chart.x_ticks] == ["0", "50k"]


def test_names_are_shown_as_shares_of_their_areas_by_method() -> None:
    names = {"ours": {"brown": (3, 4), "blue": (0, 1)}, "gray page": {"brown": (0, 4), "blue": (0, 1)}}
    figures = [Figure("Colour names right", "higher", {"ours": 0.375, "gray page": 0.0})]
    html = render_report(title="t", summary={}, figures=figures, names=names, curves=[], pages=[], settings={})
    table = html[html.index('id="names-caption"') :]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)]
    assert rows == [["brown, 4 areas", "0.75", "0.00"], ["blue, 1 area", "0.00", "0.00"]]
    assert re.findall(r'<th scope="col" class="n">(.*?)</th>', table) == ["ours", "gray page"]


def test_ticks_can_be_read() -> None:
    assert nice_ticks(0.1, 11.8, outward=True) == [0, 5, 10, 15]
    assert tick_labels([0, 5, 10, 15]) == ["0", "5", "10", "15"]
    assert tick_labels([0.5, 0.55, 0.6]) == ["0.50", "0.55", "0.60"]
    assert tick_labels([-1, 0, 1]) == ["−1", "0", "1"]
    assert tick_labels([0, 500_000, 1_000_000]) == ["0.0", "0.5M", "1.0M"]


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.0], [1e308, -1e308], [1e-9, 2e-9], [math.inf, 1.0], [-5.0, 5.0]])
def test_any_curve_is_drawn(values: list[float]) -> None:
    chart = draw_curve("loss", [(float(i), value) for i, value in enumerate(values)])
    assert "nan" not in chart.path
    assert all(0 <= tick.at <= chart.height for tick in chart.y_ticks)


def test_values_that_are_missing_are_a_dash() -> None:
    assert [number(value) for value in (None, math.nan, math.inf, -0.001, -1234.5)] == [
        "–",
        "–",
        "–",
        "0.00",
        "−1,234.50",
    ]
    assert [plain(v) for v in (None, math.nan, "", [], True, [1, "a"])] == ["–", "–", "–", "–", "yes", "1, a"]
    assert [duration(s) for s in (math.nan, 4.21, 59.96, 3599.7, 7620)] == [
        "–", "4.2 s", "1 min 00 s", "1 h 00 min", "2 h 07 min",
    ]  # fmt: skip


def test_pages_of_an_unfinished_chapter_are_not_hidden() -> None:
    html = render_job_report(title="t", summary={}, chapters=[replace(DONE, status="failed", coloured=0)], settings={})
    assert "18 not finished" in html


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(ValueError, match="done, partial, quarantined, failed"):
        replace(DONE, status="ok")


def test_a_large_library_has_few_charts_of_few_points() -> None:
    palette = Palette(tuple(Color(f"colour {k}", (k, 0.0), (50, k, 0, 1), 0.0) for k in range(20)))
    ab = [list(color.ab) for color in palette.colors]
    page = {str(k): [0.01 + k / 1000, k + 3.0, 4.0, k, 0.0] for k in range(20)}
    spike = {"19": [0.02, 19.0, 90.0, 19.0, 0.0]}
    charts = drift_charts([pack([spike if i == 777 else page] * 2, ab) for i in range(2000)], palette)
    assert [chart.name for chart in charts] == [f"colour {k}" for k in range(19, 19 - MOST_CHARTS, -1)]
    for chart in charts:
        assert len(re.findall("[ML]", chart.before.path)) <= 200
        assert chart.drifts[1].rms == pytest.approx(0, abs=1e-3)
    assert {chart.drifts[0].looks for chart in charts} == {4000, 3998}
    assert "5.00 at chapter 1" in charts[0].before.in_words
    assert charts[0].before.y_ticks == charts[1].after.y_ticks, "no two scales"
    lowest = min(float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", charts[0].before.path))
    assert lowest < charts[0].before.height / 3, "the one chapter that strays is lost"


def test_grays_come_last_and_have_no_hue() -> None:
    palette = Palette((Color("paper", (1.0, 2.0), (95, 1, 2, 1), 0.9), Color("hat", (40.0, 2.0), (50, 40, 2, 1), 0.1)))
    page = {"0": [0.9, 0.0, 1.0, 1.0, 2.0], "1": [0.1, 30.0, 1.0, 40.0, 2.0]}
    charts = drift_charts([pack([page] * 2, [list(color.ab) for color in palette.colors])], palette)
    assert [chart.name for chart in charts] == ["hat", "paper"]
    html = render_job_report(title="t", summary={}, chapters=[DONE], drifts=charts, settings={})
    assert len(re.findall("<span class=.small soft.>drift [^<]*hue", html)) == 1


def test_axes_count_whole_chapters() -> None:
    chart = draw_curve("hat", [(1, 0.5), (2, 0.25), (3, 1.0)], y_range=(0, 4), x_name="chapter")
    assert [tick.label for tick in chart.x_ticks] == ["1", "2", "3"]
    assert [tick.label for tick in chart.y_ticks][-1] == "4"
    assert chart.in_words == "0.500 at chapter 1, 1.00 at chapter 3"
    alone = draw_curve("hat", [(1, 0.5)])
    assert [tick.label for tick in alone.x_ticks] == ["1"]
    assert alone.path.endswith("h0")


def test_a_job_without_previews_has_no_switches() -> None:
    html = render_job_report(title="t", summary={}, chapters=[DONE], settings={})
    assert "previews" not in html
    assert "checkbox" not in html
