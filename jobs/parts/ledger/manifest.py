"""A chapter's entry in the commit log, and the records of its pages.

A manifest has a digest of itself, so that an altered one is recognised, and the number of its format. One without a
format is of format 1, which had no numbered manifests.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from datasets.errors import BadUsageError, MangahueError
from jobs.parts.ledger import marks, palette_usage
from jobs.parts.runtime.outcome import as_json

FORMAT = 2  # of the manifests that are written
ALONE = "page-"  # how the name of a preview begins that is a picture alone, and not for the report
_NOT_STORED = ("number", "counts", "colors", "followed", "before")  # the last is stored in its own way
_OF_FOLLOWING = ("description", "references")


@dataclass(frozen=True)
class PageRecord:
    """What was done to one member.

    name: in the source.
    output: its name in the output.
    index: among the pages, in reading order from 0; None for other files.
    action: coloured, kept (already in colour, or no page), or flagged (not decodable).
    sha256: of its bytes in the output, hex.
    code, message: why it is flagged, or what the gate has against it. A message alone says why it is kept.
    size: bytes in the output.
    width, height: pixels, 0 where not known.
    colors: the palette colours that it uses, as palette_usage.as_record tells them.
    hints: digest of the hints that were given for it.
    preview: key of its small picture, below `_mangahue/`, without the suffix; "" for none.
    description: what it looks like to a network that follows coloured pages (ledger.marks); "" where it was not asked.
    references: the pictures of the marked pages that it was shown.
    """

    name: str
    output: str
    index: int | None
    action: str
    sha256: str
    code: str = ""
    message: str = ""
    size: int = 0
    width: int = 0
    height: int = 0
    colors: dict[str, list[float]] = field(default_factory=dict)
    hints: str = ""
    preview: str = ""
    description: str = ""
    references: tuple[str, ...] = ()

    @property
    def is_shown(self) -> bool:
        """Whether the report shows its preview, which has layers then."""
        return bool(self.preview) and not self.preview.rpartition("/")[2].startswith(ALONE)


class DamagedManifestError(MangahueError):
    """The object at a manifest's key is not what was written there."""


class NewerFormatError(BadUsageError):
    """A manifest of a later version of mangahue, which this one can't read."""


