"""Data sets as pix2pix, CycleGAN and pix2pixHD lay them out."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.archive import ChapterRef
from datasets.errors import BadUsageError
from datasets.page import Page
from jobs.parts.dataset.written import Written
from jobs.parts.ingest import shards
from jobs.parts.ingest.config import IngestConfig
from jobs.parts.ingest.pairing import ChapterPlan, Edition
from jobs.parts.ingest.reading import read_chapter
from jobs.parts.ingest.shards import plan


def gray_page(number: int, width: int = 20) -> np.ndarray:
    return np.full((30, width, 3), 10 * number, np.uint8)


def color_page(number: int, width: int = 20) -> np.ndarray:
    return np.full((30, width, 3), (200, 10 * number, 0), np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def rows(root: Path, **options: Any) -> list[Page]:
    written = Written()
    pages = [page for chapter in plan(IngestConfig(color=str(root), out="out", **options))
             for page in read_chapter(chapter, written)]  # fmt: skip
    assert written.failures == []
    return pages


def seen(page: Page) -> tuple[str, str, int | None, tuple[int, ...] | None]:
    """Split, name, level of the gray page, and colour of the colour page."""
    color = page.decode_color()
    return (page.split, page.name, int(page.decode_gray()[0, 0]) if page.gray else None,
            None if color is None else tuple(color[0, 0].tolist()))  # fmt: skip


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_side_by_side(tmp_path: Path, direction: str) -> None:
    for split, number in (("train", 1), ("train", 2), ("val", 3), ("test", 4)):
        sides = [gray_page(number), color_page(number)]
        save(tmp_path / f"set/{split}/{number}.png", np.hstack(sides if direction == "AtoB" else sides[::-1]))
    pages = rows(tmp_path / "set", aligned=direction)
    assert sorted(map(seen, pages), key=str) == [
        ("holdout", "3.png", 30, (200, 30, 0)),
        ("holdout", "4.png", 40, (200, 40, 0)),
        ("train", "1.png", 10, (200, 10, 0)),
        ("train", "2.png", 20, (200, 20, 0)),
    ]
    assert {(page.width, page.height, page.gray_from) for page in pages} == {(20, 30, "source")}


def test_the_middle_of_an_odd_picture_goes_to_the_right(tmp_path: Path) -> None:
    save(tmp_path / "set/1.png", np.hstack([gray_page(1, 20), color_page(1, 21)]))
    (page,) = rows(tmp_path / "set", aligned="AtoB")
    sizes = [Image.open(io.BytesIO(data or b"")).size for data in (page.gray, page.color)]
    assert sizes == [(20, 30), (21, 30)]
    color = page.decode_color()
    assert color is not None
    assert (color == (200, 10, 0)).all()


def in_folders(root: Path, joint: str) -> Path:
    """Sides whose pages have the same file names, but for one of each."""
    for split in ("train", "test"):
        for number in (1, 2):
            save(root / f"{split}{joint}A/{number}.png", gray_page(number))
            save(root / f"{split}{joint}B/{number + (number == 2)}.png", color_page(number))
    return root


def test_folders_of_cyclegan_hold_no_pairs(tmp_path: Path) -> None:
    pages = rows(in_folders(tmp_path / "set", ""), aligned="AtoB", gray_from="none")
    assert sorted(map(seen, pages), key=str) == sorted(
        [
            (split, *page)
            for split in ("train", "holdout")
            for page in (("1.png", 10, None), ("2.png", 20, None), ("1.png", None, (200, 10, 0)),
                         ("3.png", None, (200, 20, 0)))
        ], key=str,
    )  # fmt: skip
    assert sorted(page.kinds for page in pages) == [("color",)] * 4 + [("ink",)] * 4
    swapped = rows(tmp_path / "set", aligned="BtoA")
    assert {page.chapter for page in swapped if page.color} == {"trainA", "testA"}


def test_folders_of_pix2pixhd_hold_pairs_by_name(tmp_path: Path) -> None:
    pages = rows(in_folders(tmp_path / "set", "_"), aligned="AtoB")
    assert sorted((page.split, *page.kinds) for page in pages if page.gray and page.color) == [
        ("holdout", "ink", "color", "pairs"), ("train", "ink", "color", "pairs"),
    ]  # fmt: skip
    assert len(pages) == 6


def test_holdout_that_is_asked_for_goes_before_the_folders(tmp_path: Path) -> None:
    in_folders(tmp_path / "set", "_")
    pages = rows(tmp_path / "set", aligned="AtoB", holdout="train_B")
    assert {(page.chapter, page.split) for page in pages} == {("train_B", "holdout"), ("test_B", "train")}


def test_sides_without_a_word_on_which_is_gray(tmp_path: Path) -> None:
    in_folders(tmp_path / "set", "")
    with pytest.raises(BadUsageError, match=r"testA and testB and trainA and trainB.*--aligned AtoB \(A is\)"):
        rows(tmp_path / "set")


@pytest.mark.parametrize("folders", [["trainA", "trainB", "more"], ["trainA", "testA"]])
def test_what_is_no_such_data_set(tmp_path: Path, folders: list[str]) -> None:
    for folder in folders:
        save(tmp_path / "set" / folder / "1.png", gray_page(1))
    with pytest.raises(BadUsageError, match=r"--aligned holds .*trainA.*: give a folder"):
        rows(tmp_path / "set", aligned="AtoB")


def test_aligned_is_of_one_source() -> None:
    for options in ({"gray": "in"}, {"color": "in", "gray": "in"}):
        with pytest.raises(BadUsageError, match=r"--aligned.*leave --gray out"):
            IngestConfig(out="out", aligned="AtoB", **options)  # type: ignore[arg-type]


def test_plans_of_the_version_before_are_known_by_the_same_digest() -> None:
    ref = ChapterRef("/in", "s/ch1.cbz", "ch1", "zip", 7, "v")
    plans = [ChapterPlan("s/ch1", "s", "train", "lightness", Edition(ref), Edition(ref, "1"))]
    assert shards.plan_digest(plans) == "1bb7a0a96daea5be2d001ae95c152b231b8af99578f245655a581d7b90854641"
    halved = [ChapterPlan("s/ch1", "s", "train", "lightness", Edition(ref, half="left"), Edition(ref, "1"))]
    assert shards.plan_digest(halved) != shards.plan_digest(plans)
