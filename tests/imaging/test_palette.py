"""A palette holds the drawn colours, is edited by hand, and pulls drifted pages back; unknown colours stay."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.palette import Color, Palette, build_palette, lock, lock_and_tell

# Gray level and true ab of what is on the pages.
THINGS = {"paper": (250, (0, 0)), "skin": (190, (18, 25)), "coat": (90, (-30, 25)), "sky": (170, (-15, -35))}
SIDE = 64


def page(
    turn: float = 0.0, shift: tuple[float, float] = (0, 0), seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw patches: gray, chroma turned by degrees and shifted, and the number of the thing at each pixel."""
    rng = np.random.default_rng(seed)
    thing = np.repeat(np.repeat(rng.permutation(np.arange(16) % 4).reshape(4, 4), 16, axis=0), 16, axis=1)
    gray = np.array([level for level, _ in THINGS.values()], np.uint8)[thing]
    chroma = np.array([ab for _, ab in THINGS.values()], np.float32)[thing] + rng.normal(0, 0.5, (SIDE, SIDE, 2))
    angle = np.radians(turn)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return gray, (chroma @ rotation + shift).astype(np.float32), thing


def nearest(palette: Palette, name: str) -> Color:
    level_ab = THINGS[name][1]
    return min(palette.colors, key=lambda color: np.hypot(*np.subtract(color.centre[1:3], level_ab)))


def off(chroma: np.ndarray, thing: np.ndarray) -> float:
    """Return the mean distance from the true colours, in ab."""
    truth = np.array([ab for _, ab in THINGS.values()], np.float32)[thing]
    return float(np.hypot(*np.moveaxis(chroma - truth, -1, 0)).mean())


@pytest.fixture(scope="module")
def palette() -> Palette:
    return build_palette([page(seed=seed)[:2] for seed in range(3)], colors=8)


def test_each_drawn_colour_is_in_the_palette(palette: Palette) -> None:
    for name, (_, ab) in THINGS.items():
        assert nearest(palette, name).ab == pytest.approx(ab, abs=1)
    assert sum(color.weight for color in palette.colors) == pytest.approx(1, abs=1e-3)
    assert len({color.name for color in palette.colors}) == len(palette.colors) <= 8
    assert "orange" in nearest(palette, "skin").name
    assert "blue" in nearest(palette, "sky").name
    assert "gray" in nearest(palette, "paper").name


def test_the_same_pages_give_the_same_palette(palette: Palette) -> None:
    assert build_palette([page(seed=seed)[:2] for seed in range(3)], colors=8) == palette


@pytest.mark.parametrize("turn", [-25.0, 20.0, 0.0])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (6.0, -5.0)])
def test_a_page_that_drifts_is_pulled_back(palette: Palette, turn: float, shift: tuple[float, float]) -> None:
    gray, chroma, thing = page(turn, shift, seed=9)
    before = off(chroma, thing)
    assert off(lock(gray, chroma, palette, 1.0), thing) < max(0.15 * before, 1)
    half = off(lock(gray, chroma, palette, 0.5), thing)
    assert half == pytest.approx(before / 2, rel=0.15, abs=1)


def test_one_thing_that_drifts_alone_is_pulled_back(palette: Palette) -> None:
    gray, chroma, thing = page(seed=9)
    chroma[thing == 1] += (-9, 9)
    made = lock(gray, chroma, palette, 1.0)
    assert np.abs(made[thing == 1].mean(axis=0) - THINGS["skin"][1]).max() < 2.5
    assert np.abs(made[thing == 3].mean(axis=0) - THINGS["sky"][1]).max() < 2.5


def test_shades_within_a_colour_are_kept(palette: Palette) -> None:
    gray, chroma, thing = page(seed=9)
    chroma[thing == 2] += np.linspace(-3, 3, (thing == 2).sum())[:, None]
    made = lock(gray, chroma, palette, 1.0)
    assert made[thing == 2].std(axis=0) == pytest.approx(chroma[thing == 2].std(axis=0), rel=0.3)


def test_a_colour_unlike_all_of_the_palette_stays(palette: Palette) -> None:
    gray, chroma, _ = page(seed=9)
    chroma[:16, :16] = (80, 70)
    assert np.abs(lock(gray, chroma, palette, 1.0)[4:12, 4:12] - chroma[4:12, 4:12]).max() < 1e-4


def test_editing_one_colour_changes_only_its_pixels(palette: Palette) -> None:
    gray, chroma, thing = page(seed=9)
    before = lock(gray, chroma, palette, 1.0)
    edited = palette
    for color in palette.colors:
        if np.hypot(*np.subtract(color.centre[1:3], THINGS["coat"][1])) < 5:
            edited = edited.edited(color.name, (40.0, 10.0))
    assert edited != palette
    after = lock(gray, chroma, edited, 1.0)
    assert (after[thing != 2] == before[thing != 2]).all()
    assert np.abs(after[thing == 2].mean(axis=0) - (40, 10)).max() < 2


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(2, 24), st.floats(0.05, 1))
@settings(max_examples=60)
def test_a_page_is_the_same_bit_for_bit_unless_it_uses_a_colour_that_was_edited(
    seed: int, things: int, colors: int, strength: float
) -> None:
    rng = np.random.default_rng(seed)
    known = build_palette([page(seed=seed % 7)[:2], scattered(rng, 8)], colors)
    gray, chroma = scattered(rng, things)
    made, used = lock_and_tell(gray, chroma, known, strength)
    for number, color in enumerate(known.colors):
        edited = known.edited(color.name, tuple(rng.uniform(-90, 90, 2)))
        again, of_edited = lock_and_tell(gray, chroma, edited, strength)
        assert set(of_edited) == set(used)
        if number not in used:
            np.testing.assert_array_equal(again, made)
        elif used[number].share > 1e-3:
            assert (again != made).any()
    assert all(0 <= use.share <= 1 for use in used.values())


