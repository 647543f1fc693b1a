"""Reuses the pages of a published chapter that an edit of palette or hints does not affect.

Their bytes are taken from the output as they are, and checked against the manifest. A page that fails the check is
coloured again.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from datasets.chapters import Member
from datasets.errors import MangahueError
from jobs.parts.colorize.decide import is_of_another_policy
from jobs.parts.colorize.hints import digest_of
from jobs.parts.colorize.tasks import ChapterTask, Chunk
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import PageRecord

_BROKEN = (MangahueError, OSError, EOFError, KeyError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class PublishedPages:
    """The pages of one chapter as they are in the output."""

    task: ChapterTask
    ledger: Ledger

    def unchanged(self, members: Sequence[Member]) -> dict[int, PageRecord]:
        """The published pages that equal what this job would make, by member index.

        The result is empty where the chapter was not published by this job from this very source. It is also empty for
        a PDF or an EPUB that stays one: it is always rebuilt as a whole.
        """
        task = self.task
        published = self.ledger.manifest(task.ref.rel) if task.over else None
        if published is None or not self.ledger.made(published, task.ref) or task.is_rebuilt:
            return {}
        if [page.name for page in published.pages] != [member.original for member in members]:
            return {}
        pairs = zip(published.palette, self.ledger.palette, strict=True)
        edited = {str(number) for number, (then, now) in enumerate(pairs) if then != now}
        return {
            member.member_index: page
            for member, page in zip(members, published.pages, strict=True)
            if page.index is not None
            and not is_of_another_policy(page, published, task.policy)
            and edited.isdisjoint(page.colors)
            and page.hints == digest_of(task.hints_of(member))
            and task.marks.holds(page)
        }

    def take(self, chunk: Chunk) -> None:
        """Read the data of the pages that stay. A page whose bytes do not match its record is no longer reused."""
        pages = [page for page in chunk.pages if page.published is not None and page.data is None]
        records = [page.published for page in pages if page.published is not None]
        for page, data in zip(pages, self._read(records), strict=True):
            page.data = data
            if data is None:
                page.published = None

    def _read(self, records: Sequence[PageRecord]) -> Iterator[bytes | None]:
        with ExitStack() as stack:
            read = self._reader(stack) if records else None
            for record in records:
                data = None
                with suppress(*_BROKEN):  # another run may be replacing it, or it may be damaged
                    data = read(record) if read is not None else None
                yield data if data is not None and hashlib.sha256(data).hexdigest() == record.sha256 else None

    def _reader(self, stack: ExitStack) -> Callable[[PageRecord], bytes] | None:
        storage, output = self.ledger.storage, self.task.output
        if self.task.ref.kind == "folder":
            return lambda record: storage.read(f"{output}/{record.output}")
        try:
            archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(storage.open(output))))
        except _BROKEN:
            return None

        def read(record: PageRecord) -> bytes:
            if archive.getinfo(record.output).file_size != record.size:
                raise ValueError("another size than was published")
            return archive.read(record.output)

        return read
