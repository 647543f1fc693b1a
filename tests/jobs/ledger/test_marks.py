"""Which pages are shown which marked pages, and whether a manifest says that they were."""

from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.parts.ledger.manifest import Manifest, PageRecord
from jobs.parts.ledger.marks import ChapterMarks, Mark, as_text
from models.card import MOST_SHOWN

AXES = 32


def text_of(angle: float) -> str:
    """A description that lies at this angle, in degrees, to that of 0."""
    description = np.zeros(AXES, np.float32)
    description[:2] = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return as_text(description)


def mark(page: str, angle: float, chapter: str = "a/1", below: str = "a", least: float = 0.5) -> Mark:
    return Mark(chapter, page, below, f"{chapter}-{page}.png".replace("/", "-"), text_of(angle), least)


def record(page: str, angle: float | None, references: tuple[str, ...] = (), action: str = "coloured") -> PageRecord:
    return PageRecord(
        page, page, 0, action, "", description="" if angle is None else text_of(angle), references=references
    )


def manifest(*pages: PageRecord) -> Manifest:
    return Manifest("a/1", "", "", "", "done", pages=list(pages))


def test_a_mark_counts_in_its_chapter_or_below_its_folder() -> None:
    assert [mark("x", 0, below="a/1").counts_in(rel) for rel in ("a/1", "a/10", "a", "b")] == [
        True,
        False,
        False,
        False,
    ]
    assert [mark("x", 0, below="a").counts_in(rel) for rel in ("a/1", "a/b/2", "ab/1", "b")] == [
        True,
        True,
        False,
        False,
    ]
    assert mark("x", 0, below="").counts_in("anything")
    marks = [mark("x", 0), mark("y", 0, below="b"), replace(mark("z", 0), picture=mark("x", 0).picture)]
    assert [each.page for each in ChapterMarks.among(marks, "a/2").marks] == ["z"]  # of one picture twice, one


def test_a_page_is_shown_what_is_like_it_and_never_itself() -> None:
    marks = ChapterMarks.among([mark("x", 0), mark("y", 50), mark("z", 100)], "a/1")
    assert marks.shown_to("w", text_of(20)) == ("a-1-x.png", "a-1-y.png")
    assert marks.shown_to("x", text_of(20)) == ("a-1-y.png",)
    assert ChapterMarks("a/2", marks.marks).shown_to("x", text_of(20)) == ("a-1-x.png", "a-1-y.png")
    assert marks.shown_to("w", text_of(200)) == ()
    assert marks.shown_to("w", "") == ()


def test_a_page_is_shown_the_most_alike_alone() -> None:
    marks = ChapterMarks.among([mark(f"{n:02}", 3 * n) for n in range(MOST_SHOWN + 4)], "a/1")
    assert marks.shown_to("w", text_of(0)) == tuple(f"a-1-{n:02}.png" for n in range(MOST_SHOWN))


def test_a_page_that_was_not_described_is_done_again_where_a_mark_counts() -> None:
    none, some = ChapterMarks("a/1"), ChapterMarks.among([mark("x", 0)], "a/1")
    for pages in ([record("w", None)], [record("w", None), record("v", 90)]):  # with others described, and without
        assert none.hold(manifest(*pages))
        assert not some.hold(manifest(*pages))
        assert not some.holds(pages[0])
    assert some.holds(record("x", None))  # of itself it is shown nothing
    assert some.hold(manifest(record("w", None, action="kept"), record("v", None, action="flagged")))


@settings(max_examples=60)
@given(
    angles=st.lists(st.integers(0, 359), max_size=6),
    given=st.lists(st.integers(0, 359), max_size=15),
    seed=st.integers(0, 9),
)
def test_a_chapter_holds_where_each_of_its_pages_does(angles: list[int], given: list[int], seed: int) -> None:
    """By the whole manifest, and by its summary, which has no pages."""
    rng = np.random.default_rng(seed)
    marks = ChapterMarks.among([mark(f"p{n}", angle, least=0.8) for n, angle in enumerate(given)], "a/1")
    pages = [record(f"p{n}", angle) for n, angle in enumerate(angles)]
    right = [replace(page, references=marks.shown_to(page.name, page.description)) for page in pages]
    assert marks.hold(manifest(*right))
    assert marks.hold(manifest(*right).summary())
    some = [page if rng.random() < 0.8 else wrong for page, wrong in zip(right, pages, strict=True)]
    whole = Manifest.from_json(manifest(*some).to_json())
    assert whole == manifest(*some)
    assert marks.hold(whole) == marks.hold(whole.summary()) == marks.hold(whole.summary().summary())
    assert marks.hold(whole) == all(map(marks.holds, some))
    assert whole.summary().counts == Counter(coloured=len(some)) or not some


def test_a_description_that_is_not_finite_is_like_nothing() -> None:
    broken = as_text(np.full(AXES, np.nan, np.float32))
    assert ChapterMarks.among([mark("x", 0)], "a/1").shown_to("w", broken) == ()
