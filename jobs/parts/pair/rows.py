"""The rows of the shards: pairs laid on one another, and the pictures of either edition that have no partner."""

import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from PIL import Image

from datasets.archive import ChapterRef
from datasets.chapters import Member
from datasets.errors import Code, MangahueError, PageUnreadableError
from datasets.page import Page, decode, decode_plain, encode, gray_of
from datasets.shards import write_shards
from datasets.storage import open_storage
from imaging.color import U8
from imaging.registration import register
from jobs.parts.dataset.facts import PageFacts, facts_of, preview_of
from jobs.parts.dataset.written import Written
from jobs.parts.pair.page_features import HOME
from jobs.parts.pair.pictures import POLICY, digest_of, fetched
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.outcome import as_json
from jobs.parts.runtime.sandbox import sandbox
from jobs.parts.source.failure import Failure

_MADE = "rows 2"  # raised where the same pictures give other rows
_PREVIEWS = 8  # of a task's rows; up to twice as many are kept
_LONGEST = 65_500  # pixels of a side: libjpeg's own limit
Source = tuple[ChapterRef, Member]


@dataclass(frozen=True)
class RowPlan:
    """A row to be written.

    gray: the page; None where the colour picture has none.
    color: the picture; None where the page has none.
    homography: from the picture to the page, as rows of numbers; empty where one of the two is missing.
    index: of the row in its chapter.
    """

    series: str
    chapter: str
    index: int
    name: str
    gray: Source | None
    color: Source | None
    homography: tuple[tuple[float, ...], ...] = ()

    @property
    def sources(self) -> list[Source]:
        """The pictures that it is made of, the colour picture first."""
        return [source for source in (self.color, self.gray) if source is not None]

    @property
    def uri(self) -> str:
        """Where the first of them lies."""
        ref, member = self.sources[0]
        return f"{ref.uri}/{member.name}"


@dataclass(frozen=True)
class ShardTask:
    """Rows that are written together.

    out: URI of the shard folder.
    split: "train" or "holdout".
    """

    out: str
    split: str
    rows: tuple[RowPlan, ...]


@dataclass(frozen=True)
class MadeRow:
    """A row of the shards, its facts, and its preview as JPEG."""

    page: Page
    facts: PageFacts
    preview: bytes


def write_rows(task: ShardTask) -> Written:
    """Write the rows of a task, unless its shards are there already."""
    storage = open_storage(task.out)
    key = f"{HOME}/written/{digest_of([_MADE, task.split, [asdict(row) for row in task.rows]])}.json"
    if kept := read_json(storage, key):
        written = Written.of(kept)
        if all(storage.stat(shard.key) is not None for shard in written.shards):
            return written
    written = Written()
    written.shards += write_shards(storage, _pages(task, written), task.split)
    if not written.unfinished:
        storage.put(key, as_json(asdict(written)))
    return written


def _pages(task: ShardTask, written: Written) -> Iterator[Page]:
    for row in task.rows:
        try:
            pictures = [None if source is None else fetched(*source) for source in (row.gray, row.color)]
            made = sandbox().call(make_row, row, *pictures, task.split, seconds=POLICY.limits.seconds)
        except MangahueError as error:
            written.fail(Failure.of(row.uri, error, fetching=True))
            continue
        written.note(made.facts)
        written.show(made.facts, partial(getattr, made, "preview"), _PREVIEWS)
        yield made.page


def make_row(row: RowPlan, gray: bytes | None, color: bytes | None, split: str) -> MadeRow:
    """Make a row of its encoded pictures, and lay the one on the other. Raises PageUnreadableError."""
    mask: bytes | None = None
    pixels: tuple[U8 | None, U8 | None]
    if gray is not None and color is not None:
        gray, color, mask, pixels = lay(gray, color, np.array(row.homography, np.float64))
    else:
        pixels = (None if gray is None else gray_of(decode_plain(gray)), None if color is None else decode(color))
    first = pixels[1] if pixels[0] is None else pixels[0]
    assert first is not None  # a row has a picture
    page = Page(
        series=row.series,
        chapter=row.chapter,
        index=row.index,
        name=row.name,
        gray=gray,
        color=color,
        gray_from="none" if gray is None else "source",
        width=first.shape[1],
        height=first.shape[0],
        split=split,
        source=row.uri,
        mask=mask,
    )
    return MadeRow(page, facts_of(page, *pixels), preview_of(page, *pixels))


def lay(gray: bytes, color: bytes, homography: np.ndarray) -> tuple[bytes, bytes, bytes | None, tuple[U8, U8]]:
    """Lay a colour picture on its page. Returns page, picture and mask, encoded; and the pixels of the first two.

    The page's bytes are as they came where all of it is covered, else a PNG of the common area. The mask is a PNG of
    one bit; None where nothing is masked. Raises PageUnreadableError.
    """
    page = gray_of(decode_plain(gray))
    found = register(decode(color), page, homography)
    if found is None:
        raise PageUnreadableError(Code.NOT_IMAGE, "the picture and its page have hardly a pixel in common")
    left, top, right, bottom = found.box
    common = page[top:bottom, left:right]
    if common.shape != page.shape:
        gray = _png(common)
    mask = _png(found.masked) if found.masked.any() else None
    return gray, _encoded(found.color), mask, (common, found.color)


def _encoded(color: U8) -> bytes:
    return encode(color, "jpeg" if max(color.shape) <= _LONGEST else "png")


def _png(levels: np.ndarray) -> bytes:
    """Levels, or a mask as one bit."""
    out = io.BytesIO()
    Image.fromarray(levels).save(out, "PNG")
    return out.getvalue()
