"""The review's page in a real browser, from disk: by keyboard alone, by finger on a phone, and back into a rerun."""

import json
from pathlib import Path

import pytest

from jobs.parts.pair.review import Doubt, ShownDoubt, render_review
from jobs.parts.pair.rows import RowPlan
from jobs.parts.runtime.outcome import Exit
from tests.browser import chromium
from tests.jobs.pair.library import color_name, gray_name, run, write_editions
from tests.jobs.report.test_pages import HOSTILE

PHONE = {"viewport": {"width": 375, "height": 700}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pairing of which nothing is sure enough, and its review."""
    made = tmp_path_factory.mktemp("review")
    write_editions(made)
    code, records = run(made, accept=1.0, review=str(made / "review"))
    assert code == Exit.DONE
    assert [record["outcome"] for record in records.values()].count("doubtful") == 4
    return made


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser):
    """visit(path, **options of the context) -> a page; at the end none may have reported an error."""
    contexts, complaints = [], []

    def go(path: Path, **options):
        contexts.append(browser.new_context(accept_downloads=True, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        # A page that is left for another gives up the pictures that are still on their way.
        page.on("requestfailed", lambda asked: asked.failure == "net::ERR_ABORTED" or complaints.append(asked.url))
        page.goto(path.as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []


def saved(page, act) -> list[dict]:
    """The decisions that the page saves when `act` is done."""
    with page.expect_download() as download:
        act()
    assert download.value.suggested_filename == "decisions.json"
    return json.loads(Path(download.value.path()).read_text())["decisions"]


def test_the_keyboard_alone_decides_and_a_rerun_takes_it(folder, visit, tmp_path):
    page = visit(folder / "review/review.html")
    names = page.locator(".doubt h3").all_inner_texts()
    for key in ("y", "n", "j", "y"):
        page.keyboard.press(key)
    assert page.locator("#count").inner_text() == "3 of 4 decided"
    decisions = saved(page, lambda: page.keyboard.press("s"))
    assert [one["pair"] for one in decisions] == [True, False, True]
    (tmp_path / "decisions.json").write_text(json.dumps({"decisions": decisions}))
    _, records = run(folder, accept=1.0, review=str(folder / "again"), decisions=str(tmp_path / "decisions.json"))
    outcomes = [records[name]["outcome"] for name in names]
    assert outcomes == ["paired", "unpaired", "doubtful", "paired"]
    assert records[names[0]]["why"] == "decided in a review"
    again = visit(folder / "again/review.html")
    assert again.locator(".doubt h3").all_inner_texts() == [names[2]]


def test_keys_go_back_and_take_back(folder, visit):
    page = visit(folder / "review/review.html")
    current = "document.querySelector('[aria-current]').id"
    for key, at in (("ArrowDown", "d2"), ("ArrowDown", "d3"), ("k", "d2"), ("ArrowUp", "d1"), ("ArrowUp", "d1")):
        page.keyboard.press(key)
        assert page.evaluate(current) == at
        assert page.evaluate("document.activeElement.id") == at
    page.keyboard.press("y")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("u")
    assert page.locator("#count").inner_text() == "0 of 4 decided"


def test_decisions_outlive_a_reload(folder, visit):
    page = visit(folder / "review/review.html")
    page.keyboard.press("n")
    page.reload()
    assert page.locator("#count").inner_text() == "1 of 4 decided"
    assert page.locator("#d1").get_attribute("data-pair") == "false"


def test_a_finger_decides_on_a_phone(folder, visit):
    page = visit(folder / "review/review.html", **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    first, second = page.locator("#d1"), page.locator("#d2")
    first.get_by_role("button", name="It is a pair").tap()
    second.get_by_role("button", name="It is none").tap()
    assert first.get_by_role("button", name="It is a pair").get_attribute("aria-pressed") == "true"
    first.get_by_role("button", name="It is a pair").tap()  # again: it is open
    for button in page.locator("button:visible").all():
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= 44
    (decision,) = saved(page, lambda: page.locator("#save").tap())
    assert decision["pair"] is False


def test_every_picture_is_there(folder, visit):
    page = visit(folder / "review/review.html")
    for image in page.locator("img").all():
        image.scroll_into_view_if_needed()
    page.wait_for_function("[...document.images].every(image => image.naturalWidth > 0)", timeout=10_000)
    assert page.locator("img").count() == 12
    assert {color_name(number) for number in (1, 2, 5, 6)} == set(page.locator(".doubt h3").all_inner_texts())
    assert gray_name(1) in page.locator("main").inner_text()


def test_names_are_text(visit, tmp_path):
    row = RowPlan("", "", 0, "", None, None)
    doubt = Doubt("0" * 20, HOSTILE, HOSTILE, 0.5, HOSTILE, row)
    (tmp_path / "review.html").write_text(render_review([ShownDoubt(doubt, 10, 10)], 3), encoding="utf-8")
    html = (tmp_path / "review.html").read_text()
    assert "<script>window.pwned" not in html
    assert "<img src=x" not in html


def test_nothing_to_decide_is_said(visit, tmp_path):
    (tmp_path / "review.html").write_text(render_review([], 3), encoding="utf-8")
    assert "There is nothing to decide." in visit(tmp_path / "review.html").locator("main").inner_text()
