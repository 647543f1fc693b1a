"""Batches in which pages of one chapter stand together, from a stream that goes through chapters in any order.

B pages of a batch.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

Example = dict[str, Tensor]  # of one page; "chapter" is its chapter's number


def grouped(batches: Iterator[Example], *, size: int, group: int, buffer: int, seed: int) -> Iterator[Example]:
    """Batches of `size` pages, each made of `group` pages of one chapter after `group` of another.

    batches: the stream, whose rows have "chapter". buffer: pages from which the groups are drawn by chance; a chapter
    of which fewer than `group` are there makes a smaller group. What is left at the end is not given.
    """
    chance = np.random.default_rng(seed)
    waiting: dict[int, list[Example]] = {}
    count = 0
    for batch in batches:
        for number, chapter in enumerate(batch["chapter"].tolist()):
            waiting.setdefault(chapter, []).append({name: values[number] for name, values in batch.items()})
            count += 1
        while count >= max(buffer, size):
            pages: list[Example] = []
            while len(pages) < size:
                pages += _draw(waiting, min(group, size - len(pages)), chance)
            count -= size
            yield {name: torch.stack([page[name] for page in pages]) for name in pages[0]}


def _draw(waiting: dict[int, list[Example]], most: int, chance: np.random.Generator) -> list[Example]:
    """Take up to `most` pages of a chapter out of those that wait; long chapters come as often as they have pages."""
    chapters = list(waiting)
    share = np.array([len(waiting[chapter]) for chapter in chapters], float)
    chapter = chapters[int(chance.choice(len(chapters), p=share / share.sum()))]
    pages = waiting[chapter]
    drawn = [pages.pop(int(chance.integers(len(pages)))) for _ in range(min(most, len(pages)))]
    if not pages:
        del waiting[chapter]
    return drawn
