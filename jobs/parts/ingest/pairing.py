"""Pairs the chapters and pages of two editions, and chooses the chapters to hold out.

Editions are paired by relative path without extensions. Where that fails, they are paired by chapter name and page
number. Names of the form [chapter]_[page] are understood too, and what an edition puts before all its names is no part
of them (jobs.parts.ingest.names).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, TypeVar

from datasets.archive import ChapterRef, find_chapters, plain
from datasets.chapters import Chapter, Directory, Member, open_chapter
from datasets.names import composed
from jobs.parts.ingest.names import bare_names, chapter_of, chapters_of, page_numbers

log = logging.getLogger("mangahue")
T = TypeVar("T")


@dataclass(frozen=True)
class Edition:
    """A chapter of one edition.

    ref: the archive or folder.
    only: the chapter part of [chapter]_[page] names, where a folder holds several chapters; else None.
    half: which half of each picture is the page, where a picture shows both editions side by side; else None.
    """

    ref: ChapterRef
    only: str | None = None
    half: Literal["left", "right"] | None = None

    @property
    def rel(self) -> str:
        """Its name in the source, without an archive's extension."""
        path = PurePosixPath(self.ref.rel)
        if self.ref.kind != "folder":
            path = path.with_name(self.ref.name)
        return str(path / self.only if self.only else path)

    def pages(self, chapter: Chapter | Directory) -> list[Member]:
        """Its pages in reading order."""
        pages = chapter.pages
        if self.only is None:
            return pages
        return [page for page in pages if chapter_of(PurePosixPath(page.name).stem) == self.only]


@dataclass(frozen=True)
class ChapterPlan:
    """A chapter to ingest, in one or both editions. Its pages are paired when the editions are opened.

    rel: its name.
    series: the folder that it is in; the source's name where it is in none.
    split: "train" or "holdout".
    gray_from: how the gray page is made where there is only a colour page.
    """

    rel: str
    series: str
    split: str
    gray_from: str
    color: Edition | None
    gray: Edition | None

    @property
    def size(self) -> int:
        return sum(edition.ref.size for edition in (self.color, self.gray) if edition)


def find_editions(uri: str) -> list[Edition]:
    """The chapters below `uri`. A folder of pages named [chapter]_[page] gives each chapter that it names.

    What can't be listed or named is left out, with a warning.
    """
    editions = []
    for ref in find_chapters(uri, lambda ref, error: log.warning("%s is left out: %s", ref.uri, error)):
        names = _named_chapters(ref) if ref.kind == "folder" else []
        editions += [Edition(ref, name) for name in names] or [Edition(ref)]
    return editions


def _named_chapters(ref: ChapterRef) -> list[str]:
    return chapters_of([PurePosixPath(page.name).stem for page in open_chapter(ref).pages])


def pair_editions(color: Sequence[Edition], gray: Sequence[Edition]) -> list[tuple[Edition | None, Edition | None]]:
    """(colour, gray) for every chapter, with None where one edition lacks it.

    They are paired by relative path first, then by name where it is unique, then by what the edition does not put
    before all of its names. If each side has one chapter only, the two are a pair whatever their names.
    """
    if len(color) == len(gray) == 1:
        return [(color[0], gray[0])]
    sides = [[edition.rel for edition in side] for side in (color, gray)]
    names = [[PurePosixPath(rel).name for rel in side] for side in sides]
    keys = [sides, [[plain(name) for name in side] for side in names], [bare_names(side) for side in names]]
    return _paired(color, gray, keys)


def pair_pages(
    color: Sequence[Member], gray: Sequence[Member], chapters: tuple[str | None, str | None] = (None, None)
) -> list[tuple[Member | None, Member | None]]:
    """(colour, gray) for every page, in the reading order of the colour edition. Gray pages without a partner follow.

    They are paired by name, then by name without extension, then without what is before all names of an edition, then
    by number; each where it is unique on both sides.

    chapters: `Edition.only` of the two.
    """
    paths = [[PurePosixPath(page.name) for page in side] for side in (color, gray)]
    stems = [[path.stem for path in side] for side in paths]
    keys = [
        [[str(path) for path in side] for side in paths],
        [[str(path.with_suffix("")) for path in side] for side in paths],
        [bare_names(side) for side in stems],
        [page_numbers(side, chapter) for side, chapter in zip(stems, chapters, strict=True)],
    ]
    return _paired(color, gray, keys)


def _paired(
    color: Sequence[T], gray: Sequence[T], keys: Sequence[Sequence[Sequence[str]]]
) -> list[tuple[T | None, T | None]]:
    """Pair items that agree in a key, best key first, in whatever Unicode form. The key must be unique among the items
    still unpaired on each side.

    keys: of each kind, for both sides, the key of each item.
    """
    partner: dict[int, int] = {}
    for key in keys:
        alone = [_by_key(key[0], set(partner)), _by_key(key[1], set(partner.values()))]
        for value, indices in alone[0].items():
            if len(indices) == 1 and len(alone[1].get(value, [])) == 1:
                partner[indices[0]] = alone[1][value][0]
    pairs: list[tuple[T | None, T | None]] = [
        (item, gray[partner[i]] if i in partner else None) for i, item in enumerate(color)
    ]
    taken = set(partner.values())
    return pairs + [(None, item) for i, item in enumerate(gray) if i not in taken]


def _by_key(keys: Sequence[str], taken: set[int]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        if index not in taken:
            found.setdefault(composed(key), []).append(index)
    return found
