"""The coloured pages that a network follows beside those of --reference: a chapter's own, and marked ones."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

import models
from imaging.color import U8
from jobs.parts.colorize.marked import MarkedPages
from jobs.parts.colorize.tasks import PageTask
from jobs.parts.ledger.marks import ChapterMarks, as_text
from jobs.parts.model.inference import as_inputs, describe


def is_scarce(error: Exception) -> bool:
    """Whether an error of the network says that memory did not suffice."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class Following:
    """What a variant is shown. One that follows no pages is shown none."""

    def __init__(self, variant: models.Variant, marked: MarkedPages | None) -> None:
        self._variant, self.marked_pages = variant, marked
        self._memorized: dict[str, Any] = {}  # marked pages that were shown once, by picture

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

    def examples(self, pairs: Sequence[tuple[U8, np.ndarray]]) -> AbstractContextManager[None]:
        """While it lasts, these are followed: (S, S) ink and (S, S, 2) ab of each."""
        if not pairs:
            return nullcontext()
        grays, chromas = (np.stack(part) for part in zip(*pairs, strict=True))
        return self._variant.looking_at(self._variant.memorized(*as_inputs(grays, chromas)))

    @contextmanager
    def marked(self, pictures: Sequence[str]) -> Iterator[None]:
        """While it lasts, the marked pages of these pictures are followed."""
        with ExitStack() as stack:
            for picture in pictures:
                stack.enter_context(self._variant.looking_at(self._memory_of(picture)))
            yield

    def _memory_of(self, picture: str) -> Any:
        if picture not in self._memorized:
            assert self.marked_pages is not None
            seen = self.marked_pages.seen[picture]
            self._memorized[picture] = self._variant.memorized(*as_inputs(seen.gray[None], seen.chroma[None]))
        return self._memorized[picture]
