"""Examples made of a pack."""

from collections import Counter
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from imaging.color import U8, luma, to_lab
from pretraining.composed import compose_page
from pretraining.examples import Sampler, draw_batch, draw_group
from pretraining.generated import draw_dyes
from pretraining.gray import _KINDS, Printing, print_page
from pretraining.pack import GENERATED, Pack, write_pack
from pretraining.sources import STORYBOOKS, Picture

SIDE, GROUP = 64, 4
RED, BLUE = (200, 40, 30), (30, 40, 200)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Twelve pictures of one artist's two stories, seven of another's, six generated, each of one colour."""
    pictures = []
    for series, story, artist, count in (
        (STORYBOOKS, "one", "A", 6),
        (STORYBOOKS, "two", "A", 6),
        (STORYBOOKS, "three", "B", 7),
        (STORYBOOKS, "short", "C", 3),
        (GENERATED, "cast00", GENERATED, 6),
    ):
        for number in range(count):
            rgb = np.empty((96, 128, 3), np.uint8)
            rgb[:] = RED if story == "three" else BLUE
            pictures.append((Picture(series, story, f"{number:02}.jpg", artist), rgb))
    path = tmp_path_factory.mktemp("pack") / "pack"
    write_pack(pictures, path, quality=95)
    return Pack(path)


def test_no_picture_is_on_two_pages_of_a_group(pack: Pack) -> None:
    sampler = Sampler(pack, GROUP)
    for seed in range(40):
        numbers = [
            number for page in draw_group(pack, sampler, SIDE, np.random.default_rng(seed)) for number in page.numbers
        ]
        assert len(numbers) == len(set(numbers))
        assert len({pack.pictures[number].story for number in numbers}) == 1


def test_artists_of_many_pictures_and_of_few_all_have_a_turn(pack: Pack) -> None:
    sampler = Sampler(pack, GROUP)
    rng = np.random.default_rng(0)
    drawn = [pack.pictures[sampler.draw(rng)[1][0][0]] for _ in range(400)]
    counts = Counter(picture.artist for picture in drawn)
    shares = {artist: count / len(drawn) for artist, count in counts.items()}

    assert {picture.story for picture in drawn} == {"one", "two", "three", "cast00"}  # a short one makes no group
    assert shares["A"] < 1.6 * shares["B"]  # of its pictures it has 1.7 times as many
    assert 0.1 < shares[GENERATED] < 0.25


def test_a_batch_depends_on_its_seed_and_number_alone(pack: Pack) -> None:
    one, same, other = (draw_batch(pack, Sampler(pack, GROUP), 8, (SIDE,), 1, number) for number in (5, 5, 6))

    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["gray"], other["gray"])
    assert one["gray"].shape == (8, 1, SIDE, SIDE)
    assert one["group"].tolist() == [0] * 4 + [4] * 4


def test_colours_are_those_of_the_pictures(pack: Pack) -> None:
    true = {tuple(np.round(to_lab(np.array([[color]], np.uint8))[0, 0, 1:]).astype(int)) for color in (RED, BLUE)}
    batch = draw_batch(pack, Sampler(pack, GROUP), 16, (SIDE,), 3, 0)
    ab = batch["ab"].flatten(2).float()
    colored = torch.linalg.vector_norm(ab, dim=1) > 40
    of_pages = [
        tuple(page[:, mask].median(dim=1).values.int().tolist()) for page, mask in zip(ab, colored, strict=True)
    ]
    assert all(min(max(abs(a - x), abs(b - y)) for x, y in true) <= 4 for a, b in of_pages)


@pytest.mark.parametrize("kind", _KINDS)
def test_ink_is_made_in_each_way_and_shows_the_page(kind: str) -> None:
    page = scene(lambda x, y: x > 100)
    printing = Printing(kind, (0.6, 0.3, 0.1), 1.2, 10, 240, 0.3, 20, 1.0, 85)
    gray = print_page(page, printing, np.random.default_rng(0))

    assert gray.shape == page.shape[:2]
    assert np.corrcoef(cv2.blur(gray, (5, 5)).ravel(), luma(page).ravel())[0, 1] > (0.3 if kind == "outlined" else 0.6)


def test_a_composed_page_has_panels_of_its_scenes_between_white() -> None:
    red, blue = (np.full((120, 160, 3), color, np.uint8) for color in (RED, BLUE))
    page = compose_page([red, blue], np.random.default_rng(4)).astype(int)

    shares = [(np.abs(page - color).max(axis=-1) < 3).mean() for color in (RED, BLUE, (255, 255, 255))]
    assert min(shares) > 0.08


def test_casts_differ_in_skin_and_hair() -> None:
    casts = [draw_dyes(np.random.default_rng([1, cast])) for cast in range(14)]
    lightness = [[list(cast.values())[number].lightness for cast in casts] for number in (0, 2)]
    assert all(max(values) - min(values) > 40 for values in lightness)


def scene(inside: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> U8:
    across, down = np.meshgrid(np.arange(240), np.arange(320))
    return np.where(inside(across, down)[..., None], (240, 220, 200), (60, 30, 90)).astype(np.uint8)
