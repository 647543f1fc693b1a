"""Coloured pages that exemplar may look at. Each page to colour is shown those that are like it.

B pages to colour; R pages in colour; S side of the square. Ink (B, 1, S, S) and chroma (B, 2, S, S) in [-1, 1].
"""

from copy import copy

import torch
from torch import Tensor

from models.exemplar_likeness import AXES, measures
from models.exemplar_network import ExemplarGenerator, Memory, Shown

MOST_SHOWN = 12  # pages that one page looks at


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

    def alike(self, ink: Tensor) -> list[list[int]]:
        """For each page the numbers of those like it, in their order: the most alike, MOST_SHOWN of them at most."""
        likeness = self._describe(ink) @ self._described.T
        least = float(self._generator.likeness.least)
        best = likeness.sort(dim=1, descending=True, stable=True).indices[:, :MOST_SHOWN].tolist()
        return [sorted(n for n in row if likeness[page, n] >= least) for page, row in enumerate(best)]

    def shown(self, ink: Tensor) -> Shown:
        """What the pages `ink` are shown."""
        alike = self.alike(ink)
        most = max(map(len, alike), default=0)
        if not most:
            return Shown.nothing(ink, self._generator.features)
        needed = sorted({number for numbers in alike for number in numbers})
        index = torch.tensor([[needed.index(n) for n in row] + [0] * (most - len(row)) for row in alike])
        weights = torch.tensor([[1.0] * len(row) + [0.0] * (most - len(row)) for row in alike])
        parts = [self._pages[number].memory(self._generator) for number in needed]
        joined = Memory(*(torch.cat([getattr(part, name) for part in parts]) for name in ("keys", "values", "sums")))
        return joined.shown(index.to(ink.device), weights.to(ink))

    def _describe(self, ink: Tensor) -> Tensor:
        """Descriptions (B, AXES) of pages."""
        if not len(ink):
            return ink.new_zeros(0, AXES)
        found: Tensor = self._generator.likeness(measures(self._generator.encoder, ink))
        return found