def scattered(rng: np.random.Generator, things: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw areas of some colours, some of them large and some of a few pixels."""
    thing = np.zeros((SIDE, SIDE), int)
    for number in range(things):
        top, left = rng.integers(0, SIDE, 2)
        thing[top : top + rng.integers(1, SIDE), left : left + rng.integers(1, SIDE)] = number
    gray = rng.integers(0, 256, things).astype(np.uint8)[thing]
    return gray, (rng.uniform(-60, 60, (things, 2))[thing] + rng.normal(0, 2, (SIDE, SIDE, 2))).astype(np.float32)


def test_few_pixels_use_no_colour(palette: Palette) -> None:
    gray, chroma, thing = page(seed=9)
    coats = {k for k, c in enumerate(palette.colors) if np.hypot(*np.subtract(c.centre[1:3], THINGS["coat"][1])) < 5}
    assert coats & set(lock_and_tell(gray, chroma, palette)[1])
    gray[thing == 2], chroma[thing == 2] = THINGS["paper"][0], 0
    gray[0, :9], chroma[0, :9] = THINGS["coat"]  # 9 pixels of 4096
    assert not coats & set(lock_and_tell(gray, chroma, palette)[1])


def test_what_a_colour_was_and_became_is_told(palette: Palette) -> None:
    gray, chroma, thing = page(shift=(6, -5), seed=9)
    made, used = lock_and_tell(gray, chroma, palette, 1.0)
    skies = [(k, use) for k, use in used.items() if palette.colors[k].ab[1] < -25]
    (use,) = [use for k, use in skies if palette.colors[k] == nearest(palette, "sky")]
    assert use.before == pytest.approx(chroma[thing == 3].mean(axis=0), abs=2)
    assert use.after == pytest.approx(made[thing == 3].mean(axis=0), abs=2)
    assert sum(use.share for _, use in skies) == pytest.approx((thing == 3).mean(), abs=0.05)


def test_no_strength_or_no_colours_change_nothing(palette: Palette) -> None:
    gray, chroma, _ = page(20)
    assert (lock(gray, chroma, palette, 0.0) == chroma).all()
    assert (lock(gray, chroma, Palette(()), 1.0) == chroma).all()


def test_rounds_gather_the_colours_of_a_network_that_drifts() -> None:
    turns = [-20.0, -10.0, 0.0, 10.0, 20.0]
    pages = [page(turn, seed=seed) for seed, turn in enumerate(turns)]
    spread = []
    for rounds in (1, 8):
        made = build_palette([(gray, chroma) for gray, chroma, _ in pages], colors=6, rounds=rounds)
        coats = [lock(gray, chroma, made, 1.0)[thing == 2].mean(axis=0) for gray, chroma, thing in pages]
        spread.append(float(np.std(coats, axis=0).max()))
    before = np.std([chroma[thing == 2].mean(axis=0) for _, chroma, thing in pages], axis=0).max()
    assert spread[0] > 0.5 * before  # each page has found its own coat
    assert spread[1] < 0.1 * before


def test_a_palette_goes_through_json(palette: Palette) -> None:
    assert Palette.from_dict(json.loads(json.dumps(palette.to_dict()))) == palette
    with pytest.raises(KeyError, match="no colour 'hat'"):
        palette.edited("hat", (0, 0))


@pytest.mark.parametrize(
    "broken",
    [{"ab": [1]}, {"ab": "red"}, {"centre": [1, 2, 3]}, {"ab": [1, float("nan")]}, {"weight": -1}, {"centre": None}],
)
def test_a_colour_that_is_broken_by_hand_is_named(broken: dict) -> None:
    good = {"name": "hat", "ab": [1, 2], "centre": [50, 1, 2, 0.5], "weight": 0.5}
    assert Palette.from_dict({"colors": [good]}).colors[0].ab == (1, 2)
    with pytest.raises(ValueError, match="hat"):
        Palette.from_dict({"colors": [good | broken]})


def test_a_palette_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one page"):
        build_palette([])


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_any_page_keeps_its_size_and_stays_finite(
    height: int, width: int, colors: int, strength: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    gray = rng.integers(0, 256, (height, width), dtype=np.uint8)
    chroma = rng.uniform(-90, 90, (height, width, 2)).astype(np.float32)
    palette = build_palette([(gray, chroma)], colors)
    assert 1 <= len(palette.colors) <= colors
    made = lock(gray, chroma, palette, strength)
    assert made.shape == chroma.shape
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
