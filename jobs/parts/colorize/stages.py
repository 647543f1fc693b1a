"""The stages of a chapter other than prediction. No Ray and no torch here, because both are slow to load.

    open -> prepare -> (predict) -> postprocess

All work on bytes from outside is done in a sandbox (source.reader, page_steps). So a page that crashes its decoder, or
keeps it busy, costs that page only.

No stage raises. Each of the four has one place that catches all, and makes what it caught the chapter's outcome
(ChapterOutcomes.ended_by): an error that left a stage would end the whole job. A stop is no error, and passes.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.chapters import Directory
from datasets.errors import Code, PageUnreadableError
from datasets.limits import SLOW
from datasets.names import composed
from imaging.color import U8
from jobs.parts.colorize import page_steps
from jobs.parts.colorize.chunk_files import ChunkFiles
from jobs.parts.colorize.config import PagesShown
from jobs.parts.colorize.member_names import output_names
from jobs.parts.colorize.outcomes import ChapterOutcomes
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.previews import Preview, Previews, Wanted
from jobs.parts.colorize.publish import ChapterPublisher
from jobs.parts.colorize.reuse import PublishedPages
from jobs.parts.colorize.tasks import NOT_FINITE, ChapterTask, Chunk, ChunkDone, PageTask, cut
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.runtime import telemetry
from jobs.parts.runtime.sandbox import SandboxError, sandbox
from jobs.parts.source import reader

if TYPE_CHECKING:
    from jobs.parts.colorize.settings import JobSettings

_OPENING = 4  # pages at a chapter's beginning, among which coloured ones are looked for


@dataclass(frozen=True)
class Stages:
    """The stages of a job, with what they need. Picklable.

    image_size: side of the square the network sees, pixels.
    each: does a step for each page, as `map` does.
    follows: whether the network follows coloured pages: those at a chapter's beginning are then examples for the rest.
    previews: of which pages small pictures are kept.
    """

    ledger: Ledger
    settings: PageSettings
    image_size: int
    each: Callable[..., Iterable[Any]] = map
    follows: bool = False
    previews: PagesShown = "flagged"

    @classmethod
    def of(cls, settings: "JobSettings", ledger: Ledger, each: Callable[..., Iterable[Any]] = map) -> "Stages":
        """Those of a job."""
        return cls(ledger, settings.pages, settings.image_size, each, settings.follows, settings.previews)

    def open(self, task: ChapterTask) -> Iterator[Chunk]:
        """Cut a chapter into chunks by its directory alone. A chapter that can't be opened is quarantined.

        Some archives give their members only one after the other, so a later chunk would cost as much as all before it.
        Their members are read here, a chunk at a time.
        """
        try:
            yield from self._open(task)
        except Exception as error:
            yield Chunk(task, outcome=ChapterOutcomes(task, self.ledger).ended_by(error))

    def prepare(self, chunk: Chunk) -> Chunk:
        """Fetch and decode a chunk's members. A page to colour gets its gray squares; others pass unchanged.

        A chunk whose chapter has ended carries no pictures on.
        """
        begun = time.monotonic()
        try:
            self._prepare(chunk)
        except Exception as error:
            chunk.outcome = ChapterOutcomes(chunk.task, self.ledger).ended_by(error)
        if chunk.outcome is not None:
            chunk.pages = []
        chunk.seconds += time.monotonic() - begun
        return chunk

    def postprocess(self, chunk: Chunk) -> Chunk:
        """Join, encode, and publish the chapter; or write the chunk file if the chapter has more chunks.

        The chunk that is returned carries no pictures, only the outcome, or what there is to tell of it.
        """
        if chunk.outcome is None and not chunk.ready:
            try:
                self._postprocess(chunk)
            except Exception as error:
                chunk.outcome = ChapterOutcomes(chunk.task, self.ledger).ended_by(error)
        if chunk.outcome is None:
            pages = [page for page in chunk.pages if page.member.index is not None]
            flagged = sum(bool(page.code) for page in pages)
            chunk.done = ChunkDone(chunk.task.ref.rel, len(pages), flagged, 1 / chunk.of)
        chunk.pages = []
        return chunk

    def assemble(self, task: ChapterTask, of: int) -> Manifest:
        """Publish a chapter whose `of` chunk files are all there."""
        try:
            return ChapterPublisher(task, self.ledger).assemble(of)
        except Exception as error:
            return ChapterOutcomes(task, self.ledger).ended_by(error)

    def examples(self, task: ChapterTask, directory: Directory) -> list[tuple[U8, np.ndarray]]:
        """The coloured of a chapter's first pages, for a network that follows some: its cover, a colour opening.

        They are read here for each of its chunks, and whatever stays as published: a page gets the same colours in any
        run. What can't be read is left to the stage that prepares it.
        """
        found: list[tuple[U8, np.ndarray]] = []
        for member in directory.pages[:_OPENING] if self.follows else ():
            with suppress(PageUnreadableError, SandboxError):
                fetched = sandbox().call(reader.fetch, task.ref, task.policy, member, seconds=_slow(task))
                limits = task.policy.limits
                call = (page_steps.learn_from, fetched.data, self.image_size, limits.pixels)
                if (pair := sandbox().call(*call, seconds=limits.seconds)) is not None:
                    found.append((pair[0], pair[1].astype(np.float16)))
        return found

    def _open(self, task: ChapterTask) -> Iterator[Chunk]:
        if (ended := ChapterOutcomes(task, self.ledger).done_already()) is not None:
            yield Chunk(task, outcome=ended)
            return
        directory = sandbox().call(reader.look_inside, task.ref, task.policy, seconds=_slow(task))
        stay = PublishedPages(task, self.ledger).unchanged(directory.members)
        cuts = list(cut(directory.members))
        image_format = None if task.keeps_page_formats else self.settings.image_format
        names = output_names([member.name for member in directory.members], image_format)
        aside = ChunkFiles(task, self.ledger).whole() if len(cuts) > 1 else set()
        examples = self.examples(task, directory) if len(stay) < len(directory.members) else []
        for number, part in enumerate(cuts):
            pages = [
                PageTask(
                    member,
                    *names[member.member_index],
                    hints=task.hints_of(member),
                    published=stay.get(member.member_index),
                )
                for member in part
            ]
            chunk = Chunk(task, number, len(cuts), pages, ready=number in aside, examples=examples)
            if number == 0:
                chunk.warnings, chunk.damage = [*directory.warnings, *_unknown(task, directory)], directory.damage
                chunk.comment = directory.comment
            if directory.sequential and not chunk.ready:
                self._fetch_all(chunk)
            yield chunk

    def _prepare(self, chunk: Chunk) -> None:
        if chunk.ready or chunk.outcome is not None:
            return
        self._fetch_all(chunk)
        to_see = [
            page
            for page in chunk.pages
            if page.member.index is not None and page.action != "flagged" and page.published is None
        ]
        for _ in self.each(lambda page: self.look(page, chunk.task), to_see):
            pass

    def _postprocess(self, chunk: Chunk) -> None:
        begun = time.monotonic()
        previews = Previews.of(chunk, self.ledger, self.previews)
        pictures = []
        encoded = self.each(lambda page: self.encode(page, chunk.task, previews.of_next()), chunk.pages)
        for page, (data, preview) in zip(chunk.pages, encoded, strict=True):
            pictures.append(data)
            if preview is not None:
                previews.add(page, preview)
        previews.store()
        chunk.seconds += time.monotonic() - begun
        ChapterPublisher(chunk.task, self.ledger).publish(chunk, pictures)

    def _fetch_all(self, chunk: Chunk) -> None:
        """Read the members that are not at hand. Raises as `_fetch`."""
        PublishedPages(chunk.task, self.ledger).take(chunk)
        for page in chunk.pages:
            if page.data is None:
                _fetch(page, chunk.task)

    def look(self, page: PageTask, task: ChapterTask) -> None:
        """Examine a page whose data are at hand. One to colour gets its gray squares, one that can't be read a flag."""
        limits = task.policy.limits
        try:
            call = (page_steps.see, page.data, self.image_size, self.settings.strategy, limits.pixels)
            seen = sandbox().call(*call, self.previews == "all", seconds=limits.seconds)
        except (PageUnreadableError, SandboxError) as error:
            page.flag(error.code, error.message)
            return
        page.width, page.height, page.message, page.small = seen.width, seen.height, seen.why, seen.preview
        if seen.grays is not None:
            page.grays, page.crops, page.shape, page.action = seen.grays, seen.crops, seen.shape, "coloured"

    def encode(self, page: PageTask, task: ChapterTask, wanted: Wanted) -> tuple[bytes, Preview | None]:
        """The bytes of a page that go into the output, and the preview."""
        assert page.data is not None
        if page.action != "coloured":
            return page.data, page.small
        if not page.finite:
            page.flag(Code.NOT_FINITE, NOT_FINITE)
            return page.data, None
        limits = task.policy.limits
        with_page = (page.data, page.chroma, page.whole_page_chroma, page.hints)
        call = (page_steps.color_over, *with_page, self.settings, limits.pixels, wanted, task.keeps_page_formats)
        try:
            colored = sandbox().call(*call, seconds=limits.seconds)
        except (PageUnreadableError, SandboxError) as error:
            page.flag(error.code, error.message)
            return page.data, None
        page.colors = colored.colors
        if faults := colored.faults:
            page.code, page.message = Code(faults[0].code.upper()), "; ".join(fault.message for fault in faults)
        return colored.data, colored.preview


def _fetch(page: PageTask, task: ChapterTask) -> None:
    """Read a member. Raises MangahueError where the chapter as a whole can't be read, or where storage fails."""
    try:
        fetched = sandbox().call(reader.fetch, task.ref, task.policy, page.member, seconds=_slow(task))
    except SandboxError as error:
        page.data = b""
        page.flag(error.code, f"{error.message}; nothing of it could be read")
        return
    page.data = fetched.data
    telemetry.count_bytes("read", len(fetched.data))
    if fetched.error is not None:
        page.flag(fetched.error.code, fetched.error.message)


def _unknown(task: ChapterTask, directory: Directory) -> list[str]:
    """Warnings for hints that name no page of the chapter."""
    pages = {
        composed(name)
        for member in directory.members
        if member.index is not None
        for name in (member.name, member.original)
    }
    return [f"--hints names {page!r}, which is no page of it" for page in task.hints.by_page if page not in pages]


def _slow(task: ChapterTask) -> float:
    return SLOW * task.policy.limits.seconds
