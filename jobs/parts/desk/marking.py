"""Which pages are marked as references in the desk, kept in the output in the file that colorize.py takes up."""

import threading
from functools import cached_property
from typing import Literal

from imaging.color import F32, U8
from jobs.parts.colorize.marked import Entry, MarkedPages, References, marked_of
from jobs.parts.desk.catalogue import Catalogue
from jobs.parts.model.folder import read_card

Reach = Literal["chapter", "series", ""]  # what a page is a reference for; "": for nothing


class Marking:
    """The marked pages of an output folder. For several threads.

    A model that is not here, or follows no pages, has none.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._marked = MarkedPages((), {})
        self._as_of: list[Entry] = []

    @cached_property
    def references(self) -> References:
        """The file and its pictures. Raises BadUsageError where the model of the job is not here."""
        config = self._catalogue.config
        return References(self._catalogue.ledger.storage, read_card(config.model), config.policy)

    def marked(self) -> MarkedPages:
        """The marked pages as of now; the same object as long as nothing has changed."""
        if not self._catalogue.takes_pages:
            return MarkedPages((), {})
        entries = self.references.entries()
        with self._lock:
            missing = [entry.picture for entry in entries if entry.picture not in self._marked.seen]
            if entries != self._as_of or missing:
                seen = {**self._marked.seen, **self.references.known(missing)}
                looked_at = [entry for entry in entries if entry.picture in seen]
                self._marked = marked_of(looked_at, {entry.picture: seen[entry.picture] for entry in looked_at})
                self._as_of = entries
            return self._marked

    def reach(self, chapter: str) -> dict[str, Reach]:
        """What each marked page of a chapter is a reference for, by its name. chapter: its `rel`."""
        found: dict[str, Reach] = {}
        for entry in self.references.entries() if self._catalogue.takes_pages else ():
            if entry.chapter == chapter:
                found[entry.page] = "chapter" if entry.below == chapter else "series"
        return found

    def set(self, chapter: str, page: str, reach: Reach, picture: str = "") -> None:
        """Mark a page, or take its mark back.

        chapter: its `rel`.
        page: its name in the source.
        picture: the name of its picture, of which is known what the network sees.
        Raises BadUsageError where there are too many marks.
        """
        with self._lock:
            entries = [entry for entry in self.references.entries() if (entry.chapter, entry.page) != (chapter, page)]
            if reach:
                below = chapter if reach == "chapter" else chapter.rpartition("/")[0]
                entries.append(Entry(chapter, page, below, picture))
            self.references.put(entries)

    def keep(self, data: bytes, pair: tuple[U8, F32], described: tuple[F32, float]) -> str:
        """Keep a picture and what the network sees of it. Returns its name.

        pair: ink and chroma as the network sees them.
        described: its description, and the network's least likeness.
        """
        picture = self.references.put_picture(data)
        self.references.keep(picture, pair, *described)
        return picture
