"""What travels through a colouring job: the tasks of chapters, and chunks of them.

A chunk is some neighbouring members of one chapter. A row of Ray Data holds one chunk, pickled. S: side of the square
the network sees, pixels.
"""

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.archive import EPUB_SUFFIX, REBUILT_SUFFIXES, ChapterRef, suffix_of
from datasets.chapters import Member
from imaging.color import U8
from imaging.crops import Crop
from imaging.hints import Hint
from jobs.parts.colorize.hints import ChapterHints
from jobs.parts.ledger.manifest import Manifest, PageRecord
from jobs.parts.ledger.marks import ChapterMarks
from jobs.parts.source.policy import Policy

if TYPE_CHECKING:
    from jobs.parts.colorize.previews import Preview

CHUNK_MEMBERS = 32
CHUNK_BYTES = 32 * 2**20
NOT_FINITE = "the network predicted NaN or infinity for it; use another model, and train this one again"


@dataclass(frozen=True)
class ChapterTask:
    """A chapter to colour.

    ref: the chapter in the source.
    output: its key in the output.
    over: the number of its manifest when it was planned; 0 for none. What that says was published is overwritten.
    policy: what is done with bad input.
    hints: the hints for its pages.
    marks: the marks that count in it.
    sample: the report shows a page of this chapter.
    """

    ref: ChapterRef
    output: str
    over: int
    policy: Policy = field(default_factory=Policy)
    hints: ChapterHints = field(default_factory=ChapterHints)
    marks: ChapterMarks = field(default_factory=ChapterMarks)
    sample: bool = False

    @property
    def is_rebuilt(self) -> bool:
        """Whether the output is the source with its pictures replaced."""
        return self.ref.kind == "archive" and suffix_of(self.output) in REBUILT_SUFFIXES

    @property
    def keeps_page_formats(self) -> bool:
        """Whether a coloured page has the format of the page that it was: an EPUB names its pictures in many places."""
        return self.is_rebuilt and suffix_of(self.output) == EPUB_SUFFIX

    def hints_of(self, member: Member) -> tuple[Hint, ...]:
        """The hints for a page, found by its name in the source or in the output."""
        return self.hints.of(member.original, member.name)


@dataclass
class PageTask:
    """A member of a chapter on its way, most often a page.

    kept_name, coloured_name: its name in the output if it is kept, and if it is coloured.
    data: its bytes as they came; None until they are fetched. For a page that stays as published, its bytes in the
        output.
    grays, crops, shape: what the network is shown of a page to colour (see page_steps.Seen).
    hints: those of the page.
    chroma: (h, w, 2) ab once it is predicted; (h, w, 3) with L last where luminance is predicted too.
    whole_page_chroma: (S, S, 2 or 3) prediction for the page as a whole, where it was also shown in parts.
    width, height: pixels, 0 where not known.
    small: of a page in colour already, its preview, if one is kept.
    action, code, message, colors, preview, description, references: as in ledger.PageRecord.
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
    small: "Preview | None" = None
    preview: str = ""
    description: str = ""
    references: tuple[str, ...] = ()

    @property
    def finite(self) -> bool:
        """Whether what was predicted for it has neither NaN nor infinity."""
        maps = (self.chroma, self.whole_page_chroma)
        return all(bool(np.isfinite(values).all()) for values in maps if values is not None)

    def flag(self, code: str, message: str) -> None:
        """Leave the page as it is, and record why."""
        self.action, self.code, self.message = "flagged", code, message
        self.grays = self.chroma = self.whole_page_chroma = None


@dataclass(frozen=True)
class ChunkDone:
    """A chunk that has come through all stages, of a chapter that goes on.

    rel: the chapter.
    pages, flagged: in the chunk; flagged are those that the report names.
    share: of the chapter's chunks, which it is.
    """

    rel: str
    pages: int
    flagged: int
    share: float


@dataclass
class Chunk:
    """A row of the pipeline.

    number: from 0, among the `of` chunks of the chapter.
    pages: its members.
    warnings, damage, comment: those of the whole chapter; only its first chunk holds them.
    outcome: set once nothing is left to compute for the chunk.
    ready: its chunk file is written, by this run or an earlier one.
    seconds: of work so far.
    done: what there is to tell of it, where it has come through without an outcome.
    examples: coloured pages of the chapter itself, for a network that follows some: ink (S, S), ab (S, S, 2) float16.
    """

    task: ChapterTask
    number: int = 0
    of: int = 1
    pages: list[PageTask] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    damage: str = ""
    comment: bytes = b""
    outcome: Manifest | None = None
    ready: bool = False
    seconds: float = 0.0
    done: ChunkDone | None = None
    examples: list[tuple[U8, np.ndarray]] = field(default_factory=list)


def cut(members: Iterable[Member]) -> Iterator[list[Member]]:
    """Cut members into chunks, limited in number and bytes."""
    part: list[Member] = []
    size = 0
    for member in members:
        if part and (len(part) >= CHUNK_MEMBERS or size + member.size > CHUNK_BYTES):
            yield part
            part, size = [], 0
        part.append(member)
        size += member.size
    yield part


class ChunkTally:
    """Counts which chunks of each chapter have come through all stages."""

    def __init__(self) -> None:
        self._missing: dict[str, set[int]] = {}
        self._ended: set[str] = set()

    def ends_chapter(self, chunk: Chunk) -> bool:
        """Whether its chapter ends with this chunk: with its outcome, the first that a chunk of it has, or because now
        all chunk files are there, and the chapter is to be assembled.
        """
        rel = chunk.task.ref.rel
        missing = self._missing.setdefault(rel, set(range(chunk.of)))
        missing.discard(chunk.number)
        ends = rel not in self._ended and (chunk.outcome is not None or not missing)
        if ends:
            self._ended.add(rel)
        if not missing:
            del self._missing[rel]
        return ends


Row = dict[str, Any]


def to_row(item: Chunk | ChapterTask) -> Row:
    """Pack an item into a row of Ray Data."""
    return {"chunk": pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)}


def from_row(row: Row) -> Any:
    """Unpack `to_row`."""
    return pickle.loads(row["chunk"])
