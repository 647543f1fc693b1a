"""The desk in a real browser: by mouse, keyboard and finger; on desktop and phone; with hostile and with many names."""

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from jobs.parts.desk.catalogue import id_of
from jobs.parts.ledger.ledger import CAST, HINTS, PALETTE, PROGRESS, REFERENCES, Ledger
from jobs.parts.ledger.manifest import Manifest, PageRecord
from tests.archives import zipped
from tests.browser import chromium
from tests.jobs.colorize.chapters import gray_page
from tests.jobs.colorize.library import Library
from tests.jobs.desk.desk import DeskServer, library_of

HOSTILE = "\"'><img src=x onerror='document.title=1'>&amp;{{ key }}"
CH01 = id_of("ch01.cbz")
PHONE = {"has_touch": True, "is_mobile": True, "device_scale_factor": 1}
WIDTHS = [pytest.param(375, id="375px"), pytest.param(320, id="320px")]
NAME, DECOMPOSED = "fur, of M\xf6mo", "fur, of Mo\u0308mo"
COLOURED = '#after[src^="blob:"]'  # the page as it was coloured here


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return library_of(tmp_path)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """visit(out, **context options) -> the page. At the end nothing was asked for elsewhere, and nothing went wrong."""
    with ExitStack() as stack:
        complaints: list[str] = []

        def go(out: Path, path: str = "", **options: Any) -> Page:
            server = stack.enter_context(DeskServer(out))
            context = browser.new_context(**options)
            stack.callback(context.close)
            page = context.new_page()
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            ours = (server.address, f"blob:{server.address}")
            page.on("request", lambda asked: asked.url.startswith(ours) or complaints.append(f"asked for {asked.url}"))
            page.goto(server.address + path)
            return page

        yield go
        assert complaints == []


def kept(library: Library) -> list[list[str]]:
    """The lines of the hint file, without its header."""
    return list(csv.reader(io.StringIO((library.out / HINTS).read_text())))[1:]


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a part of the page's picture is on the screen."""
    box = page.locator("#sheet").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def open_page(visit: Callable[..., Page], library: Library, number: int = 1, **options: Any) -> Page:
    """The page of a chapter, once colours can be chosen."""
    page = visit(library.out, f"#{CH01}/{number}", **options)
    expect(page.locator("#hint-told")).to_contain_text("Click a spot")
    return page


def test_the_way_from_chapters_to_a_page_and_back(visit: Callable[..., Page], library: Library) -> None:
    page = visit(library.out)
    page.get_by_role("link", name="ch02.cbz").click()
    expect(page.locator("a.thumb")).to_have_count(3)
    page.locator("a.thumb").nth(1).click()
    expect(page.locator("#title")).to_have_text("1.png · ch02.cbz")
    expect(page.locator("#previous")).to_be_enabled()
    page.locator("#back").click()
    expect(page.locator("a.thumb").first).to_be_visible()
    page.locator("#find").fill("01")
    expect(page.locator("a.chapter")).to_have_count(1)


def test_a_wrong_colour_is_changed_by_two_clicks(visit: Callable[..., Page], library: Library) -> None:
    page = open_page(visit, library)
    with page.expect_response("**/look") as looked:  # while a colour is chosen
        page.mouse.click(*place(page, 0.5, 0.5))
    assert looked.value.ok
    expect(page.locator("#hint-told")).to_have_text("Now choose a colour.")
    swatch = page.locator("#swatches button").nth(2)
    swatch.click()
    page.wait_for_selector(COLOURED)
    expect(page.locator("#apply")).to_have_text("Apply to 1 page")
    ((name, x, y, radius, colour),) = kept(library)
    assert (name, colour) == ("ch01.cbz/1.png", swatch.get_attribute("title"))
    assert (float(x), float(y)) == pytest.approx((20, 28), abs=0.5)
    assert float(radius) >= 2


def test_a_page_that_was_coloured_anew_is_seen_where_it_was_clicked(
    visit: Callable[..., Page], library: Library
) -> None:
    page = open_page(visit, library)
    for x, shown in ((0.8, "500"), (0.2, "0")):  # right of the divider; left of it, where the gray page lay over it
        page.mouse.click(*place(page, x, 0.3))
        page.locator("#swatches button").nth(2).click()
        page.wait_for_selector(COLOURED)
        expect(page.locator("#split")).to_have_value(shown)


