"""Which of the rows that show the same page stays."""

import base64
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.near_duplicates import Look
from jobs.parts.dataset.duplicates import find_duplicates
from jobs.parts.dataset.facts import PageFacts


def facts(
    index: int, shown: int, *, split: str = "train", gray: bool = True, color: bool = True, width: int = 40
) -> PageFacts:
    """Facts of a row that shows the page of this number."""
    chance = random.Random(shown)
    look = Look(chance.randbytes(8), chance.randbytes(256), chance.randbytes(192) if color else b"")
    made = base64.b64encode(look.to_bytes()).decode()
    return PageFacts("ch", index, f"{index}.png", split, "in", gray, color, 0.0, width, 60, (), None, None, made)


def left_out(*pages: PageFacts) -> list[tuple[int, int]]:
    return [(duplicate.page.index, duplicate.kept.index) for duplicate in find_duplicates(pages)]


@pytest.mark.parametrize(
    ("first", "second", "out"),
    [
        ({}, {}, [(1, 0)]),
        ({}, {"width": 80}, [(0, 1)]),
        ({"width": 80, "color": False}, {}, [(0, 1)]),
        ({"width": 80}, {"split": "holdout"}, [(0, 1)]),
        ({}, {"split": "holdout", "color": False}, [(0, 1)]),
        ({"gray": False}, {"color": False}, []),
        ({"gray": False}, {"color": False, "split": "holdout"}, [(0, 1)]),
        ({"split": "holdout"}, {"split": "holdout", "width": 80}, [(0, 1)]),
    ],
)
def test_which_of_two_stays(first: dict, second: dict, out: list[tuple[int, int]]) -> None:
    assert left_out(facts(0, 5, **first), facts(1, 5, **second), facts(2, 6)) == out


def test_rows_are_left_out_for_those_that_stay() -> None:
    assert left_out(*(facts(number, 5, width=40 + number) for number in range(4))) == [(0, 3), (1, 3), (2, 3)]


ROWS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["train", "holdout"]), st.integers(0, 2)), max_size=12)


@settings(max_examples=200)
@given(ROWS)
def test_one_of_each_stays_and_nothing_held_out_is_trained_on(rows: list[tuple[int, str, int]]) -> None:
    kinds = ({"gray": True, "color": True}, {"gray": False, "color": True}, {"gray": True, "color": False})
    pages = [facts(number, shown, split=split, **kinds[kind]) for number, (shown, split, kind) in enumerate(rows)]
    out = {index for index, _ in left_out(*pages)}
    stays = [number for number in range(len(rows)) if number not in out]
    assert {rows[number][0] for number in stays} == {shown for shown, _, _ in rows}
    assert {rows[number][:1] for number in stays if rows[number][1] == "holdout"} == {
        row[:1] for row in rows if row[1] == "holdout"
    }
    for one in stays:
        for other in stays:
            same = one < other and rows[one][0] == rows[other][0]
            assert not (same and rows[one][1] != rows[other][1])
            assert not (same and rows[one][2] == rows[other][2])


def test_facts_come_back_from_json() -> None:
    made = replace(facts(3, 1), panels=((3, 4), (5, 6)), chroma=(1.5, -2.0), colorfulness=4.0)
    assert PageFacts.from_json(made.to_json()) == made
