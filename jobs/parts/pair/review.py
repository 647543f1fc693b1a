"""The page on which people decide about pairs that are not sure: what lies on what, and two keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from datasets.errors import MangahueError
from datasets.page import decode, decode_plain, encode, gray_of
from datasets.storage import Storage, open_storage
from imaging.registration import register
from jobs.parts.pair.pictures import POLICY, fetched
from jobs.parts.pair.rows import RowPlan
from jobs.parts.pair.runners import Runner
from jobs.parts.report.render import render
from jobs.parts.runtime.sandbox import sandbox
from jobs.parts.source.failure import Failure

PAGE = "review.html"
_TEMPLATE = Path(__file__).with_name("review.html.j2")
_SIDE = 900  # pixels of a picture's longer side, at most


@dataclass(frozen=True)
class Doubt:
    """A pair to be decided.

    id: by `decisions.pair_id`.
    color, gray: names of the picture and the page.
    confidence: of the match.
    why: what speaks for it, in words.
    row: how the two are laid on one another.
    """

    id: str
    color: str
    gray: str
    confidence: float
    why: str
    row: RowPlan


@dataclass(frozen=True)
class ShownDoubt:
    """The same with its pictures, relative to the page."""

    doubt: Doubt
    width: int
    height: int

    def picture(self, side: str) -> str:
        """The path of a picture: of "gray", "color" or "both"."""
        return f"pictures/{self.doubt.id}-{side}.jpg"


def publish_review(runner: Runner, uri: str, doubts: Sequence[Doubt], taken: int) -> list[Failure]:
    """Write the page and its pictures. Returns what could not be read.

    uri: of --review.
    taken: pairs that need no review.
    """
    failures, shown = [], []
    for doubt, made in zip(doubts, runner.map(partial(draw, uri=uri), doubts), strict=True):
        if isinstance(made, Failure):
            failures.append(made)
        else:
            shown.append(ShownDoubt(doubt, *made))
    html = render_review(shown, taken)
    _put(open_storage(uri), PAGE, html.encode("utf-8"), "text/html; charset=utf-8")
    return failures


def render_review(shown: Sequence[ShownDoubt], taken: int) -> str:
    """The page as HTML, to be written as UTF-8."""
    summary = {"To decide": str(len(shown)), "Pairs that are sure": str(taken)}
    return render(_TEMPLATE, title="Are these pairs?", summary=summary, doubts=shown, settings={})


def draw(doubt: Doubt, *, uri: str) -> "tuple[int, int] | Failure":
    """Write the pictures of a pair to be decided. Returns their width and height, or why there are none."""
    assert doubt.row.gray is not None
    assert doubt.row.color is not None
    try:
        gray, color = fetched(*doubt.row.gray), fetched(*doubt.row.color)
        matrix = np.array(doubt.row.homography, np.float64)
        pictures, size = sandbox().call(overlays, gray, color, matrix, seconds=POLICY.limits.seconds)
    except MangahueError as error:
        return Failure.of(doubt.row.uri, error, fetching=True)
    storage = open_storage(uri)
    for side, data in pictures.items():
        _put(storage, f"pictures/{doubt.id}-{side}.jpg", data, "image/jpeg")
    return size


def _put(storage: Storage, key: str, data: bytes, content_type: str) -> None:
    storage.put(key, data, content_type=content_type)


def overlays(gray: bytes, color: bytes, homography: np.ndarray) -> tuple[dict[str, bytes], tuple[int, int]]:
    """The common area of a page and a picture as JPEGs, by name, and their (width, height).

    "both" has the page's ink in red over the picture's in blue: where they agree it is dark. Raises
    PageUnreadableError.
    """
    page, picture = gray_of(decode_plain(gray)), decode(color)
    found = register(picture, page, homography)
    assert found is not None  # a match has a common area
    left, top, right, bottom = found.box
    scale = min(1.0, _SIDE / max(found.color.shape))
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    ink, laid = (
        cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in (page[top:bottom, left:right], found.color)
    )
    other = gray_of(laid)
    both = np.stack([other, np.minimum(ink, other), ink], axis=-1)
    shown = {"gray": np.repeat(ink[..., None], 3, axis=2), "color": laid, "both": both}
    return {name: encode(one, "jpeg") for name, one in shown.items()}, size