def test_a_hint_is_dragged_sized_deleted_and_taken_back(visit: Callable[..., Page], library: Library) -> None:
    page = open_page(visit, library)
    page.mouse.click(*place(page, 0.25, 0.5))
    page.locator("#swatches button").first.click()
    page.wait_for_selector(COLOURED)
    page.mouse.move(*place(page, 0.25, 0.5))
    page.mouse.down()
    page.mouse.move(*place(page, 0.75, 0.25), steps=4)
    with page.expect_response("**/hints"):
        page.mouse.up()
    assert [float(cell) for cell in kept(library)[0][1:3]] == pytest.approx([30, 14], abs=0.7)
    with page.expect_response("**/hints"):
        page.locator("#radius").fill("9")
    assert kept(library)[0][3] == "9"
    with page.expect_response("**/hints"):
        page.keyboard.press("Delete")
    assert kept(library) == []
    expect(page.locator("#apply")).to_be_disabled()
    with page.expect_response("**/hints"):
        page.keyboard.press("Control+z")
    assert kept(library)[0][3] == "9"
    expect(page.locator(".hint")).to_have_count(1)


def test_a_colour_is_picked_from_another_page(visit: Callable[..., Page], library: Library) -> None:
    page = open_page(visit, library, 0)
    page.locator("#pick").click()
    page.mouse.click(*place(page, 0.6, 0.6))
    expect(page.locator("#picked button")).to_have_count(1)
    colour = page.locator("#picked button").get_attribute("title")
    page.locator("#next").click()
    expect(page.locator("#title")).to_contain_text("1.png")
    page.mouse.click(*place(page, 0.3, 0.3))
    page.locator("#picked button").click()
    page.wait_for_selector(COLOURED)
    assert [line[4] for line in kept(library)] == [colour]


def test_a_colour_is_named_given_to_another_page_and_changed_for_both(
    visit: Callable[..., Page], library: Library
) -> None:
    page = open_page(visit, library)
    expect(page.locator("#open-cast")).to_be_hidden()
    page.mouse.click(*place(page, 0.5, 0.5))
    page.locator("#swatches button").nth(2).click()
    page.wait_for_selector(COLOURED)
    page.locator("#cast-name").press_sequentially("fur, of Mo\u0308mo")  # r alone would mark the page as a reference
    with page.expect_response("**/hints"):
        page.keyboard.press("Enter")
    expect(page.locator("#naming")).to_be_hidden()
    expect(page.locator("#hint-told")).to_contain_text(f"the colour of {NAME}")
    page.keyboard.press("ArrowRight")  # no letter is typed any more: keys are the desk's again
    expect(page.locator("#title")).to_contain_text("2.png")
    page.mouse.click(*place(page, 0.3, 0.3))
    with page.expect_response("**/hints"):
        page.locator("#cast-names button").click()
    assert [row[-1] for row in kept(library)] == [NAME] * 2
    library.run(backend="torch")
    (library.out / HINTS).write_text((library.out / HINTS).read_text().replace(NAME, DECOMPOSED))  # by hand

    page = open_page(visit, library)
    page.locator("#open-cast").click()
    expect(page.locator("#cast-list")).to_contain_text("2 pages")
    page.locator("#cast-list input").fill("#3060c0")
    expect(page.locator("#cast-told")).to_contain_text("Kept.")
    assert (library.out / CAST).read_text() == f'name,colour\n"{NAME}",#3060c0\n'
    expect(page.locator("#apply")).to_have_text("Apply to 2 pages")
    page.locator("#close-cast").click()
    page.wait_for_selector(COLOURED)  # the page that is open
    expect(page.locator(".hint")).to_have_css("background-color", "rgb(48, 96, 192)")
    page.locator("#open-cast").click()
    page.get_by_role("button", name=f"Remove {NAME}").click()
    expect(page.locator("#cast-list button")).to_have_count(0)
    assert [row[-1] for row in kept(library)] == ["#3060c0"] * 2
    expect(page.locator("#apply")).to_have_text("Apply to 2 pages")


def marks(library: Library) -> list[tuple[str, str, str]]:
    """(chapter, page, below) of each mark that is kept."""
    entries = json.loads((library.out / REFERENCES).read_text())["references"]
    return [(entry["chapter"], entry["page"], entry["below"]) for entry in entries]


