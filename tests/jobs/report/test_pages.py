"""The reports in a real browser: from disk and from a host; by mouse, keyboard and finger; on desktop and phone."""

from __future__ import annotations

import functools
import http.server
import io
import math
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page

from imaging.palette import Color, Palette
from jobs.parts.colorize.report.drift_chart import DriftChart, drift_charts
from jobs.parts.colorize.report.job_report import ChapterLine, PagePreview, render_job_report
from jobs.parts.evaluate.report import Curve, Figure, PageView, render_report
from jobs.parts.ledger.palette_usage import pack
from tests.browser import chromium

RED, BLUE, GREEN = (220, 20, 20), (20, 20, 220), (20, 160, 20)  # before, after, truth
NAMES = ["plain.png", "a b #1 100%.png", "頁 “é”'\"&?.png"]
PREVIEW = "previews/a #1 100%/頁 “é”'&?.cbz/0-0"  # of a job's page; each layer covers a third of it
LAYERS = {"words": (0, "red"), "panels": (20, "lime"), "areas": (40, "black")}
# Settles once every picture that can be seen in an element, or that is the element, is decoded.
DECODED = """element => Promise.all(
    [element, ...element.querySelectorAll("img")]
        .filter(seen => seen.tagName === "IMG" && seen.checkVisibility())
        .map(picture => picture.decode()))"""
HOSTILE = "\"'><script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>&amp;"

FIGURES = [
    Figure("CIEDE2000", "lower", {"ours": 9.126, "gray page": 17.4, "truth": 0.0}),
    Figure("PSNR", "higher", {"ours": 19.0, "gray page": 21.0, "truth": math.inf}, digits=1),
    Figure("Colourfulness", "truth", {"ours": 50.0, "gray page": 0.0, "mean chroma": 41.0, "truth": 44.0}, digits=1),
]
CURVES = [Curve("L1", [(i, 10 / (1 + i / 100)) for i in range(5000)]), Curve("empty", [(0, math.nan)])]


class Watched:
    """A browser page, with all its requests and errors."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)

    def pixels(self, selector: str) -> Image.Image:
        """What is seen at `selector`, once its pictures are: they are fetched when they come into view."""
        shown = self.page.locator(selector)
        shown.scroll_into_view_if_needed()
        shown.evaluate(DECODED)
        return Image.open(io.BytesIO(shown.screenshot())).convert("RGB")

    def split(self, selector: str = "#p1 .stack", right: tuple[int, int, int] = BLUE) -> float:
        """Where `right` begins in the picture as seen: 0 left edge, 1 right edge. Left of it must be RED."""
        picture = self.pixels(selector)
        line = [picture.getpixel((x, 8)) for x in range(picture.width)]  # near the top, clear of the round grip
        red = [x for x, pixel in enumerate(line) if pixel == RED]
        other = [x for x, pixel in enumerate(line) if pixel == right]
        assert len(red) + len(other) > 0.95 * len(line), "the picture shows something else"
        assert not red or not other or max(red) < min(other), "before is not left of after"
        return (max(red, default=0) + min(other, default=len(line))) / 2 / len(line)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two reports: one of three pages in two chapters, and one of a job."""
    folder = tmp_path_factory.mktemp("site") / "run #1 100%"
    pages = []
    for index, name in enumerate(NAMES):
        paths = {}
        for role, colour in (("before", RED), ("after", BLUE), ("truth", GREEN)):
            paths[role] = f"pictures/{role}/{name}"
            (folder / paths[role]).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (60, 90), colour).save(folder / paths[role])
        truth = paths["truth"] if index < 2 else None
        measured = {"CIEDE2000": 9.1, "PSNR": math.nan}
        chapter = f"chapter {index // 2}"
        pages.append(PageView(chapter, name, paths["before"], paths["after"], truth, measured, 60, 90, note="n" * 90))
    html = render_report(
        title="A report", summary={"Weights": "3f9c" * 30}, figures=FIGURES, curves=CURVES, pages=pages,
        settings={"model": "unet", "path": "s3://" + "x" * 200},
    )  # fmt: skip
    (folder / "index.html").write_text(html, encoding="utf-8")
    (folder / PREVIEW).parent.mkdir(parents=True)
    Image.new("RGB", (60, 90), BLUE).save(folder / f"{PREVIEW}.jpg", quality=100)
    for layer, (left, colour) in LAYERS.items():
        path = f'<path d="M{left},0h20v90h-20Z" fill="{colour}"/>'
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 90">{path}</svg>'
        (folder / f"{PREVIEW}.{layer}.svg").write_text(svg)
    previews = [PagePreview("s3://in/a/02.cbz", "7.png", PREVIEW, 60, 90, "DULL", "hardly any colour")]
    previews += [PagePreview(f"s3://in/a/{n}.cbz", "001.png", PREVIEW, 60, 90) for n in (1, 4)]
    job = render_job_report(
        title="A job", summary={}, chapters=CHAPTERS, drifts=drifts(), previews=previews, settings={}
    )
    (folder / "job.html").write_text(job, encoding="utf-8")
    return folder


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None: ...


