"""A visit at the desk: a wrong colour is corrected by two clicks and applied, in a bucket, by a real job."""

import http.server
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from aiohttp import web
from PIL import Image, ImageColor
from playwright.sync_api import Browser, Page, expect

from datasets.storage import Storage, open_storage
from datasets.synthetic import Series, write_series
from imaging.color import F32, U8, to_lab
from imaging.metrics import ciede2000_map
from jobs.parts.desk.catalogue import id_of
from jobs.parts.desk.guard import Guard
from jobs.parts.ledger.ledger import HINTS
from tests.archives import zipped
from tests.browser import chromium
from tests.jobs.colorize.chapters import members_of, saved
from tests.jobs.desk.desk import DeskServer
from tests.jobs.report.test_pages import QuietHandler
from tests.local_machine import LocalMachine

PAGES, CHAPTERS = 3, ("ch01.cbz", "ch02.cbz")
WIDTH, HEIGHT = 496, 700
NEAR = 4  # pixels around a click that are looked at
WRONG, RIGHT = 18, 10  # CIEDE2000
FORGED = """async address => {
    const tries = [
        ["api/apply", {method: "POST", mode: "no-cors", body: "{}"}],
        ["api/apply", {method: "POST", mode: "no-cors", credentials: "include", body: "{}"}],
        ["api/palette", {method: "PUT", headers: {"X-Desk-Key": "guessed"}, body: "{}"}],
    ];
    for (const [path, options] of tries) await fetch(address + path, options).catch(() => {});
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated series in ink and in its true colours."""
    folder = tmp_path_factory.mktemp("drawn")
    write_series(Series(seed=5, chapters=len(CHAPTERS), pages=PAGES, width=WIDTH, height=HEIGHT), folder)
    return folder


def pages_of(storage: Storage, suffix: str) -> dict[tuple[str, str], bytes]:
    """All pages of this format, by chapter and stem."""
    members = ((name, member, data) for name in CHAPTERS for member, data in members_of(storage.read(name)).items())
    return {(name, Path(member).stem): data for name, member, data in members if member.endswith(suffix)}


def picture(data: bytes) -> U8:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def off(lab: F32, truth: F32, x: int, y: int) -> float:
    """CIEDE2000 of what is around a point, on the mean of it."""
    near = np.s_[y - NEAR : y + NEAR + 1, x - NEAR : x + NEAR + 1]
    return float(ciede2000_map(*(part[near].mean((0, 1))[None, None] for part in (lab, truth)))[0, 0])


def find_wrong(made: U8, truth: U8, swatches: list[str]) -> tuple[float, int, int, str]:
    """(how far the best swatch is from the truth, x, y, that swatch) of the point of a page whose colour is wrong and
    for which a swatch is right, in an area that is plain."""
    lab, wanted = to_lab(made), to_lab(truth)
    light = wanted[..., 0]
    mean, square = cv2.blur(light, (31, 31)), cv2.blur(light * light, (31, 31))
    plain = (np.sqrt(np.maximum(square - mean * mean, 0)) < 3) & (mean > 40) & (mean < 88)
    offered = to_lab(np.array([[ImageColor.getrgb(css) for css in swatches]], np.uint8))[0, :, 1:]
    best = (np.inf, 0, 0, "")
    for y in range(20, HEIGHT - 20, 6):
        for x in range(20, WIDTH - 20, 6):
            if plain[y, x] and np.hypot(*wanted[y, x, 1:]) > 15 and off(lab, wanted, x, y) > WRONG:
                away = np.hypot(*(offered - wanted[y, x, 1:]).T)
                best = min(best, (float(away.min()), x, y, swatches[int(away.argmin())]))
    return best


def click_at(page: Page, x: float, y: float) -> None:
    """Click a pixel of the page that is shown."""
    box = page.locator("#sheet").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + (x + 0.5) * box["width"] / WIDTH, box["y"] + (y + 0.5) * box["height"] / HEIGHT)