def test_a_page_is_marked_as_a_reference(visit: Callable[..., Page], library: Library) -> None:
    """By mouse and by keyboard; and what becomes of the others, which are all alike to this model, is shown."""
    page = open_page(visit, library)
    chapter, series = page.locator("#mark-chapter"), page.locator("#mark-series")
    series.click()
    expect(series).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#apply")).to_have_text("Apply to 5 pages")
    assert marks(library) == [("ch01.cbz", "1.png", "")]
    page.keyboard.press("r")
    expect(chapter).to_have_attribute("aria-pressed", "true")
    expect(series).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#apply")).to_have_text("Apply to 2 pages")
    assert marks(library) == [("ch01.cbz", "1.png", "ch01.cbz")]
    page.keyboard.press("Escape")
    expect(page.locator("a.thumb", has_text="1.png").locator(".mark")).to_contain_text("reference")
    page.locator("a.thumb", has_text="2.png").click()
    page.wait_for_selector(COLOURED)
    expect(chapter).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#title")).to_contain_text("1.png")
    chapter.focus()
    page.keyboard.press("Enter")
    expect(chapter).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#apply")).to_be_disabled()
    assert marks(library) == []


def test_keys(visit: Callable[..., Page], library: Library) -> None:
    page = open_page(visit, library, 0)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#title")).to_contain_text("1.png")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#title")).to_contain_text("0.png")
    wide = page.locator("#sheet").bounding_box()
    page.keyboard.press("+")
    larger = page.locator("#sheet").bounding_box()
    assert wide is not None
    assert larger is not None
    assert larger["width"] == pytest.approx(1.4 * wide["width"])
    page.keyboard.press("-")
    page.keyboard.press("0")
    assert page.locator("#sheet").bounding_box() == wide
    page.keyboard.press("Space")
    expect(page.locator("#swap")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Space")
    expect(page.locator("#split")).to_have_value("500")
    page.keyboard.press("Escape")
    expect(page.locator("a.thumb").first).to_be_visible()


def test_the_mouse_moves_the_divider_and_the_wheel_zooms_where_it_is(
    visit: Callable[..., Page], library: Library
) -> None:
    page = open_page(visit, library)
    page.mouse.move(*place(page, 0.5, 0.2))
    page.mouse.down()
    page.mouse.move(*place(page, 0.9, 0.2), steps=5)
    page.mouse.up()
    assert int(page.locator("#split").input_value()) > 550
    expect(page.locator(".hint")).to_have_count(0)  # it was no click
    spot = place(page, 0.25, 0.75)
    page.mouse.move(*spot)
    wide = page.locator("#sheet").bounding_box()
    assert wide is not None
    page.mouse.wheel(0, -400)
    page.locator("#stage").evaluate("stage => new Promise(drawn => requestAnimationFrame(drawn))")
    zoomed = page.locator("#sheet").bounding_box()
    assert zoomed is not None
    assert zoomed["width"] > 2 * wide["width"]
    assert place(page, 0.25, 0.75) == pytest.approx(spot, abs=4)


@pytest.mark.parametrize("width", WIDTHS)
def test_by_finger_on_a_phone(visit: Callable[..., Page], library: Library, width: int) -> None:
    page = visit(library.out, viewport={"width": width, "height": 700}, **PHONE)
    inside = f"document.documentElement.scrollWidth <= {width}"
    page.locator("a.chapter").first.tap()
    page.locator("a.thumb").nth(1).tap()
    expect(page.locator("#hint-told")).to_contain_text("Click a spot")
    page.touchscreen.tap(*place(page, 0.5, 0.3))
    page.locator("#swatches button").nth(1).tap()
    page.wait_for_selector(COLOURED)
    assert len(kept(library)) == 1
    page.locator("#cast-name").fill("the fur of Momo, the cat of the lighthouse keeper")
    page.locator("#naming button").tap()
    expect(page.locator("#cast-names button")).to_be_visible()
    assert page.evaluate(f"() => {inside}")
    for target in page.locator("button:visible:not(.hint)").all():
        box = target.bounding_box()
        assert box is not None
        assert box["height"] >= 40
    page.locator("#back").tap()
    assert page.evaluate(f"() => {inside}")
    apply = page.locator("#apply").bounding_box()
    assert apply is not None
    assert apply["x"] + apply["width"] <= width


def test_hostile_names_are_shown_as_text(visit: Callable[..., Page], library: Library) -> None:
    name = HOSTILE.replace("/", "_") + ".cbz"
    library.put(f"in/{name}", zipped({f"{HOSTILE}.png": gray_page(1)}))
    library.run(backend="torch")
    page = visit(library.out)
    page.locator("a.chapter", has_text="onerror").click()
    page.locator("a.thumb").click()
    expect(page.locator("#title")).to_contain_text(HOSTILE)
    assert page.title() != "1"
    expect(page.locator("img[src=x]")).to_have_count(0)


def test_a_colour_of_the_palette_is_changed_and_a_run_that_fails_says_why(
    visit: Callable[..., Page], tmp_path: Path
) -> None:
    colors = [{"name": "all", "ab": [20, 5], "centre": [60, 10, 5, 1], "weight": 1.0}]
    (tmp_path / "p.json").write_text(json.dumps({"colors": colors}))
    library = library_of(tmp_path, palette=str(tmp_path / "p.json"))
    page = visit(library.out)
    page.locator("#open-palette").click()
    page.locator("#colors button").click()
    expect(page.locator("#examples img")).to_have_count(3)
    expect(page.locator("#keep-color")).to_be_disabled()
    page.locator("#color-value").fill("#2040d0")
    page.wait_for_selector('#examples img:nth-child(3)[src^="blob:"]')
    assert json.loads((library.out / PALETTE).read_text())["colors"][0]["ab"] == [20, 5]  # it was a look
    page.locator("#keep-color").click()
    expect(page.locator("#color-told")).to_contain_text("Kept")
    assert json.loads((library.out / PALETTE).read_text())["colors"][0]["ab"][1] < -60
    page.locator("#close-palette").click()
    expect(page.locator("#apply")).to_have_text("Apply to 6 pages")

    (tmp_path / "in").rename(tmp_path / "elsewhere")
    page.locator("#apply").click()
    expect(page.locator("#job-told")).to_contain_text("Bad usage")
    expect(page.locator("#job-log")).to_contain_text("is empty or does not exist")


def test_a_job_at_work_is_told(visit: Callable[..., Page], library: Library) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    progress = {"ended": False, "updated": now, "done": 3, "chapters": 40, "pages": 600, "flagged": 2}
    progress |= {"pages_per_second": 1.5, "seconds_left": 700.0}
    (library.out / PROGRESS).write_text(json.dumps(progress))
    page = visit(library.out)
    expect(page.locator("#at-work")).to_contain_text(
        "3 of 40 chapters, 600 pages, 2 to look at, 1.50 pages/s, about 12 min"
    )


def test_a_page_that_takes_no_hints_says_why(visit: Callable[..., Page], library: Library) -> None:
    job = library.out / "_mangahue/job.json"
    job.write_text(job.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    page = visit(library.out, f"#{CH01}/1")
    expect(page.locator("#hint-told")).to_contain_text("are not those that")
    page.mouse.click(*place(page, 0.5, 0.5))
    expect(page.locator(".hint")).to_have_count(0)


def test_two_thousand_chapters_and_five_thousand_pages(browser: Browser, library: Library) -> None:
    ledger = Ledger(str(library.out), library.ledger.fingerprint)
    records = [PageRecord(f"{n:05}.png", f"{n:05}.jpg", n, "kept", "0" * 64) for n in range(5000)]
    for n in range(2000):
        of_it = records if n == 1000 else records[:1]
        made = Manifest(
            f"z{n:04}.cbz", "", "v", ledger.fingerprint, "done", f"z{n:04}.cbz", list(of_it), sha256="0" * 64
        )
        ledger.commit(made, 0)
    with DeskServer(library.out) as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.address)
        expect(page.locator("a.chapter").first).to_contain_text("ch01.cbz")
        assert page.locator("a.chapter").count() < 40
        page.locator("#chapter-list").evaluate("list => { list.scrollTop = list.scrollHeight }")
        expect(page.get_by_role("link", name="z1999.cbz")).to_be_visible()
        assert page.locator("a.chapter").count() < 40
        page.locator("#find").fill("z1000")
        page.locator("a.chapter").click()
        expect(page.locator("#chapter-told")).to_contain_text("5,000 pages")
        assert page.locator("a.thumb").count() < 60
        page.locator("#page-grid").evaluate("list => { list.scrollTop = list.scrollHeight }")
        expect(page.get_by_text("04999.png")).to_be_visible()
        names = Counter(page.locator("a.thumb bdi").all_inner_texts())
        assert max(names.values()) == 1
        context.close()
