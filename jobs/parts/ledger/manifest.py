"""A chapter's entry in the commit log, and its pages'.

A manifest ends with a digest of itself: one that was altered is no manifest.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from datasets.errors import MangahueError
from jobs.parts.ledger.palette_usage import pack
from jobs.parts.runtime.outcome import as_json


@dataclass(frozen=True)
class PageRecord:
    """What was done to one member. action: coloured, kept (already in colour, or no page), flagged (not decodable).

    name: in the source. output: its name in the output. size: bytes in the output; width, height: pixels, 0 where not
    known. code, message: why it is flagged; a message alone: why it is kept. colors: of the palette that it uses, as
    palette_usage.py tells them. hints: digest of those that were given for it. preview: where the report finds a small
    picture of it, below `_mangahue/`, without the suffix.
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


class DamagedManifestError(MangahueError):
    """What lies at a manifest's place is not what was written there."""


@dataclass(frozen=True)
class Manifest:
    """A chapter's entry in the commit log. status: done, partial (a page is flagged), quarantined, damaged, failed.

    A failed chapter has no manifest in the folder: the next run tries it again, as it does a damaged one, of which
    verify.py found that it is no longer what was published. version: of the source. output: its key, "" where nothing
    is published. sha256, size: of the archive; empty for a folder. policy: under which a quarantined chapter was
    refused. code, message: what is wrong with the chapter as a whole. palette: ab of each of its colours. hints: digest
    of the chapter's. taken: pages that stay as they were published before palette or hints were edited. counts, colors:
    of a summary, pages by action, and what they tell of the palette's colours, packed.
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
    counts: Mapping[str, int] | None = None
    colors: bytes | None = None

    @classmethod
    def from_json(cls, data: bytes | str) -> "Manifest":
        """Raises DamagedManifestError where it is not what `to_json` wrote."""
        try:
            values = json.loads(data)
            digest = values.pop("digest")
            manifest = cls(**{**values, "pages": [PageRecord(**page) for page in values["pages"]]})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedManifestError(f"no manifest: {type(error).__name__}: {error}") from error
        if digest != _digest(values):
            raise DamagedManifestError("the manifest is not what its digest says: it was altered")
        return manifest

    def to_json(self) -> bytes:
        """What `from_json` reads, with a digest of it all."""
        values = {name: value for name, value in self.__dict__.items() if name not in ("counts", "colors")}
        values["pages"] = [page.__dict__ for page in self.pages]
        return as_json({**values, "digest": _digest(values)})

    def count(self, action: str) -> int:
        """Pages (not other members) with this action."""
        return (self.counts if self.counts is not None else self._counted())[action]

    def summary(self) -> "Manifest":
        """The same without the pages that nothing is to be said of: what a driver keeps of each chapter."""
        pages = [replace(page, colors={}) for page in self.pages if page.code or page.preview]
        counts = self.counts if self.counts is not None else self._counted()
        return replace(self, pages=pages, palette=[], counts=counts, colors=self.palette_usage)

    @property
    def palette_usage(self) -> bytes:
        """The palette's colours in it, packed."""
        if self.colors is not None:
            return self.colors
        return pack((page.colors for page in self.pages), self.palette)

    def _counted(self) -> Counter[str]:
        return Counter(page.action for page in self.pages if page.index is not None)


def _digest(values: dict[str, Any]) -> str:
    """Of a manifest's values, as they are when they are read again."""
    return hashlib.sha256(json.dumps(json.loads(as_json(values)), sort_keys=True).encode()).hexdigest()
