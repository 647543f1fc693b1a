"""Near-duplicates: the same page in another form, and no other page."""

import io
import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets.synthetic import Series, draw_page
from imaging import near_duplicates as module
from imaging.color import gray_of_equal_lightness
from imaging.near_duplicates import Look, look_of, near_duplicates

DRAWN = [
    draw_page(Series(seed=1, chapters=2, pages=4, width=400, height=600), chapter, page).color
    for chapter in (1, 2)
    for page in (1, 2, 3, 4)
]


def look(page: np.ndarray) -> Look:
    return look_of(gray_of_equal_lightness(page), page)


def again(page: np.ndarray, scale: float, quality: int, gain: float) -> np.ndarray:
    """The page as another file of it: smaller, compressed, of other contrast."""
    out = io.BytesIO()
    small = cv2.resize(page, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    Image.fromarray(np.clip(small * gain, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=quality)
    return np.asarray(Image.open(out))


@settings(max_examples=25)
@given(scale=st.floats(0.5, 1), quality=st.integers(40, 95), gain=st.floats(0.95, 1.03), number=st.integers(0, 7))
def test_another_file_of_a_page_is_found_among_others(scale: float, quality: int, gain: float, number: int) -> None:
    looks = [*map(look, DRAWN), look(again(DRAWN[number], scale, quality, gain))]
    assert near_duplicates(looks).tolist() == [[number, len(DRAWN)]]


def test_other_colours_or_another_light_are_another_page() -> None:
    page = DRAWN[0]
    assert near_duplicates([look(page), look(page[..., ::-1] // 2 + 100)]).tolist() == []
    flat = [np.full((60, 40, 3), level, np.uint8) for level in (0, 90, 255)]
    assert near_duplicates([look(level) for level in flat]).tolist() == []


def test_a_gray_page_and_its_colours_look_alike() -> None:
    gray = gray_of_equal_lightness(DRAWN[0])
    assert near_duplicates([look(DRAWN[0]), look_of(gray, None)]).tolist() == [[0, 1]]


def test_no_page_and_one_page_have_no_duplicates() -> None:
    assert near_duplicates([]).tolist() == near_duplicates([look(DRAWN[0])]).tolist() == []


PAPER = Look(bytes(8), bytes([200] * 256), bytes([200] * 192))


@pytest.mark.parametrize(
    ("other", "near"),
    [
        (Look(bytes([63] + [0] * 7), PAPER.gray, PAPER.color), True),
        (Look(bytes([127] + [0] * 7), PAPER.gray, PAPER.color), False),
        (Look(PAPER.hash, bytes([207, 193] * 128), PAPER.color), True),
        (Look(PAPER.hash, bytes([210, 190] * 128), PAPER.color), False),  # as a nearly blank page by chance
        (Look(PAPER.hash, bytes([180] * 256), PAPER.color), True),
        (Look(PAPER.hash, bytes([170] * 256), PAPER.color), False),
        (Look(PAPER.hash, PAPER.gray, bytes([200, 200, 170] * 64)), True),
        (Look(PAPER.hash, PAPER.gray, bytes([200, 200, 140] * 64)), False),
        (Look(PAPER.hash, PAPER.gray, b""), True),
    ],
)
def test_how_far_near_duplicates_may_be_apart(other: Look, near: bool) -> None:
    assert near_duplicates([PAPER, other]).tolist() == [[0, 1]] * near


@settings(max_examples=60)
@given(seed=st.integers(0, 2**16), count=st.integers(2, 40), flips=st.integers(0, 8))
def test_all_pairs_of_few_bits_are_found(seed: int, count: int, flips: int) -> None:
    """Against the plain way: every hash with every other."""
    chance = np.random.default_rng(seed)
    centre = int(chance.integers(2**63))
    hashes = []
    for _ in range(count):
        bits = chance.choice(64, flips, replace=False)
        hashes.append(centre ^ sum(1 << int(bit) for bit in bits))
    looks = [Look(value.to_bytes(8, "big"), bytes([number % 16]) * 256, b"") for number, value in enumerate(hashes)]
    assert near_duplicates(looks).tolist() == [
        [one, other] for one, other in itertools.combinations(range(count), 2)
        if (hashes[one] ^ hashes[other]).bit_count() <= module._BITS
    ]  # fmt: skip


@pytest.mark.parametrize("color", [None, DRAWN[1]])
def test_a_look_comes_back_from_its_bytes(color: np.ndarray | None) -> None:
    made = look_of(gray_of_equal_lightness(DRAWN[1]), color)
    assert Look.from_bytes(made.to_bytes()) == made
    assert len(made.to_bytes()) == 8 + 256 + (0 if color is None else 192)