@pytest.fixture(scope="module", params=["disk", "host"])
def address(request: pytest.FixtureRequest, site: Path) -> Iterator[str]:
    """The site's address with a trailing slash: once on disk, once on a static host."""
    if request.param == "disk":
        yield site.as_uri() + "/"
        return
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """visit(url, **context options) -> Watched. At the end no page may have reported an error."""
    contexts, visits = [], []

    def go(url: str, **options: Any) -> Watched:
        contexts.append(browser.new_context(**options))
        visits.append(Watched(contexts[-1], url))
        return visits[-1]

    yield go
    complaints = [complaint for watched in visits for complaint in watched.complaints]
    for context in contexts:
        context.close()
    assert complaints == []


PHONE = {"has_touch": True, "is_mobile": True, "device_scale_factor": 1}
WIDTHS = [pytest.param(375, id="375px"), pytest.param(320, id="320px")]


def test_every_picture_loads_and_nothing_else_is_asked_for(address: str, visit: Callable[..., Watched]) -> None:
    watched = visit(address + "index.html")
    assert not any("/truth/" in url for url in watched.requests), "the truth is loaded before anyone asks for it"
    for box in watched.page.locator(".swap input").all():
        box.check()
    for image in watched.page.locator("img:visible").all():
        image.scroll_into_view_if_needed()
    watched.page.wait_for_function("[...document.images].every(image => image.naturalWidth > 0)", timeout=10_000)
    assert watched.page.locator("img").count() == 8
    assert all(url.startswith((address, "data:")) for url in watched.requests), watched.requests


def test_pictures_are_lazy_and_keep_their_place(site: Path) -> None:
    tags = re.findall(r"<img [^>]*>", (site / "index.html").read_text(encoding="utf-8"))
    assert len(tags) == 8
    assert all('loading="lazy"' in tag and 'width="60" height="90"' in tag for tag in tags)


def test_the_mouse_moves_the_split_anywhere_on_the_picture(address: str, visit: Callable[..., Watched]) -> None:
    watched = visit(address + "index.html")
    watched.page.locator("#p1 .stack").scroll_into_view_if_needed()
    assert watched.split() == pytest.approx(0.5, abs=0.02)
    box = watched.page.locator("#p1 .stack").bounding_box()
    assert box is not None
    mouse = watched.page.mouse
    mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.9)
    mouse.down()
    assert watched.split() == pytest.approx(0.7, abs=0.02)
    mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.3, steps=4)
    assert watched.split() == pytest.approx(0.2, abs=0.02)
    mouse.move(box["x"] - 200, box["y"], steps=4)  # out of the picture: the drag goes on, up to the edge
    assert watched.split() == pytest.approx(0.0, abs=0.02)
    mouse.up()
    mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 20)
    assert watched.split() == pytest.approx(0.0, abs=0.02)
    assert watched.page.locator("#p1 .slider").input_value() == "0"
    assert watched.split("#p2 .stack") == pytest.approx(0.5, abs=0.02), "another page's slider moved as well"