def forge(browser: Browser, address: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have a page of another site try to change something. Returns why each try that came through was refused."""
    refused: list[str] = []
    decide = Guard._why_not_write

    def noted(guard: Guard, request: web.Request) -> str:
        refused.append(decide(guard, request))
        return refused[-1]

    monkeypatch.setattr(Guard, "_why_not_write", noted)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), QuietHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://localhost:{other.server_port}/")  # to a browser another site than 127.0.0.1
        page.evaluate(FORGED, address)
        page.close()
        other.shutdown()
    return refused


@pytest.mark.timeout(600)
def test_a_wrong_colour_is_corrected_and_applied(
    browser: Browser, machine: LocalMachine, drawn: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CHAPTERS:
        open_storage(f"{s3}/in").put(name, drawn / "ink" / name)
    out = open_storage(f"{s3}/out")
    first = machine.job("colorize", "--source", f"{s3}/in", "--out", out.uri)
    assert first.returncode == 0, first.stdout
    before, versions = pages_of(out, ".jpg"), {entry.key: entry.version for entry in out.list()}
    truths = pages_of(open_storage(str(drawn / "color")), ".png")

    with DeskServer(out.uri) as server:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{server.address}#{id_of('ch01.cbz')}")
        page.locator("a.thumb").first.click()
        expect(page.locator("#hint-told")).to_contain_text("Click a spot", timeout=60_000)
        swatches = [str(each.get_attribute("title")) for each in page.locator("#swatches button").all()]
        wrongs = [find_wrong(picture(before[key]), picture(truths[key]), swatches) for key in before]
        (_, x, y, colour), (chapter, name) = min(zip(wrongs, before, strict=True))
        truth = to_lab(picture(truths[chapter, name]))
        assert off(to_lab(picture(before[chapter, name])), truth, x, y) > WRONG

        refused = forge(browser, server.address, monkeypatch)
        assert len(refused) == 3
        assert all(refused)
        assert out.stat(HINTS) is None

        page.goto(f"{server.address}#{id_of(chapter)}")
        page.locator("a.thumb", has_text=name).click()
        expect(page.locator("#title")).to_contain_text(name)
        click_at(page, x, y)
        page.locator(f'#swatches button[title="{colour}"]').click()
        page.wait_for_selector('#after[src^="blob:"]')
        page.locator("#apply").click()
        expect(page.locator("#job-told")).to_have_text("Done.", timeout=180_000)
        assert "ray job submit" in page.locator("#cluster").inner_text()
        page.locator("#close-job").click()
        expect(page.locator("#apply")).to_be_disabled()

    after, now = pages_of(out, ".jpg"), {entry.key: entry.version for entry in out.list()}
    assert {key for key in after if after[key] != before[key]} == {(chapter, name)}
    assert [key for key in CHAPTERS if now[key] != versions[key]] == [chapter]
    assert json.loads(out.read("_mangahue/report.json"))["edited"] == {"pages_again": 1, "pages_taken": PAGES - 1}
    assert off(to_lab(picture(after[chapter, name])), truth, x, y) < RIGHT
    verified = machine.job("verify", "--out", out.uri)
    assert verified.returncode == 0, verified.stdout
    assert f"{len(CHAPTERS)} chapters verified, 0 findings" in verified.stdout


def enlarged(page: U8) -> U8:
    """A close-up: a small part of a page, as large as that. To the bundled model it looks like no page of panels."""
    return cv2.resize(page[300:385, 200:260], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


@pytest.mark.timeout(600)
def test_a_page_is_marked_and_only_those_that_look_like_it_are_done_again(
    browser: Browser, machine: LocalMachine, drawn: Path, tmp_path: Path
) -> None:
    """By the bundled model and a real job: pages of panels follow it, close-ups do not."""
    for name in CHAPTERS:
        pages = members_of((drawn / "ink" / name).read_bytes())
        inks = {Path(member).stem: picture(data) for member, data in pages.items() if member.endswith(".png")}
        close = {f"{stem}-close.png": saved(enlarged(page)) for stem, page in inks.items()}
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(
            zipped({f"{stem}.png": saved(page) for stem, page in inks.items()} | close)
        )
    out = open_storage(str(tmp_path / "out"))
    job = ("colorize", "--source", str(tmp_path / "in"), "--out", out.uri)
    first = machine.job(*job)
    assert first.returncode == 0, first.stdout
    before = pages_of(out, ".jpg")
    marked = ("ch01.cbz", min(stem for name, stem in before if name == "ch01.cbz" and not stem.endswith("close")))
    panels = {key for key in before if not key[1].endswith("close")}

    with DeskServer(out.uri) as server:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{server.address}#{id_of(marked[0])}")
        page.locator("a.thumb", has=page.get_by_text(f"{marked[1]}.png", exact=True)).click()
        expect(page.locator("#mark-series")).to_be_enabled(timeout=60_000)
        page.locator("#mark-series").click()
        expect(page.locator("#apply")).to_have_text(f"Apply to {len(panels) - 1} pages")
        page.locator("#apply").click()
        expect(page.locator("#job-told")).to_have_text("Done.", timeout=180_000)
        page.locator("#close-job").click()
        expect(page.locator("#apply")).to_be_disabled()

    after = pages_of(out, ".jpg")
    assert {key for key in after if after[key] != before[key]} == panels - {marked}
    edited = {"pages_again": len(panels) - 1, "pages_taken": len(before) - len(panels) + 1}
    assert json.loads(out.read("_mangahue/report.json"))["edited"] == edited
    again = machine.job(*job)
    assert again.returncode == 0, again.stdout
    assert "0 computed now" in again.stdout
    verified = machine.job("verify", "--out", out.uri)
    assert verified.returncode == 0, verified.stdout
    assert f"{len(CHAPTERS)} chapters verified, 0 findings" in verified.stdout
