"""The rows of the shards: pairs laid on one another, and the pictures of either edition that have no partner."""

import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
from PIL import Image

from datasets.archive import ChapterRef
from datasets.chapters import Member
from datasets.errors import Code, MangahueError, PageUnreadableError
from datasets.page import Page, decode, decode_plain, encode, gray_of
from datasets.shards import Shard, write_shards
from datasets.storage import open_storage
from imaging.color import U8
from imaging.registration import register
from jobs.parts.dataset.facts import mean_chroma
from jobs.parts.pair.page_features import HOME
from jobs.parts.pair.pictures import POLICY, digest_of, fetched
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.outcome import as_json
from jobs.parts.runtime.sandbox import sandbox
from jobs.parts.source.failure import Failure

_MADE = "rows 1"  # raised where the same pictures give other rows
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


@dataclass
class Written:
    """What a task, or the whole job, has written.

    chroma: sums of the mean a and b of `colored` training pages.
    paired: rows that have both editions.
    """

    shards: list[Shard] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    chroma: list[float] = field(default_factory=lambda: [0.0, 0.0])
    colored: int = 0
    paired: int = 0

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Written":
        """Make one of what `asdict` has made of it."""
        shards = [Shard(**shard) for shard in values["shards"]]
        return cls(**{**values, "shards": shards, "failures": [Failure(**failure) for failure in values["failures"]]})

    def add(self, other: "Written") -> None:
        """Count what another task has written."""
        self.shards += other.shards
        self.failures += other.failures
        self.chroma = [mine + theirs for mine, theirs in zip(self.chroma, other.chroma, strict=True)]
        self.colored += other.colored
        self.paired += other.paired


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
    if all(failure.final for failure in written.failures):
        storage.put(key, as_json(asdict(written)))
    return written


def _pages(task: ShardTask, written: Written) -> Iterator[Page]:
    for row in task.rows:
        try:
            page = make_page(row, task.split)
        except MangahueError as error:
            written.failures.append(Failure.of(row.uri, error, fetching=True))
            continue
        written.paired += page.gray is not None and page.color is not None
        if task.split == "train" and page.color is not None:
            small = cv2.resize(sandbox().call(decode, page.color, 64, seconds=POLICY.limits.seconds), (64, 64),
                               interpolation=cv2.INTER_AREA)  # fmt: skip
            written.chroma = [so_far + mean for so_far, mean in zip(written.chroma, mean_chroma(small), strict=True)]
            written.colored += 1
        yield page


def make_page(row: RowPlan, split: str) -> Page:
    """Read the pictures of a row, and lay the one on the other. Raises MangahueError where they can't be had."""
    gray, color = (None if source is None else fetched(*source) for source in (row.gray, row.color))
    mask = None
    if gray is not None and color is not None:
        matrix = np.array(row.homography, np.float64)
        gray, color, mask, size = sandbox().call(lay, gray, color, matrix, seconds=POLICY.limits.seconds)
    else:
        size = sandbox().call(size_of, gray or color or b"", seconds=POLICY.limits.seconds)
    return Page(
        series=row.series,
        chapter=row.chapter,
        index=row.index,
        name=row.name,
        gray=gray,
        color=color,
        gray_from="none" if gray is None else "source",
        width=size[0],
        height=size[1],
        split=split,
        source=row.uri,
        mask=mask,
    )


def size_of(data: bytes) -> tuple[int, int]:
    """The (width, height) of an encoded picture. Raises PageUnreadableError."""
    height, width = decode_plain(data).shape[:2]
    return width, height


def lay(gray: bytes, color: bytes, homography: np.ndarray) -> tuple[bytes, bytes, bytes | None, tuple[int, int]]:
    """Lay a colour picture on its page. Returns page, picture and mask, encoded, and their (width, height).

    The page's bytes are as they came where all of it is covered, else a PNG of the common area. The mask is a PNG of
    one bit; None where nothing is masked. Raises PageUnreadableError.
    """
    page = gray_of(decode_plain(gray))
    found = register(decode(color), page, homography)
    if found is None:
        raise PageUnreadableError(Code.NOT_IMAGE, "the picture and its page have hardly a pixel in common")
    left, top, right, bottom = found.box
    if found.box != (0, 0, page.shape[1], page.shape[0]):
        gray = _png(page[top:bottom, left:right])
    mask = _png(found.masked) if found.masked.any() else None
    return gray, _encoded(found.color), mask, (right - left, bottom - top)


def _encoded(color: U8) -> bytes:
    return encode(color, "jpeg" if max(color.shape) <= _LONGEST else "png")


def _png(levels: np.ndarray) -> bytes:
    """Levels, or a mask as one bit."""
    out = io.BytesIO()
    Image.fromarray(levels).save(out, "PNG")
    return out.getvalue()
