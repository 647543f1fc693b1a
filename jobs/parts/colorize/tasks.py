"""What travels through a colouring job: chapters to do, and chunks of them.

A chunk is some neighbouring members of one chapter; a row of Ray Data holds one, pickled. S: side of the square the
network sees, pixels.
"""

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datasets.archive import ChapterRef
from datasets.chapters import Member
from imaging.color import U8
from imaging.crops import Crop
from imaging.hints import Hint
from jobs.parts.colorize.hints import ChapterHints
from jobs.parts.ledger.manifest import Manifest, PageRecord
from jobs.parts.source.policy import Policy

CHUNK_MEMBERS = 32
CHUNK_BYTES = 32 * 2**20


@dataclass(frozen=True)
class ChapterTask:
    """A chapter to colour. output: its key in the output. replace: it overwrites what an older source, other weights or
    another palette left at its key. hints: for its pages. sample: the report shows a page of it."""

    ref: ChapterRef
    output: str
    replace: bool
    policy: Policy = field(default_factory=Policy)
    hints: ChapterHints = field(default_factory=ChapterHints)
    sample: bool = False

    def hints_of(self, member: Member) -> tuple[Hint, ...]:
        """The hints for a page, told by its name in the source or in the output."""
        return self.hints.by_page.get(member.original) or self.hints.by_page.get(member.name, ())


@dataclass
class PageTask:
    """A member of a chapter on its way, most often a page.

    kept_name, coloured_name: one is its name in the output.
    data: its bytes as they came, None until they are fetched; of a page that stays, those of the output.
    grays, crops, shape: what the network is shown of a page to colour (see page_steps.Seen).
    hints: those of the page.
    chroma: (h, w, 2) ab once it is predicted.
    whole_page_chroma: (S, S, 2), what the network said of the page as a whole where it was shown in parts too. Both
        have L as a third channel where the page is to have the network's luminance.
    width, height: pixels, 0 where not known.
    action, code, message, colors, preview: as in ledger.PageRecord.
    published: its record if it stays as it was published.
    """

    member: Member
    kept_name: str
    coloured_name: str
    data: bytes | None = None
    grays: U8 | None = None
    crops: tuple[Crop, ...] = ()
    shape: tuple[int, int] = (0, 0)
    hints: tuple[Hint, ...] = ()
    chroma: np.ndarray | None = None
    whole_page_chroma: np.ndarray | None = None
    width: int = 0
    height: int = 0
    action: str = "kept"
    code: str = ""
    message: str = ""
    colors: dict[str, list[float]] = field(default_factory=dict)
    published: PageRecord | None = None
    preview: str = ""

    def flag(self, code: str, message: str) -> None:
        """Leave it as it is, and say why."""
        self.action, self.code, self.message = "flagged", code, message
        self.grays = self.chroma = self.whole_page_chroma = None


@dataclass
class Chunk:
    """A row of the pipeline. number: 0-based, of `of`. outcome: set once there is nothing left to compute for it.

    warnings, damage: of the whole chapter, told by its first chunk.
    """

    task: ChapterTask
    number: int = 0
    of: int = 1
    pages: list[PageTask] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    damage: str = ""
    outcome: Manifest | None = None
    ready: bool = False  # put aside, by this run or an earlier one
    seconds: float = 0.0


def cut(members: Iterable[Member]) -> Iterator[list[Member]]:
    """Members in chunks, by number and bytes."""
    part: list[Member] = []
    size = 0
    for member in members:
        if part and (len(part) >= CHUNK_MEMBERS or size + member.size > CHUNK_BYTES):
            yield part
            part, size = [], 0
        part.append(member)
        size += member.size
    yield part


Row = dict[str, Any]


def to_row(item: Chunk | ChapterTask) -> Row:
    """Pack an item into a row of Ray Data."""
    return {"chunk": pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)}


def from_row(row: Row) -> Any:
    """Unpack `to_row`."""
    return pickle.loads(row["chunk"])