@dataclass(frozen=True)
class Manifest:
    """A chapter's entry in the commit log.

    rel: the chapter's name in the source.
    source: its URI.
    version: of the source.
    fingerprint: of the weights and settings.
    status: done, partial (a page is flagged), quarantined, damaged, or failed. A failed chapter has no manifest in the
        folder, and the next run tries it again. So it does with a damaged one, where verify.py found other content than
        was published.
    output: its key in the output; "" where nothing is published.
    pages: a record of each member.
    warnings: for the report.
    sha256, size: of the archive; empty for a folder.
    code, message: what is wrong with the chapter as a whole.
    seconds: of work.
    policy: digest of the policy under which a quarantined chapter was refused, or a page was flagged for a limit.
    before: of a quarantined chapter, the manifest of what was published of it earlier and is still in the output.
    palette: ab of each colour of the job's palette.
    taken: pages that stay as they were published before palette or hints were edited.
    hints: digest of the chapter's hints.
    number: its number in the commit log; 0 while it is not there. It is not in the file.
    counts: in a summary only: pages by action.
    colors: in a summary only: the palette usage, packed.
    followed: in a summary only: `following`.
    """

    rel: str
    source: str
    version: str
    fingerprint: str
    status: str
    output: str = ""
    pages: list[PageRecord] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sha256: str = ""
    size: int = 0
    code: str = ""
    message: str = ""
    seconds: float = 0.0
    policy: str = ""
    palette: list[list[float]] = field(default_factory=list)
    taken: int = 0
    hints: str = ""
    before: "Manifest | None" = None
    number: int = field(default=0, compare=False)
    counts: Mapping[str, int] | None = None
    colors: bytes | None = None
    followed: bytes | None = None

    @classmethod
    def from_json(cls, data: bytes | str) -> "Manifest":
        """Raises DamagedManifestError where `data` is not what `to_json` wrote, and NewerFormatError where a later
        version of it did.
        """
        try:
            values = json.loads(data)
            whole = values.pop("digest") == _digest(values)
            made_as = values.pop("format", 1)
            if whole and made_as > FORMAT:
                raise NewerFormatError(
                    f"the output folder was made by a newer mangahue: the manifest of {values.get('rel')} has format "
                    f"{made_as}, and this version reads up to {FORMAT}; update mangahue"
                )
            manifest = cls._of_values(values)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedManifestError(f"no manifest: {type(error).__name__}: {error}") from error
        if not whole:
            raise DamagedManifestError("the manifest is not what its digest says: it was altered")
        return manifest

    def to_json(self) -> bytes:
        """The manifest as JSON, with the number of its format and a digest of all its values."""
        values = {**self._values(), "format": FORMAT}
        return as_json({**values, "digest": _digest(values)})

    @property
    def is_published(self) -> bool:
        """Whether this very manifest's chapter was published, with or without flagged pages."""
        return self.status in ("done", "partial")

    @property
    def standing(self) -> "Manifest | None":
        """The manifest of what is in the output: this one, or that of an earlier version; None where nothing is."""
        if self.is_published and self.output:
            return self
        return self.before if self.status == "quarantined" else None

    @property
    def is_lost(self) -> bool:
        """Whether it can't be parsed, so that what it says was published is not known."""
        return self.status == "damaged" and not self.output

    @property
    def left(self) -> "Manifest | None":
        """The manifest of what this job has put into the output, whole or damaged since; None for nothing."""
        return self if self.status == "damaged" and self.output else self.standing

    @classmethod
    def _of_values(cls, values: dict[str, Any]) -> "Manifest":
        before = values.get("before")
        pages = [PageRecord(**{**page, "references": tuple(page.get("references", ()))}) for page in values["pages"]]
        return cls(**{**values, "pages": pages, "before": None if before is None else cls._of_values(before)})

    def _values(self) -> dict[str, Any]:
        values = {name: value for name, value in self.__dict__.items() if name not in _NOT_STORED}
        before = {} if self.before is None else {"before": self.before._values()}
        return {**values, "pages": [_stored(page) for page in self.pages], **before}

    def count(self, action: str) -> int:
        """Pages, without other members, that have this action."""
        return (self.counts if self.counts is not None else self._counted())[action]

    def summary(self) -> "Manifest":
        """The same with only those pages that the report names or shows. A driver keeps this of each chapter."""
        named = [page for page in self.pages if page.code or page.is_shown]
        pages = [replace(page, colors={}, description="", references=()) for page in named]
        counts = self.counts if self.counts is not None else self._counted()
        return replace(self, pages=pages, palette=[], counts=counts, colors=self.palette_usage, followed=self.following)

    @property
    def palette_usage(self) -> bytes:
        """The palette colours that its pages use, packed."""
        if self.colors is not None:
            return self.colors
        return palette_usage.pack((page.colors for page in self.pages), self.palette)

    @property
    def following(self) -> bytes:
        """The marked pages that its pages were shown, packed."""
        return self.followed if self.followed is not None else marks.pack(self.pages)

    def _counted(self) -> Counter[str]:
        return Counter(page.action for page in self.pages if page.index is not None)


def _stored(page: PageRecord) -> dict[str, Any]:
    """A page's record as JSON has it. What only a network that follows pages tells is left out where there is none."""
    return {name: value for name, value in page.__dict__.items() if value or name not in _OF_FOLLOWING}


def number_of(manifest: Manifest | None) -> int:
    """The number of a manifest in the log; 0 for none."""
    return 0 if manifest is None else manifest.number


def _digest(values: dict[str, Any]) -> str:
    """The digest of a manifest's values, as they are after a round trip through JSON."""
    return hashlib.sha256(json.dumps(json.loads(as_json(values)), sort_keys=True).encode()).hexdigest()
