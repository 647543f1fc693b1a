"""The coloured pages that a network follows beside those of --reference: a chapter's own, and marked ones."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

import models
from imaging.color import U8
from jobs.parts.colorize.marked import MarkedPages
from jobs.parts.colorize.tasks import PageTask
from jobs.parts.ledger.marks import ChapterMarks, as_text
from jobs.parts.model.inference import as_inputs, describe, is_scarce


class Following:
    """What a variant is shown. One that follows no pages is shown none."""

    def __init__(self, variant: models.Variant, marked: MarkedPages | None) -> None:
        self._variant, self.marked_pages = variant, marked
        self._memorized: dict[str, Any] = {}  # marked pages that were shown once, by picture
        self.key = b""  # names what is shown at present, beside the reference pages

    def find(self, pages: Sequence[PageTask], marks: ChapterMarks) -> None:
        """Describe pages, by the mean of what they show, and find the marked pages that each is shown."""
        for page in pages if self._variant.follows else ():
            if page.grays is not None:
                page.description = self._described(page.grays)
                page.references = marks.shown_to(page.member.original, page.description)

    def _described(self, grays: U8) -> str:
        """The description of a page by its squares (N, S, S); "" where memory does not suffice for one."""
        try:
            mean = describe(self._variant, grays).mean(axis=0)
        except (MemoryError, RuntimeError) as error:
            if not is_scarce(error):
                raise
            return ""
        return as_text(mean / max(float(np.linalg.norm(mean)), 1e-6))

    @contextmanager
    def examples(self, pairs: Sequence[tuple[U8, np.ndarray]]) -> Iterator[None]:
        """While it lasts, these are followed: (S, S) ink and (S, S, 2) ab of each."""
        if not pairs:
            yield
            return
        grays, chromas = (np.stack(part) for part in zip(*pairs, strict=True))
        digest = hashlib.sha256(grays.tobytes() + chromas.tobytes()).digest()
        with self._named(digest), self._variant.looking_at(self._variant.memorized(*as_inputs(grays, chromas))):
            yield

    @contextmanager
    def marked(self, pictures: Sequence[str]) -> Iterator[None]:
        """While it lasts, the marked pages of these pictures are followed."""
        with self._named("".join(pictures).encode()), ExitStack() as stack:
            for picture in pictures:
                stack.enter_context(self._variant.looking_at(self._memory_of(picture)))
            yield

    @contextmanager
    def _named(self, key: bytes) -> Iterator[None]:
        before, self.key = self.key, self.key + key
        try:
            yield
        finally:
            self.key = before

    def _memory_of(self, picture: str) -> Any:
        if picture not in self._memorized:
            assert self.marked_pages is not None
            seen = self.marked_pages.seen[picture]
            self._memorized[picture] = self._variant.memorized(*as_inputs(seen.gray[None], seen.chroma[None]))
        return self._memorized[picture]
