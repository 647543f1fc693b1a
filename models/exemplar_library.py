"""Coloured pages that exemplar may look at. Each page to colour is shown those that are like it.

B pages to colour; R pages in colour; S side of the square. Ink (B, 1, S, S) and chroma (B, 2, S, S) in [-1, 1].
"""

from copy import copy
from math import exp

import torch
from torch import Tensor

from models.exemplar_likeness import AXES, measures
from models.exemplar_network import ExemplarGenerator, Memory, Shown

MOST_SHOWN = 12  # pages that one page looks at
_CLOSER = 20.0  # a page that is 0.05 less alike than another counts 1/e of it


def _weights(likeness: dict[int, float]) -> list[float]:
    """How much pages count that are so much alike: 1 for the most alike."""
    return [exp(_CLOSER * (value - max(likeness.values()))) for value in likeness.values()]


class _Page:
    """A page in colour, memorized when it is first shown."""

    def __init__(self, ink: Tensor, target: Tensor) -> None:
        """ink: (1, 1, S, S); target: (1, 2, S, S)."""
        self._ink, self._target = ink, target
        self._memory: Memory | None = None

    def memory(self, generator: ExemplarGenerator) -> Memory:
        if self._memory is None:
            self._memory = generator.memorize(generator.encode(self._ink)[1], self._ink, self._target)
        return self._memory


class Library:
    """Pages in colour.

    generator: in evaluation mode.
    ink, target: of R pages.
    """

    def __init__(self, generator: ExemplarGenerator, ink: Tensor, target: Tensor) -> None:
        self._generator = generator
        self._pages = [_Page(ink[n : n + 1], target[n : n + 1]) for n in range(len(ink))]
        self._described = self._describe(ink)

    def beside(self, other: "Library") -> "Library":
        """The pages of this one, and after them those of another."""
        both = copy(self)
        both._pages = self._pages + other._pages
        both._described = torch.cat([self._described, other._described])
        return both

    def alike(self, ink: Tensor) -> list[dict[int, float]]:
        """For each page the likeness of those like it, by their numbers: the most alike, MOST_SHOWN of them at most."""
        likeness = self._describe(ink) @ self._described.T
        least = float(self._generator.likeness.least)
        best = likeness.sort(dim=1, descending=True, stable=True).indices[:, :MOST_SHOWN].tolist()
        rows = [{number: float(likeness[page, number]) for number in sorted(row)} for page, row in enumerate(best)]
        return [{number: value for number, value in row.items() if value >= least} for row in rows]

    def shown(self, ink: Tensor) -> Shown:
        """What the pages `ink` are shown; the more alike a page is, the more it counts."""
        alike = self.alike(ink)
        most = max(map(len, alike), default=0)
        if not most:
            return Shown.nothing(ink, self._generator.features)
        needed = sorted({number for row in alike for number in row})
        index = torch.tensor([[needed.index(n) for n in row] + [0] * (most - len(row)) for row in alike])
        weights = torch.tensor([_weights(row) + [0.0] * (most - len(row)) for row in alike])
        parts = [self._pages[number].memory(self._generator) for number in needed]
        joined = Memory(*(torch.cat([getattr(part, name) for part in parts]) for name in ("keys", "values", "sums")))
        return joined.shown(index.to(ink.device), weights.to(ink))

    def _describe(self, ink: Tensor) -> Tensor:
        """Descriptions (B, AXES) of pages."""
        if not len(ink):
            return ink.new_zeros(0, AXES)
        found: Tensor = self._generator.likeness(measures(self._generator.encoder, ink))
        return found
