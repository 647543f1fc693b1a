"""Batches in which pages of one chapter stand together, made of a stream that has chapters in any order.

B: pages of a batch.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

Example = dict[str, Tensor]  # one page; "chapter" is the number of its chapter, "page" its own number there


def grouped(batches: Iterator[Example], *, size: int, group: int, buffer: int, seed: int) -> Iterator[Example]:
    """Yield batches of `size` pages, each made of `group` pages of one chapter after `group` of another.

    batches: the stream, whose rows have "chapter" and "page".
    size: pages of a batch.
    group: pages of one chapter that stand together. A chapter with fewer pages in the buffer makes a smaller group.
    buffer: number of pages from which the groups are drawn by chance.
    seed: of the draws.

    No page is in a group twice, however often it is in the stream. Pages left at the end that do not fill a batch are
    dropped. Each batch has "group" too: equal numbers for pages of one group.
    """
    chance = np.random.default_rng(seed)
    waiting: dict[int, list[Example]] = {}
    count = 0
    for batch in batches:
        for number, chapter in enumerate(batch["chapter"].tolist()):
            waiting.setdefault(chapter, []).append({name: values[number] for name, values in batch.items()})
            count += 1
        while count >= max(buffer, size):
            yield _batch(waiting, size, group, chance)
            count -= size
    while count >= size:
        yield _batch(waiting, size, group, chance)
        count -= size


def _batch(waiting: dict[int, list[Example]], size: int, group: int, chance: np.random.Generator) -> Example:
    pages: list[Example] = []
    groups: list[int] = []
    while len(pages) < size:
        drawn = _draw(waiting, min(group, size - len(pages)), chance)
        groups += [len(pages)] * len(drawn)
        pages += drawn
    stacked = {name: torch.stack([page[name] for page in pages]) for name in pages[0]}
    return {**stacked, "group": torch.tensor(groups, device=stacked["chapter"].device)}


def _draw(waiting: dict[int, list[Example]], most: int, chance: np.random.Generator) -> list[Example]:
    """Take up to `most` pages of a chapter out of those that wait.

    A chapter is drawn as often as it has pages.
    """
    chapters = list(waiting)
    share = np.array([len(waiting[chapter]) for chapter in chapters], float)
    chapter = chapters[int(chance.choice(len(chapters), p=share / share.sum()))]
    pages = waiting[chapter]
    drawn: list[Example] = []
    for number in chance.permutation(list({int(page["page"]) for page in pages}))[:most]:
        drawn.append(pages.pop(next(i for i, page in enumerate(pages) if int(page["page"]) == number)))
    if not pages:
        del waiting[chapter]
    return drawn
