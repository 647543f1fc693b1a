"""Tiles: every inked pixel is covered, what is blank is not computed, and blending shows no seam."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.measures import seam_energy
from imaging.crops import MOST_PIXELS, MOST_SHORT, Crop, Rect, blend, dominant, look, map_shape
from imaging.tiles import MOST_TILES, NIGHT, PAPER, cut_squares, cut_tiles

sides = st.integers(1, 700)
shapes = st.one_of(
    st.tuples(sides, sides),
    st.tuples(st.just(1), sides),
    st.tuples(sides, st.just(1)),
    st.tuples(st.just(20_000), sides),
)
tiles = st.tuples(st.floats(1, 400), st.floats(1, 400))
overlaps = st.floats(0, 0.5)


def page(shape: tuple[int, int], level: int = 128) -> np.ndarray:
    return np.full(shape, level, np.uint8)


def covered(crops: list[Crop], shape: tuple[int, int]) -> np.ndarray:
    seen = np.zeros(shape, bool)
    for crop in crops:
        rect = crop.rect.within(shape)
        seen[rect.top : rect.bottom, rect.left : rect.right] = True
    return seen


@given(shapes, tiles, overlaps)
@example((1, 1), (256.0, 256.0), 0.25)
@example((20_000, 1), (1.0, 1.0), 0.5)
@example((1, 4_000_000), (256.0, 256.0), 0.25)
@settings(max_examples=60)
def test_tiles_of_any_page_cover_it_and_are_few(shape, tile, overlap) -> None:
    crops = cut_tiles(page(shape), tile, overlap)

    assert 1 <= len(crops) <= MOST_TILES
    assert covered(crops, shape).all()
    assert all(crop.rect == crop.rect.within(shape) for crop in crops)


@given(shapes, tiles, overlaps)
@settings(max_examples=60)
def test_weights_add_up_to_one_everywhere(shape, tile, overlap) -> None:
    crops = cut_tiles(page(shape), tile, overlap)

    for colors in ((7.0, -60.0), (7.0, -60.0, 50.0)):  # with luminance too
        chroma, _ = blend(crops, np.full((len(crops), 16, 16, len(colors)), colors), shape)
        assert np.abs(chroma - colors).max() < 1e-4


def test_a_place_between_the_pixels_of_the_map_changes_nothing() -> None:
    whole, thin = Crop(Rect(0, 0, 100, 100), ground=True), Crop(Rect(40, 0, 41, 100))
    squares = np.full((2, 16, 16, 3), (7.0, -60.0, 50.0))

    chroma, _ = blend([whole, thin], squares, (100, 100), (4, 4))

    np.testing.assert_allclose(chroma, squares[0, :4, :4], atol=1e-4)


@pytest.mark.parametrize("shape", [(1401, 992), (700, 1000), (513, 511)])
def test_windows_add_up_before_they_are_made_to(shape) -> None:
    """Tiles overlap by as much as their weights take to rise: what one loses the other gains."""
    crops = cut_tiles(page(shape), (300, 300))

    _, weight = blend(crops, np.ones((len(crops), 16, 16, 2)), shape)

    assert np.abs(weight - 1).max() < 1e-3


@given(st.integers(1, 200), st.integers(1, 200), st.floats(2, 100), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_every_inked_pixel_is_covered_and_blank_tiles_are_not_computed(height, width, side, seed) -> None:
    rng = np.random.default_rng(seed)
    gray = page((height, width), 255)
    for _ in range(3):
        gray[rng.integers(height), rng.integers(width)] = rng.integers(NIGHT + 1, PAPER)
    crops = cut_tiles(gray, (side, side))

    assert not ((gray < PAPER) & ~covered(crops, gray.shape)).any()
    shown = [gray[p.rect.top : p.rect.bottom, p.rect.left : p.rect.right] for p in crops]
    assert all(part.min() < PAPER for part in shown)


@pytest.mark.parametrize("level", [255, PAPER, NIGHT, 0])
def test_a_blank_page_has_no_tiles(level) -> None:
    assert cut_tiles(page((300, 200), level), (64, 64)) == []


@pytest.mark.parametrize("level", [PAPER - 1, NIGHT + 1])
def test_a_page_that_can_take_colour_has_tiles(level) -> None:
    assert cut_tiles(page((300, 200), level), (64, 64))


def test_smooth_chroma_comes_back_as_it_was() -> None:
    """Each tile is given its part of one smooth picture: the map is that picture again."""
    shape = (1000, 700)
    crops = cut_tiles(page(shape), (300, 260))
    y, x = np.mgrid[0:1000, 0:700].astype(np.float32) + 0.5
    truth = np.stack([40 * np.sin(x / 90), 40 * np.cos(y / 120)], -1)
    squares = [np.stack([look(truth[..., c], crop.rect, 64) for c in range(2)], -1) for crop in crops]

    chroma, _ = blend(crops, np.stack(squares), shape)

    h, w = chroma.shape[:2]
    y, x = (np.mgrid[0:h, 0:w] + 0.5) * np.array([1000 / h, 700 / w])[:, None, None]
    assert np.abs(chroma - np.stack([40 * np.sin(x / 90), 40 * np.cos(y / 120)], -1)).max() < 1.0


def test_tiles_that_disagree_show_no_seam_and_squares_without_overlap_do() -> None:
    shape = (900, 600)
    rng = np.random.default_rng(0)
    texture = rng.normal(0, 2, (64, 64, 2))

    def seams(crops: list[Crop]) -> float:
        chromas = np.stack([texture + rng.normal(0, 20, 2) for _ in crops])
        chroma, _ = blend(crops, chromas, shape)
        return seam_energy(chroma, dominant(crops, shape, chroma.shape[:2]))

    assert seams(cut_tiles(page(shape), (300, 300), 0.4)) < 1.5
    assert seams(cut_squares(page(shape))) > 4


def test_the_preset_cuts_a_page_of_its_canvas_into_36_squares_of_224() -> None:
    crops = cut_squares(page((1344, 1344)))

    assert len(crops) == 36
    assert {(crop.rect.width, crop.rect.height) for crop in crops} == {(224, 224)}
    assert covered(crops, (1344, 1344)).all()


def test_the_preset_centres_a_page_on_black_and_drops_what_is_all_black() -> None:
    gray = page((448, 224), 200)
    gray[:112] = 0
    crops = cut_squares(gray)

    # The page lies over the middle two of six columns, half of each; its upper quarter is in the square above.
    assert {(crop.rect.left, crop.rect.top) for crop in crops} == {(-112, 0), (112, 0), (-112, 224), (112, 224)}
    seen = look(gray, crops[0].rect, 224)
    assert seen[:, :112].max() == 0
    np.testing.assert_array_equal(seen[112:, 112:], 200)


@given(st.integers(1, 3000), st.integers(1, 3000))
@settings(max_examples=40)
def test_the_preset_covers_pages_of_any_size(height, width) -> None:
    crops = cut_squares(page((height, width)))

    assert len(crops) <= 36
    assert covered(crops, (height, width)).all()


@given(shapes, tiles, st.integers(1, 300))
@settings(max_examples=60)
def test_the_map_is_bounded_and_no_larger_than_the_page(shape, tile, size) -> None:
    h, w = map_shape(cut_tiles(page(shape), tile), size, shape)

    assert 1 <= h <= shape[0]
    assert 1 <= w <= shape[1]
    assert min(h, w) <= MOST_SHORT
    assert h * w <= MOST_PIXELS


def test_the_map_of_a_large_page_is_bounded() -> None:
    shape = (9000, 7000)
    crops = cut_tiles(page(shape), (700, 700))

    assert map_shape(crops, 256, shape) == (676, 512)  # 15 rows and 13 columns of 256 pixels, made to fit


def test_a_square_shows_its_part_of_the_page() -> None:
    gray = page((100, 80), 10)
    gray[20:60, 30:50] = 90

    np.testing.assert_array_equal(look(gray, Rect(30, 20, 50, 60), 20), 90)
