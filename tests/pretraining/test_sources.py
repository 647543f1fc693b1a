"""Which pictures teach and which judge."""

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from pretraining.pack import Pack, gather, write_pack
from pretraining.sources import EDITIONS, SERIES, STORYBOOKS, TURNS, Picture, find_pictures, read_artists, split_of

JUDGES = [f"african-storybook-{n:04}" for n in range(400) if zlib.crc32(f"african-storybook-{n:04}".encode()) % 20 == 3]
NEVER = {(edition, chapter) for edition in EDITIONS for chapter in ("ep10", "ep19", "ep20", "ep21", "ep23")}
NEVER |= {(STORYBOOKS, story) for story in JUDGES}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of all series, a picture to a story."""
    rng = np.random.default_rng(0)
    found = [(edition, f"ep{n:02}") for edition in EDITIONS for n in range(1, 24)]
    found += [(STORYBOOKS, f"african-storybook-{n:04}") for n in range(400)]
    found += [(STORYBOOKS, "book-dash-grandpas-gold"), ("climate-frogs", "webtoon"), ("page-blanche", "ch01")]
    for series, story in found:
        (tmp_path / series / story).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / series / story / "01.jpg"), rng.integers(0, 256, (40, 60, 3), np.uint8))
    return tmp_path


def test_nothing_that_judges_or_is_kept_is_in_the_training(root: Path) -> None:
    taught = {(picture.series, picture.story) for picture, _ in gather(root, {}, "train")}

    assert len(JUDGES) > 10
    assert not taught & NEVER
    assert len(taught) == sum(1 for _ in find_pictures(root)) - len(NEVER) - 1  # a book of Book Dash judges too


def test_what_judges_is_in_the_pack_that_judges_and_what_is_kept_in_none(root: Path) -> None:
    judging = {(picture.series, picture.story) for picture, _ in gather(root, {}, "dev")}

    assert judging >= {(STORYBOOKS, story) for story in JUDGES}
    assert {chapter for series, chapter in judging if series in EDITIONS} - TURNS == {"ep10", "ep19"}


@pytest.mark.parametrize(
    ("series", "story", "split"),
    [
        ("peppercarrot", "ep10", "dev"),
        ("peppercarrot-art", "ep19", "dev"),
        ("peppercarrot-art", "ep23", "kept"),
        ("peppercarrot", "ep01", "train"),
        (STORYBOOKS, "african-storybook-0036", "dev"),
        (STORYBOOKS, "african-storybook-0001", "train"),
        ("climate-frogs", "ep10", "train"),
    ],
)
def test_each_story_is_for_one_thing(series: str, story: str, split: str) -> None:
    assert split_of(series, story) == split


def test_a_missing_series_is_named(tmp_path: Path) -> None:
    (tmp_path / STORYBOOKS).mkdir()
    with pytest.raises(FileNotFoundError, match=SERIES[1]):
        list(find_pictures(tmp_path))


def test_artists_are_read_from_the_table_of_licences() -> None:
    table = "| story | title | illustrators |\n| --- | --- | --- |\n| 0001 | A very tall man | Catherine G. |\n"
    assert read_artists(table) == {"african-storybook-0001": "Catherine G."}


def test_a_pack_gives_back_its_pictures(tmp_path: Path) -> None:
    across, down = np.meshgrid(np.arange(64), np.arange(48))
    rgb = np.stack([4 * across, 5 * down, 128 + 0 * down], axis=-1).astype(np.uint8)
    picture = Picture("climate-frogs", "webtoon", "01.jpg", "somebody")
    write_pack([(picture, rgb), (picture, rgb[::-1])], tmp_path / "pack", quality=95)

    pack = Pack(tmp_path / "pack")
    assert pack.pictures == (picture, picture)
    assert np.abs(pack[0].astype(int) - rgb).mean() < 4
    assert np.abs(pack[1].astype(int) - rgb[::-1]).mean() < 4
