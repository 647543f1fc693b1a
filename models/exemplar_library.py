"""Coloured pages that exemplar may look at. Each page to colour is shown those that are like it.

B pages to colour; R pages in colour; S side of the square. Ink (B, 1, S, S) and chroma (B, 2, S, S) in [-1, 1].
"""

from copy import copy

import torch
from torch import Tensor

from models.card import MOST_SHOWN
from models.exemplar_likeness import AXES
from models.exemplar_network import ExemplarGenerator, Memory, Shown

_CLOSER = 20.0  # a page that is 0.05 less alike than another counts 1/e of it


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

    def __len__(self) -> int:
        return len(self._pages)

    def alike(self, page: Tensor) -> dict[int, float]:
        """The likeness of those like a page (1, 1, S, S), by their numbers: the MOST_SHOWN most alike at most."""
        likeness = (self._describe(page) @ self._described.T)[0]
        best = likeness.sort(descending=True, stable=True).indices[:MOST_SHOWN].tolist()
        least = float(self._generator.likeness.least)
        return {number: float(likeness[number]) for number in sorted(best) if likeness[number] >= least}

    def shown(self, page: Tensor) -> Shown:
        """What a page (1, 1, S, S) is shown; the more alike one is, the more it counts."""
        alike = self.alike(page) if self._pages else {}
        if not alike:
            return Shown.nothing(page, self._generator.features)
        parts = [self._pages[number].memory(self._generator) for number in alike]
        joined = Memory(*(torch.cat([getattr(part, name) for part in parts]) for name in ("keys", "values", "sums")))
        near = torch.tensor([list(alike.values())]).to(page)
        return joined.shown(torch.arange(len(parts), device=page.device)[None], (_CLOSER * (near - near.max())).exp())

    def _describe(self, ink: Tensor) -> Tensor:
        """Descriptions (B, AXES) of pages."""
        if not len(ink):
            return ink.new_zeros(0, AXES)
        return self._generator.describe(ink)
