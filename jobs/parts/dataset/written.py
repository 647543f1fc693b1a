"""What a job has written of a data set so far: a task of it, or all in all."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from datasets.shards import Shard
from jobs.parts.dataset.facts import PageFacts
from jobs.parts.source.failure import Failure


@dataclass
class Written:
    """What a task, or the whole job, has written.

    shards: the shards.
    failures: source, code and message of each chapter or page that could not be read.
    chroma: sums of the mean a and b of `colored` training pages.
    colored: training pages with colour.
    paired: pages that have both editions.
    unfinished: how many of the failures say nothing of the page or chapter: storage failed, or a tool is missing.
    facts: of each page in the shards.
    previews: (row, JPEG in base64) of some of them, evenly spread; a row as `PageFacts.row` gives it.
    """

    shards: list[Shard] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    chroma: list[float] = field(default_factory=lambda: [0.0, 0.0])
    colored: int = 0
    paired: int = 0
    unfinished: int = 0
    facts: list[PageFacts] = field(default_factory=list)
    previews: list[tuple[tuple[str, int, str], str]] = field(default_factory=list)

    @property
    def pages(self) -> int:
        """How many pages are in the shards."""
        return sum(shard.pages for shard in self.shards)

    @classmethod
    def from_json(cls, text: str) -> "Written":
        return cls.of(json.loads(text))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Written":
        made = {
            "shards": [Shard(**shard) for shard in values["shards"]],
            "facts": [PageFacts.from_json(facts) for facts in values.get("facts", [])],
            "previews": [((row[0], row[1], row[2]), jpeg) for row, jpeg in values.get("previews", [])],
        }
        return cls(**{**values, **made})

    def fail(self, failure: Failure) -> None:
        """Count what could not be read."""
        self.unfinished += not failure.final
        self.failures.append(failure.to_json())

    def note(self, page: PageFacts) -> None:
        """Count a page of the shards."""
        self.facts.append(page)
        self.paired += page.gray and page.color
        if page.split == "train" and page.chroma is not None:
            self.chroma = [self.chroma[0] + page.chroma[0], self.chroma[1] + page.chroma[1]]
            self.colored += 1

    def show(self, page: PageFacts, preview: Callable[[], bytes], most: int) -> None:
        """Keep the preview of the page noted last, if its turn is there: from `most` to twice that are kept."""
        number = len(self.facts) - 1
        stride = 1 << (number // (2 * most)).bit_length()
        if number and stride != 1 << ((number - 1) // (2 * most)).bit_length():
            self.previews = self.previews[::2]
        if number % stride == 0:
            self.previews.append((page.row, base64.b64encode(preview()).decode()))

    @property
    def shown(self) -> list[tuple[PageFacts, bytes]]:
        """The facts and the preview of each page that has one."""
        noted = {page.row: page for page in self.facts}
        return [(noted[row], base64.b64decode(jpeg)) for row, jpeg in self.previews]

    def add(self, other: "Written") -> None:
        self.shards += other.shards
        self.failures += other.failures
        self.chroma = [a + b for a, b in zip(self.chroma, other.chroma, strict=True)]
        self.colored += other.colored
        self.paired += other.paired
        self.unfinished += other.unfinished
        self.facts += other.facts
        self.previews += other.previews
