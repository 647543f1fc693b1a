"""Marked pages: coloured pages that somebody marked as references, and which pages of a chapter are shown which.

A network that follows coloured pages describes each page by N numbers (models.exemplar_likeness). A page's record holds
them, and the pictures of the marked pages that it was shown. So a job decides without the network which pages other
marks concern. All is counted in whole numbers: any machine decides alike.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imaging.color import F32
from models.card import MOST_SHOWN

if TYPE_CHECKING:
    from jobs.parts.ledger.manifest import Manifest, PageRecord

_ONE = 127  # what stands for 1 in a description
_UNKNOWN = -128  # all numbers of a page that was not described
_AXES = 32  # N, of every network that describes pages


def as_text(description: F32) -> str:
    """A description (N,) of length 1, or 0, as a record holds it: each number in a byte."""
    levels = np.rint(np.nan_to_num(description) * _ONE).clip(-_ONE, _ONE).astype(np.int8)
    return base64.b64encode(levels.tobytes()).decode()


@dataclass(frozen=True)
class Mark:
    """A page that was marked.

    chapter, page: where it was: the chapter's `rel`, and its name in the source.
    below: where it counts: in this chapter, or in the chapters of this folder; "" for everywhere.
    picture: the name of its picture, which says what is in it.
    description: as text.
    least: the likeness from which on a page is shown it.
    """

    chapter: str
    page: str
    below: str
    picture: str
    description: str
    least: float

    def counts_in(self, rel: str) -> bool:
        """Whether it counts in a chapter."""
        return not self.below or rel == self.below or rel.startswith(f"{self.below}/")


@dataclass(frozen=True)
class ChapterMarks:
    """The marks that count in one chapter.

    rel: the chapter.
    marks: no two of them with one picture.
    """

    rel: str = ""
    marks: tuple[Mark, ...] = field(default_factory=tuple)

    @classmethod
    def among(cls, marks: Iterable[Mark], rel: str) -> "ChapterMarks":
        """Those of these marks that count in a chapter."""
        found = {mark.picture: mark for mark in marks if mark.counts_in(rel)}
        return cls(rel, tuple(found[picture] for picture in sorted(found)))

    def digest(self) -> str:
        """A digest in hex; "" without marks."""
        text = "\n".join(f"{mark.picture} {mark.page if mark.chapter == self.rel else ''}" for mark in self.marks)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] if self.marks else ""

    def shown_to(self, page: str, description: str) -> tuple[str, ...]:
        """The pictures that a page is shown: those most like it, and never its own.

        page: its name in the source.
        description: as text; "" where it was not described, which is shown nothing.
        """
        if not self.marks or not description:
            return ()
        (chosen,) = self._chosen(_numbers([description]), np.array([_hash(page)], np.uint64))
        return tuple(mark.picture for mark, taken in zip(self.marks, chosen, strict=True) if taken)

    def hold(self, manifest: "Manifest") -> bool:
        """Whether the pages of a chapter were shown what they would be shown now, by its manifest or a summary."""
        rows = np.frombuffer(manifest.following, _ROW)
        if not len(rows):
            return not self.marks or not manifest.count("coloured")
        if not self.marks:
            return not rows["shown"].any()
        shown = np.array([_hash(mark.picture) for mark in self.marks], np.uint64)
        chosen = self._chosen(rows["description"].astype(np.int32), rows["page"])
        return bool(((chosen * shown).sum(axis=1, dtype=np.uint64) == rows["shown"]).all())

    def holds(self, page: "PageRecord") -> bool:
        """As `hold`, of one page."""
        if page.action != "coloured":
            return True
        if not page.description:
            return not page.references and not any(self._may_see(mark, page.name) for mark in self.marks)
        return self.shown_to(page.name, page.description) == tuple(page.references)

    def _may_see(self, mark: Mark, page: str) -> bool:
        return (mark.chapter, mark.page) != (self.rel, page)

    def _chosen(self, described: NDArray[np.int32], pages: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """(P, M) whether each of P pages is shown each mark. All that it may be shown, if it was not described.

        described: (P, N).
        pages: (P,) hashes of their names.
        """
        marks, least, own = self._as_arrays
        likeness = described @ marks.T
        others = pages[:, None] != own
        near = np.where(others & (likeness >= least), likeness, np.iinfo(np.int32).min)
        best = np.argsort(-near.astype(np.int64), axis=1, kind="stable")[:, :MOST_SHOWN]
        chosen = np.zeros(near.shape, bool)
        np.put_along_axis(chosen, best, True, axis=1)
        unknown = (described == _UNKNOWN).all(axis=1)
        return np.where(unknown[:, None], others, chosen & (near > np.iinfo(np.int32).min))

    @cached_property
    def _as_arrays(self) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.uint64]]:
        """(M, N) descriptions; (M,) least products of two; (M,) hashes of the pages of this chapter, 0 for others."""
        own = [_hash(mark.page) if mark.chapter == self.rel else 0 for mark in self.marks]
        least = np.array([mark.least for mark in self.marks]) * _ONE**2
        return _numbers([mark.description for mark in self.marks]), least, np.array(own, np.uint64)


NO_MARKS = ChapterMarks()
_ROW = np.dtype([("page", np.uint64), ("shown", np.uint64), ("description", np.int8, _AXES)])


def pack(pages: Iterable["PageRecord"]) -> bytes:
    """What the coloured of these pages were shown, and their descriptions; empty where none was described."""
    coloured = [page for page in pages if page.action == "coloured"]
    if not any(page.description for page in coloured):
        return b""
    rows = np.zeros(len(coloured), _ROW)
    rows["page"] = [_hash(page.name) for page in coloured]
    rows["shown"] = [sum(map(_hash, page.references)) % 2**64 for page in coloured]
    rows["description"] = _numbers([page.description for page in coloured])
    return rows.tobytes()


def _numbers(descriptions: list[str]) -> NDArray[np.int32]:
    """(P, N) of descriptions as text; one that is empty, or of another network, is unknown."""
    made = [np.frombuffer(base64.b64decode(text), np.int8) for text in descriptions]
    unknown = np.full(_AXES, _UNKNOWN, np.int8)
    return np.stack([each if each.shape == unknown.shape else unknown for each in made]).astype(np.int32)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little")