def test_the_keyboard_moves_the_split(address: str, visit: Callable[..., Watched]) -> None:
    watched = visit(address + "index.html")
    slider = watched.page.get_by_role("slider", name="plain.png")
    slider.focus()
    for _ in range(10):
        watched.page.keyboard.press("ArrowRight")
    assert watched.split() == pytest.approx(0.6, abs=0.02)
    assert slider.get_attribute("aria-valuetext") == "60% before, 40% ours"
    for key, place in (("End", 1.0), ("Home", 0.0)):
        watched.page.keyboard.press(key)
        assert watched.split() == pytest.approx(place, abs=0.02)


def test_focus_is_seen(site: Path, visit: Callable[..., Watched]) -> None:
    watched = visit((site / "index.html").as_uri())
    watched.page.locator("#p1").scroll_into_view_if_needed()
    accent = (178, 58, 30)

    def ring() -> int:
        return sum(n for n, pixel in watched.pixels("#p1 .slider").getcolors(1 << 20) or [] if pixel == accent)

    assert ring() == 0
    watched.page.locator("#p1 .slider").focus()
    watched.page.keyboard.press("Shift")  # the keyboard is in use, so the focus must show
    assert ring() > 50


def test_the_truth_can_take_our_place(address: str, visit: Callable[..., Watched]) -> None:
    watched = visit(address + "index.html")
    watched.page.locator("#p1 .swap input").focus()
    watched.page.keyboard.press("Space")
    watched.page.wait_for_function("document.querySelector('#p1 .truth').complete")
    assert watched.split(right=GREEN) == pytest.approx(0.5, abs=0.02)
    assert watched.page.locator("#p1 .right").inner_text() == "truth"
    watched.page.keyboard.press("Space")
    assert watched.split(right=BLUE) == pytest.approx(0.5, abs=0.02)
    assert watched.page.locator("#p3 .swap").count() == 0, "a page without a truth offers one"


def swipe(page: Page, path: list[tuple[float, float]]) -> None:
    """One finger along a path of (x, y): down at the start, up at the end."""
    session = page.context.new_cdp_session(page)
    for kind, points in [("touchStart", path[:1]), *[("touchMove", [at]) for at in path[1:]], ("touchEnd", [])]:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})


@pytest.mark.parametrize("width", WIDTHS)
def test_a_finger_moves_the_split_sideways_and_scrolls_upwards(
    address: str, visit: Callable[..., Watched], width: int
) -> None:
    watched = visit(address + "index.html", viewport={"width": width, "height": 700}, **PHONE)
    watched.page.evaluate("document.querySelector('#p1').scrollIntoView()")
    box = watched.page.locator("#p1 .stack").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.6

    swipe(watched.page, [(x + box["width"] * 0.06 * step, y) for step in range(6)])
    assert watched.split() == pytest.approx(0.8, abs=0.03)

    watched.page.touchscreen.tap(box["x"] + box["width"] * 0.3, y)
    assert watched.split() == pytest.approx(0.3, abs=0.03)

    top = watched.page.evaluate("scrollY")
    swipe(watched.page, [(x, y - 25 * step) for step in range(8)])
    watched.page.wait_for_function("top => scrollY > top + 50", arg=top)
    watched.page.evaluate("document.querySelector('#p1').scrollIntoView()")
    assert watched.split() == pytest.approx(0.3, abs=0.03), "scrolling over a picture moved its split"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["index.html", "job.html"])
def test_a_phone_never_scrolls_sideways(site: Path, visit: Callable[..., Watched], name: str, width: int) -> None:
    watched = visit((site / name).as_uri(), viewport={"width": width, "height": 700}, **PHONE)
    watched.page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert watched.page.evaluate("innerWidth") == width
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
    assert watched.page.evaluate("[...document.querySelectorAll('.scroll')].every(box => box.tabIndex === 0)")


