"""Shards of pairs as the generator of `benchmarks.pair_pages` knows them, beside those that a pairing job wrote.

x, y: pixels, pixel centres at halves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import cv2
import numpy as np

from benchmarks.pair_pages import UNLIKE, MadePair, blank
from benchmarks.pair_sets import Known
from benchmarks.pairs import grid
from datasets.page import Page, decode, encode
from datasets.shards import CARD, ShardSet, write_shards
from datasets.storage import open_storage
from imaging.color import F32
from imaging.components import Mask
from imaging.matching import moved
from imaging.registration import common_box
from jobs.parts.dataset.card import card_of
from jobs.parts.runtime.outcome import as_json


def write_true(truth: Mapping[str, Known], out: str) -> None:
    """Write a row for each colour picture that has a page, laid on it as it was made.

    truth: of `benchmarks.pair_sets.write_set`.
    out: URI of the shard folder.
    """
    pairs = [known for known in truth.values() if known.gray is not None]
    pairs.sort(key=lambda known: (str(known.gray), known.size))
    _write((true_pair(known, number) for number, known in enumerate(pairs)), out)


def write_unmasked(paired: ShardSet, out: str) -> None:
    """Write the rows of other shards that have both editions, without their masks."""
    _write((replace(page, mask=None) for page in paired.read("train") if "pairs" in page.kinds), out)


def _write(pages: Iterable[Page], out: str) -> None:
    storage, chapters = open_storage(out), dict[str, None]()

    def noted() -> Iterable[Page]:
        for page in pages:
            chapters[page.chapter] = None
            yield page

    shards = list(write_shards(storage, noted(), "train"))
    count = sum(shard.pages for shard in shards)
    listed = {"train": list(chapters), "holdout": []}
    storage.put(CARD, as_json(card_of({}, shards, listed, paired=count, chroma=(0, 0), colored=count, failures=[])))


def true_pair(known: Known, index: int) -> Page:
    """The row of a colour picture, as jobs/pair.py would write it if it knew all: the common area of the page, the
    picture moved onto it, and a mask of other lettering, of art under blank margins, and of what the picture does not
    reach.
    """
    made = known.made
    assert known.gray is not None
    assert made.color is not None
    assert made.gray is not None
    color, gray = decode(made.color), decode(made.gray)[..., 0]
    points, where = grid(known)
    matrix, _ = cv2.findHomography(points, where)
    left, top, right, bottom = common_box(known.size, (gray.shape[1], gray.shape[0]), matrix)
    at = shown_at(made, matrix, (left, top, right, bottom))
    laid = cv2.remap(color, at - np.float32(0.5), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    page = gray[top:bottom, left:right]
    margin = np.zeros_like(gray)
    blank(margin, made.frame, 255)
    hidden = (margin[top:bottom, left:right] > 0) & (
        np.abs(laid.astype(np.int16) - page[..., None]).max(axis=2) > UNLIKE
    )
    masked: Mask = (made.differs[top:bottom, left:right] > 0) | hidden | ((at < 0) | (at > known.size)).any(axis=-1)
    chapter, _, name = known.gray.partition("/")
    return Page(
        series="true",
        chapter=chapter,
        index=index,
        name=name,
        gray=encode(page, "png"),
        color=encode(laid, "jpeg"),
        gray_from="source",
        width=right - left,
        height=bottom - top,
        split="train",
        source=made.name,
        mask=encode(masked.astype(np.uint8) * 255, "png") if masked.any() else None,
    )


def shown_at(made: MadePair, matrix: np.ndarray, box: tuple[int, int, int, int]) -> F32:
    """Return (h, w, 2) float32, which point of the colour picture a pixel of the gray page shows.

    matrix: (3, 3), about from points of the picture to points of the page.
    box: (left, top, right, bottom) on the page.

    What `made.where` says is off the matrix by is smooth and small, so that it is looked up where the matrix says.
    """
    left, top, right, bottom = box
    rows, columns = made.where.shape[:2]
    x, y = np.meshgrid(np.arange(columns) * made.step + 0.5, np.arange(rows) * made.step + 0.5)
    straight = moved(np.stack([x.ravel(), y.ravel()], axis=1), matrix).reshape(rows, columns, 2)
    off = (made.where - straight).astype(np.float32)
    across, down = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
    page, back = np.stack([across.ravel(), down.ravel()], axis=1), np.linalg.inv(matrix)
    found = moved(page, back)
    for _ in range(2):
        cells = ((found - 0.5) / made.step).astype(np.float32).reshape(bottom - top, right - left, 2)
        move = cv2.remap(off, cells, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        found = moved(page - move.reshape(-1, 2), back)
    return found.astype(np.float32).reshape(bottom - top, right - left, 2)
