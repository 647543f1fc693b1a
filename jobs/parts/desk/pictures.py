"""The pictures of a page: as it came, as it was published, and small. Bytes of others are decoded in a sandbox only."""

import hashlib

from datasets.archive import ChapterRef
from datasets.chapters import Member
from datasets.errors import Code, ObjectNotFoundError, PageUnreadableError
from datasets.limits import SLOW
from datasets.page import format_of
from imaging.overlay import LAYERS
from jobs.parts.desk import shown
from jobs.parts.desk.catalogue import Catalogue
from jobs.parts.ledger.ledger import HOME
from jobs.parts.ledger.manifest import PageRecord
from jobs.parts.runtime.sandbox import sandbox
from jobs.parts.source import reader
from jobs.parts.source.policy import Policy


class Pictures:
    """The pictures of a catalogue's pages. Each method runs where there is a sandbox, and raises MangahueError."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.policy: Policy = catalogue.config.policy
        self._limits = self.policy.limits

    def of(self, chapter: str, number: int, kind: str) -> tuple[bytes, str]:
        """A picture of a page, and its media type. Raises KeyError for another kind than these."""
        if kind in LAYERS:
            return self._layer(chapter, number, kind), "image/svg+xml"
        if kind == "after":
            return self.after(chapter, number)
        return {"before": self.before, "preview": self.preview}[kind](chapter, number), "image/jpeg"

    def preview(self, chapter: str, number: int) -> bytes:
        """A small JPEG: the one that the job kept, else one made now."""
        record = self._catalogue.page(chapter, number)
        if record.preview:
            try:
                return self._catalogue.ledger.storage.read(f"{HOME}/{record.preview}.jpg")
            except ObjectNotFoundError:
                pass
        return self._shown(self._published(chapter, record), small=True)

    def published(self, chapter: str, number: int) -> bytes:
        """The bytes of a page in the output."""
        return self._published(chapter, self._catalogue.page(chapter, number))

    def before(self, chapter: str, number: int) -> bytes:
        """The page as it is in the source, as a JPEG."""
        return self._shown(self.source(chapter, number))

    def after(self, chapter: str, number: int) -> tuple[bytes, str]:
        """The page as it was published, and its media type. One that is very large comes reduced."""
        record = self._catalogue.page(chapter, number)
        data = self._published(chapter, record)
        if record.action == "coloured" and record.width * record.height <= shown.MOST_PIXELS:
            return data, f"image/{format_of(data)}"
        return self._shown(data), "image/jpeg"

    def source(self, chapter: str, number: int) -> bytes:
        """The bytes of a page in the source."""
        record = self._catalogue.page(chapter, number)
        ref = self._catalogue.source_of(chapter)
        members = self._members(ref)
        if number >= len(members) or members[number].original != record.name:
            raise PageUnreadableError(Code.CHANGED, f"{ref.uri} has other pages now; run colorize.py again")
        return self._fetched(ref, members[number])

    def swatches(self, pages: list[tuple[str, int]]) -> list[str]:
        """The colours of these pages, as CSS has them."""
        small = [self.preview(*page) for page in pages]
        return sandbox().call(shown.swatches_of, small, self._limits.pixels, seconds=SLOW * self._limits.seconds)

    def _layer(self, chapter: str, number: int, name: str) -> bytes:
        data = self.source(chapter, number)
        call = (shown.layer_of, data, name, self._limits.pixels)
        return sandbox().call(*call, seconds=self._limits.seconds)

    def _published(self, chapter: str, record: PageRecord) -> bytes:
        ref = self._catalogue.output_of(chapter)
        members = self._members(ref)
        found = [member for member in members if member.original == record.output]
        found = found or [member for member in members if member.index == record.index]  # of a PDF, which names none
        if not found:
            raise PageUnreadableError(Code.GONE, f"{record.output} is not in {ref.uri} any more; run verify.py")
        data = self._fetched(ref, found[0])
        if found[0].original == record.output and hashlib.sha256(data).hexdigest() != record.sha256:
            raise PageUnreadableError(Code.ALTERED, f"{record.output} of {ref.uri} is not what was published")
        return data

    def _members(self, ref: ChapterRef) -> list[Member]:
        return sandbox().call(reader.look_inside, ref, self.policy, seconds=SLOW * self._limits.seconds).members

    def _fetched(self, ref: ChapterRef, member: Member) -> bytes:
        fetched = sandbox().call(reader.fetch, ref, self.policy, member, seconds=SLOW * self._limits.seconds)
        if fetched.error is not None and not fetched.data:
            raise fetched.error
        return fetched.data

    def _shown(self, data: bytes, *, small: bool = False) -> bytes:
        return sandbox().call(shown.for_browser, data, self._limits.pixels, small, seconds=self._limits.seconds)
