"""Names of two editions: what each puts before all of its own, and `-` for `_`."""

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from datasets.chapters import open_chapter
from jobs.parts.ingest.names import bare_names, chapter_of, chapters_of, page_numbers
from jobs.parts.ingest.pairing import find_editions, pair_editions, pair_pages
from tests.jobs.ingest.test_pairing import members, named, tree


@pytest.mark.parametrize(
    ("stems", "bare"),
    [
        (["berserk_001_002", "Berserk_001_003", "berserk_012_003"], ["1_2", "1_3", "12_3"]),
        (["c_001-002", "c_001-003"], ["1_2", "1_3"]),
        (["One Piece - 003", "One Piece - 004", "cover"], ["3", "4", "cover"]),
        (["c_berserk_1", "c_berserk_2", "c_1"], ["berserk_1", "berserk_2", "1"]),
        (["berserk_001"], ["berserk_1"]),  # one name tells nothing
        (["vol 1", "vol 2"], ["vol_1", "vol_2"]),
        (["x_extra_1", "x_extra_2"], ["extra_1", "extra_2"]),
        (["ep1_1", "ep1_2"], ["ep1_1", "ep1_2"]),
        ([], []),
    ],
)
def test_what_all_names_begin_with_is_left_out(stems: list[str], bare: list[str]) -> None:
    assert bare_names(stems) == bare


@pytest.mark.parametrize(
    ("stems", "chapters"),
    [
        (["c_001-002", "c_001-003", "c_002-001"], ["c_1", "c_2"]),
        (["Berserk_001_002", "berserk_002_001"], ["berserk_1", "berserk_2"]),
        (["002-003", "004-005", "006-007"], []),  # spreads
        (["001", "002-003", "004"], []),
        (["c_001_002", "c_001_004-005", "c_002_001"], []),
        (["page-1", "page-2"], []),
        ([], []),
    ],
)
def test_the_chapters_of_a_folder(stems: list[str], chapters: list[str]) -> None:
    assert chapters_of(stems) == chapters
    assert {chapter_of(stem) for stem in stems} == set(chapters) or not chapters


@pytest.mark.parametrize(
    ("stems", "numbers"),
    [
        (["berserk-001", "berserk-002"], ["1", "2"]),
        (["c_001-002", "c_001_003"], ["2", "3"]),
        (["004-005"], ["4-5"]),
        (["002-003", "004-005"], ["2-3", "4-5"]),
        (["001", "004-005"], ["1", "4-5"]),
        (["ep1_1", "ep2_1"], ["ep1_1", "ep2_1"]),
        (["ep1_1", "cover"], ["1", "cover"]),
    ],
)
def test_the_numbers_of_pages(stems: list[str], numbers: list[str]) -> None:
    assert page_numbers(stems) == numbers


def test_the_names_of_the_write_up(tmp_path: Path) -> None:
    color = find_editions(tree(tmp_path / "c", "c_001-002.png", "c_001-003.png", "c_014-001.png", "c_015-008.png"))
    gray = find_editions(
        tree(
            tmp_path / "bw", *(f"Berserk_{chapter:03}_{page:03}.jpg" for chapter in (1, 2, 14) for page in range(1, 5))
        )
    )
    found = []
    for one, other in pair_editions(color, gray):
        pages = [edition.pages(open_chapter(edition.ref)) if edition else [] for edition in (one, other)]
        found += named(pair_pages(pages[0], pages[1], (one and one.only, other and other.only)))
    assert [pair for pair in found if all(pair)] == [
        ("c_001-002.png", "Berserk_001_002.jpg"),
        ("c_001-003.png", "Berserk_001_003.jpg"),
        ("c_014-001.png", "Berserk_014_001.jpg"),
    ]
    assert len(found) == 4 + 12 - 3


def test_volumes_are_not_chapters(tmp_path: Path) -> None:
    color = find_editions(tree(tmp_path / "c", "Vol 1/1.png", "Vol 2/1.png"))
    gray = find_editions(tree(tmp_path / "bw", "Chapter 1/1.png", "Chapter 2/1.png"))
    assert all(one is None or other is None for one, other in pair_editions(color, gray))


WORDS = st.lists(st.sampled_from(["berserk", "Berserk", "c", "bw", "one", "Piece", "d'or", "\u0433\u0443\u0442\u0441"]))
PAGES = st.sets(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=2)


def edition_of(
    prefixes: list[str], separator: str, digits: int, pages: set[tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    return {
        separator.join([*prefixes, f"{chapter:0{digits}}", f"{page:0{digits}}"]) + ".png": (chapter, page)
        for chapter, page in sorted(pages)
    }


@settings(max_examples=300)
@given(prefixes=st.tuples(WORDS, WORDS), separators=st.tuples(*[st.sampled_from(["_", "-", " ", " - "])] * 2),
       digits=st.tuples(st.integers(1, 3), st.integers(1, 3)), color=PAGES, gray=PAGES)  # fmt: skip
def test_pages_of_two_editions_pair_where_chapter_and_page_are_equal(
    prefixes: tuple[list[str], list[str]], separators: tuple[str, str], digits: tuple[int, int],
    color: set[tuple[int, int]], gray: set[tuple[int, int]],
) -> None:  # fmt: skip
    for pages in (color, gray):
        assume(len({chapter for chapter, _ in pages}) > 1)  # two lists of one chapter each are a pair by page alone
    ours = edition_of(prefixes[0], separators[0], digits[0], color)
    theirs = edition_of(prefixes[1], separators[1], digits[1], gray)
    pairs = named(pair_pages(members(*ours), members(*theirs)))
    assert {ours[one] for one, other in pairs if one and other} == color & gray
    assert all(ours[one] == theirs[other] for one, other in pairs if one and other)


@settings(max_examples=200)
@given(starts=st.sets(st.integers(1, 60), min_size=1), prefix=st.sampled_from(["", "berserk_", "c-"]))
def test_spreads_are_neither_chapters_nor_their_second_page(starts: set[int], prefix: str) -> None:
    spreads = [f"{prefix}{2 * start:03}-{2 * start + 1:03}.png" for start in sorted(starts)]
    assert chapters_of([name.removesuffix(".png") for name in spreads]) == []
    singles = [f"{page:03}.jpg" for page in range(1, 130)]
    assert all(None in pair for pair in named(pair_pages(members(*spreads), members(*singles))))