def test_without_script_all_pictures_are_seen(site: Path, visit: Callable[..., Watched]) -> None:
    watched = visit((site / "index.html").as_uri(), java_script_enabled=False)
    for role, colour in (("before", RED), ("after", BLUE), ("truth", GREEN)):
        watched.page.locator(f"#p1 .{role}").scroll_into_view_if_needed()
        picture = watched.pixels(f"#p1 .{role}")
        assert {colour} == {
            pixel for _, pixel in picture.crop((2, 2, picture.width - 2, picture.height - 2)).getcolors()
        }
    assert not watched.page.locator("#p1 .slider").is_visible(), "a slider that does nothing is shown"


def test_the_dark_scheme_is_dark_and_both_can_be_read(site: Path, visit: Callable[..., Watched]) -> None:
    for scheme in ("light", "dark"):
        watched = visit((site / "index.html").as_uri(), color_scheme=scheme)
        paper, ink, soft = (
            luminance(watched.page.locator(selector).first.evaluate(f"node => getComputedStyle(node).{style}"))
            for selector, style in (("body", "backgroundColor"), ("body", "color"), (".direction", "color"))
        )
        assert (paper < 0.1) == (scheme == "dark")
        for text in (ink, soft):
            light, dark = max(paper, text), min(paper, text)
            assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2, AA


def luminance(css: str) -> float:
    channels = [int(value) / 255 for value in re.findall(r"\d+", css)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_hostile_text_stays_text(tmp_path: Path, visit: Callable[..., Watched]) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "x.jpg")
    page = PageView(HOSTILE, HOSTILE, "x.png", "x.png", "x.png", {HOSTILE: 1.0}, 4, 4, note=HOSTILE)
    figure = Figure(HOSTILE, "lower", {HOSTILE: 1.0, "other": 2.0}, meaning=HOSTILE)
    curve = Curve(HOSTILE, [(0, 1), (1, 2)])
    texts: dict[str, Any] = {"title": HOSTILE, "summary": {HOSTILE: HOSTILE}, "settings": {HOSTILE: [HOSTILE]}}
    report = render_report(**texts, figures=[figure], curves=[curve], pages=[page])
    line = replace(CHAPTERS[1], source=HOSTILE, output=HOSTILE, code=HOSTILE, message=HOSTILE)
    preview = PagePreview(HOSTILE, HOSTILE, "x", 4, 4, HOSTILE, HOSTILE)
    both = [line, replace(line, status="done")]
    job = render_job_report(**texts, chapters=both, drifts=drifts(HOSTILE), previews=[preview])
    for name, html in (("report", report), ("job", job)):
        (tmp_path / f"{name}.html").write_text(html, encoding="utf-8")
        watched = visit((tmp_path / f"{name}.html").as_uri())
        assert watched.page.evaluate("window.pwned") is None
        assert watched.page.title() == HOSTILE
        assert watched.page.locator("h1").inner_text() == HOSTILE
        assert watched.page.evaluate("[...document.querySelectorAll('[onerror], [onclick]')].length") == 0
        assert watched.page.evaluate("[...document.querySelectorAll('script')].length") == (
            2 if name == "report" else 0
        )


@pytest.mark.parametrize("name", ["index.html", "job.html"])
def test_no_reference_leaves_the_folder(site: Path, name: str) -> None:
    html = (site / name).read_text(encoding="utf-8")
    references = re.findall(r"""(?:src|href|action|srcset)="([^"]*)"|url\("?([^")]*)|@import""", html)
    for reference in (a or b for a, b in references):
        assert reference.startswith(("#", "data:", "pictures/", "previews/")), reference
    assert not re.search(r"<[^>]*\son\w+=", html), "an event attribute"


