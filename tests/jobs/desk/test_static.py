"""The static form of the desk, opened from disk in a real browser."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from datasets.errors import BadUsageError
from jobs.parts.colorize.cast import ab_of, parse_cast
from jobs.parts.colorize.hints import parse_hints
from jobs.parts.desk.catalogue import id_of, open_catalogue
from jobs.parts.desk.static import _MODULES, FRONT, _modules, page_of, write_static
from jobs.parts.ledger.ledger import CAST, HINTS
from jobs.parts.runtime.outcome import Exit
from tests.browser import chromium
from tests.jobs.colorize.library import published
from tests.jobs.desk.desk import library_of

COLORS = [
    {"name": name, "ab": [20, 5], "centre": [light, 10, 5, 1], "weight": 0.5}
    for name, light in (("dark", 25), ("light", 75))
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def test_hints_cast_and_palette_are_downloaded_as_files(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps({"colors": COLORS}))
    (tmp_path / "h.csv").write_text("page,x,y,radius,colour\nch02.cbz/0.png,5,6,7,teal\n")
    library = library_of(tmp_path, palette=str(tmp_path / "p.json"), hints=str(tmp_path / "h.csv"))
    site = tmp_path / "a site #1"
    assert write_static(open_catalogue(str(library.out)), str(site)) is Exit.DONE
    chapter = id_of("ch01.cbz")
    assert (site / f"pictures/{chapter}/1-after.jpg").read_bytes() == published(library, "ch01.cbz")["1.jpg"]

    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith(("file:", "blob:")) or complaints.append(asked.url))
    page.goto((site / "index.html").as_uri())
    page.locator("a.chapter").first.click()
    page.locator("a.thumb").nth(1).click()
    expect(page.locator("#hint-told")).to_contain_text("Click a spot")
    box = page.locator("#sheet").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.25)
    page.locator("#swatches button").nth(1).click()
    page.locator("#cast-name").fill("Teal")
    page.locator("#naming button").click()
    expect(page.locator("#wrong")).to_contain_text("Teal is a colour itself")
    page.locator("#cast-name").fill("the sea")
    page.locator("#naming button").click()
    page.locator("#open-cast").click()
    page.locator("#cast-list input").fill("#104090")
    expect(page.locator("#cast-told")).to_have_text("Kept for the download.")
    page.locator("#close-cast").click()
    page.locator("#open-palette").click()
    page.locator("#colors button").nth(1).click()
    page.locator("#color-value").fill("#2040d0")
    page.locator("#keep-color").click()
    page.locator("#close-palette").click()
    with (
        page.expect_download(lambda download: download.suggested_filename == "hints.csv") as first,
        page.expect_download(lambda download: download.suggested_filename == "cast.csv") as second,
        page.expect_download(lambda download: download.suggested_filename == "palette.json") as third,
    ):
        page.locator("#apply").click()
    expect(page.locator("#job-told")).to_contain_text("The next run of colorize.py")
    hints, cast, palette = (downloaded.value.path().read_bytes() for downloaded in (first, second, third))

    assert cast == b"name,colour\nthe sea,#104090\n"
    rows = parse_hints(hints, "hints.csv", parse_cast(cast, "cast.csv")).by_page
    assert rows["ch01.cbz/1.png"][0].ab == ab_of("#104090")
    assert set(rows) == {"ch02.cbz/0.png", "ch01.cbz/1.png"}
    ((x, y),) = [(hint.x, hint.y) for hint in rows["ch01.cbz/1.png"]]
    assert (x, y) == pytest.approx((20, 14), abs=0.5)
    colors = json.loads(palette)["colors"]
    assert colors[0]["ab"] == COLORS[0]["ab"]
    assert colors[1]["ab"] == pytest.approx(ab_of("#2040d0"), abs=0.1)
    assert complaints == []
    context.close()


def test_a_name_is_removed_from_all_hints_that_give_it(browser: Browser, tmp_path: Path) -> None:
    """In whatever Unicode form, and of pages that left the source, too: else the next run would refuse the files."""
    library = library_of(tmp_path, chapters=1)
    rows = "page,x,y,radius,colour\nch01.cbz/1.png,5,6,7,fur of Mo\u0308mo\ngone.cbz/1.png,5,6,7,sea\n"
    (library.out / HINTS).write_text(rows)
    (library.out / CAST).write_text("name,colour\nfur of M\xf6mo,#104090\nsea,teal\nsky,navy\n")
    assert write_static(open_catalogue(str(library.out)), str(tmp_path / "site")) is Exit.DONE

    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.goto((tmp_path / "site/index.html").as_uri())
    page.locator("#open-cast").click()
    listed = page.locator("#cast-list .bar")
    expect(listed).to_contain_text(["1 page", "1 page", "0 pages"])
    for left in (2, 1):
        listed.first.get_by_role("button").click()
        expect(listed).to_have_count(left)
    page.locator("#close-cast").click()
    with (
        page.expect_download(lambda download: download.suggested_filename == "hints.csv") as first,
        page.expect_download(lambda download: download.suggested_filename == "cast.csv") as second,
    ):
        page.locator("#apply").click()
    hints, cast = (downloaded.value.path().read_bytes() for downloaded in (first, second))
    assert cast == b"name,colour\nsky,#000080\n"
    given = parse_hints(hints, "hints.csv", parse_cast(cast, "cast.csv")).by_page
    assert {name: hint.ab for name, (hint,) in given.items()} == {
        "ch01.cbz/1.png": ab_of("#104090"), "gone.cbz/1.png": ab_of("teal")
    }  # fmt: skip

    page.reload()  # nothing was changed; and now no page that is shown is
    page.locator("#open-cast").click()
    page.get_by_role("button", name="Remove sea").click()
    expect(listed).to_have_count(2)
    page.locator("#close-cast").click()
    with page.expect_download(lambda download: download.suggested_filename == "hints.csv") as alone:
        page.locator("#apply").click()
    assert b"gone.cbz/1.png,5,6,7,#008080" in alone.value.path().read_bytes()
    context.close()


def test_names_can_not_end_the_element_that_holds_them() -> None:
    page = page_of({"desk": {"out": "</script><script>alert(1)</script>"}})
    assert page.count("</script>") == 2
    assert "{{" not in page.partition("<script>")[0]


def test_every_module_is_in_the_page() -> None:
    stems = {file.name.removesuffix(".js") for file in FRONT.iterdir() if file.name.endswith(".js")}
    assert set(_MODULES) == stems - {"asked"}  # in its place is asked_static
    script = "".join(_modules())
    assert "import " not in re.sub(r"//.*|/\*\*?[\s\S]*?\*/|`[^`]*`|\"[^\"]*\"", "", script)
    names = re.findall(r"^(?:const|let|function|async function|class) (\w+)", script, re.MULTILINE)
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    library = library_of(tmp_path, chapters=1, pages=1)
    with pytest.raises(BadUsageError, match="is not empty"):
        write_static(open_catalogue(str(library.out)), str(library.out))