def test_the_table_says_what_is_best_in_words(site: Path, visit: Callable[..., Watched]) -> None:
    page = visit((site / "index.html").as_uri()).page
    heads = page.locator(".figures thead th").all_inner_texts()
    assert heads == ["Measure, by method", "ours", "gray page", "mean chroma", "truth"]
    rows = [row.locator("td").all_inner_texts() for row in page.locator(".figures tbody tr").all()]
    assert [[re.sub(r"\s+", " ", cell) for cell in row] for row in rows] == [
        ["best 9.13", "17.40", "–", "0.00"],
        ["19.0", "best 21.0", "–", "–"],
        ["50.0", "0.0", "best 41.0", "44.0"],
    ]
    assert page.locator(".figures .direction").all_inner_texts() == [
        "lower is better", "higher is better", "closer to the truth is better",
    ]  # fmt: skip
    assert page.locator("#p1 .measured").inner_text().split() == ["CIEDE2000", "9.10", "PSNR", "–"]
    assert page.locator("#curves svg").count() == 1
    assert "1 value not finite" in page.locator("#curves figure").nth(1).inner_text()


def test_the_index_leads_to_every_page(site: Path, visit: Callable[..., Watched]) -> None:
    page = visit((site / "index.html").as_uri()).page
    for link in page.locator("nav a").all():
        target = link.get_attribute("href")
        assert target is not None
        assert page.locator(target).count() == 1
    assert page.locator(".index ol a").all_inner_texts() == NAMES
    assert [h.inner_text() for h in page.locator("main h3").all()] == ["chapter 0", "chapter 1"]


CHAPTERS = [
    ChapterLine("s3://in/a/01.cbz", "s3://out/a/01.cbz", "done", 20, 18, 2, 0, "", "", 12.0),
    ChapterLine(
        "s3://in/a/02.cbz",
        "s3://out/a/02.cbz",
        "partial",
        1000,
        990,
        7,
        3,
        "page_unreadable",
        "3 pages",
        71.0,
        doubted=12,
    ),
    ChapterLine(
        "s3://in/" + "long" * 60 + ".cbr", "", "quarantined", 0, 0, 0, 0, "archive_corrupt", "cut off", math.nan
    ),
    ChapterLine("s3://in/a/04.cbz", "s3://out/a/04.cbz", "done", 20, 20, 0, 0, "", "", 12.0),
]


def test_the_report_of_a_job_counts_every_chapter(site: Path, visit: Callable[..., Watched]) -> None:
    page = visit((site / "job.html").as_uri()).page
    assert page.locator(".tally b").all_inner_texts() == ["2", "1", "1", "0"]
    assert page.locator("#outcome h2").inner_text() == "4 chapters"
    assert page.locator(".page-counts").inner_text() == (
        "1,040 pages: 1,028 coloured, 9 kept as they were, 3 flagged, 12 of the coloured to look at."
    )
    assert page.locator("#attention .status").all_inner_texts() == ["partial", "quarantined"]
    assert page.locator("#attention .why code").all_inner_texts() == ["page_unreadable", "archive_corrupt"]
    assert page.locator("#done tbody tr").count() == 2
    numbers = page.locator("#attention tbody tr").first.locator("td.n").all_inner_texts()
    assert numbers == ["1,000", "990", "7", "3", "1 min 11 s"]
    assert page.locator("#attention tbody tr").nth(1).locator("td.n").last.inner_text() == "–"


def drifts(name: str = "light orange") -> list[DriftChart]:
    """Drift charts of nine chapters. A pale yellow strays and is corrected; a violet is seen once."""
    yellow = Color(name, (2.0, 20.0), (90, 2, 20, 1), 0.5)
    palette = Palette((yellow, Color("violet", (30.0, -40.0), (40, 30, -40, 1), 0.1)))
    chapters: list[list[dict[str, list[float]]]] = [
        [{"0": [0.4, 2 + 12 * math.sin(i + n), 20 + 9 * math.cos(i), 2 + math.sin(i + n), 20]} for n in range(3)]
        for i in range(9)
    ]
    chapters[4].append({"1": [0.1, 20, -30, 29, -40]})
    return drift_charts([pack(pages, [list(color.ab) for color in palette.colors]) for pages in chapters], palette)


def test_the_report_draws_how_the_palettes_colours_hold(site: Path, visit: Callable[..., Watched]) -> None:
    page = visit((site / "job.html").as_uri()).page
    assert page.locator("#drift figure").count() == 2
    told = page.locator("#drift figcaption").first.inner_text()
    assert re.search(r"light orange\s+drift 10\.\d → 0\.7, hue \d+° → 2°, 27 pages", told), told
    assert page.locator("#drift figcaption .small").last.inner_text() == "1 page"
    for figure in page.locator("#drift figure").all():
        svg = figure.locator("svg")
        title, description = (svg.get_attribute("aria-labelledby") or "").split()
        assert page.locator(f"#{title}").inner_html() == figure.locator("bdi").inner_text()
        assert "before the lock" in page.locator(f"#{description}").inner_html()
        before, _, after = (box for box in (line.bounding_box() for line in svg.locator(".line").all()) if box)
        assert before["y"] < after["y"], "the locked colour does not lie nearer to the palette's"
    own = [page.locator("#drift .locked").nth(i).evaluate("node => getComputedStyle(node).stroke") for i in (0, 1)]
    yellow, violet = ([int(value) for value in re.findall(r"\d+", css)[:3]] for css in own)
    assert yellow[0] > yellow[2] + 20
    assert violet[2] > violet[1] + 40
    assert page.locator("#drift text").all_text_contents().count("chapter") == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_line_of_any_colour_is_seen_on_any_ground(site: Path, visit: Callable[..., Watched], scheme: str) -> None:
    page = visit((site / "job.html").as_uri(), color_scheme=scheme).page
    paper, rim = (
        luminance(page.locator(selector).first.evaluate(f"node => getComputedStyle(node).{style}"))
        for selector, style in (("body", "backgroundColor"), ("#drift .rim", "stroke"))
    )
    light, dark = max(paper, rim), min(paper, rim)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_without_a_palette_nothing_is_drawn() -> None:
    assert 'id="drift"' not in render_job_report(title="A job", summary={}, chapters=CHAPTERS, settings={})
    assert drift_charts([b"", b""], None) == []
    assert drift_charts([b""], Palette((Color("never seen", (0, 0), (50, 0, 0, 1), 0),))) == []


def test_what_was_found_on_a_page_is_laid_over_it_on_demand(address: str, visit: Callable[..., Watched]) -> None:
    watched = visit(address + "job.html")
    page = watched.page
    page.locator("#previews").scroll_into_view_if_needed()
    assert page.locator(".preview").count() == 3
    assert "hardly any colour" in page.locator(".preview").first.inner_text()
    assert page.locator(".preview code").all_inner_texts() == ["DULL"]
    told = page.locator("#previews p").inner_text()
    assert "1 of the 12 pages that the gate has something against" in told
    assert "as a sample the first coloured page of 2 chapters" in told
    middles = {layer: (left + 10) / 60 for layer, (left, _) in LAYERS.items()}
    seen = {"words": (255, 0, 0), "panels": (0, 255, 0), "areas": (0, 0, 0)}

    def colours() -> dict[str, tuple[int, ...]]:
        picture = watched.pixels(".preview:nth-of-type(1) .sheet")
        return {layer: picture.getpixel((int(x * picture.width), picture.height // 2)) for layer, x in middles.items()}  # type: ignore[misc]

    assert all(blue > 200 and red < 60 for red, _, blue in colours().values())
    assert not [url for url in watched.requests if url.endswith(".svg")], "loaded before anyone asks"
    page.get_by_label("words and bubbles").focus()
    for layer in LAYERS:  # with the keyboard alone, from one switch to the next
        page.keyboard.press("Space")
        page.wait_for_timeout(300)
        assert colours()[layer] == seen[layer]
        page.keyboard.press("Tab")
    assert colours() == seen
    page.get_by_label("panels").uncheck()
    assert colours()["panels"][2] > 200
    assert all(url.startswith((address, "data:")) for url in watched.requests), watched.requests
