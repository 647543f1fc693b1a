"""Batches of pages that belong together."""

from collections import Counter
from collections.abc import Iterator

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from datasets.grouping import grouped


def stream(chapters: list[int], size: int) -> Iterator[dict[str, Tensor]]:
    for start in range(0, len(chapters), size):
        part = chapters[start : start + size]
        yield {"chapter": torch.tensor(part), "page": torch.arange(start, start + len(part))}


@given(
    chapters=st.lists(st.integers(0, 5), min_size=1, max_size=200),
    size=st.integers(1, 8),
    group=st.integers(1, 5),
    buffer=st.integers(1, 40),
)
def test_every_page_is_given_once_at_most_in_whole_batches(
    chapters: list[int], size: int, group: int, buffer: int
) -> None:
    given_out = list(grouped(stream(chapters, 7), size=size, group=group, buffer=buffer, seed=0))

    pages = [int(page) for batch in given_out for page in batch["page"]]
    assert len(set(pages)) == len(pages)
    assert all(len(batch["page"]) == size for batch in given_out)
    assert len(chapters) - len(pages) < size
    for batch in given_out:
        assert [chapters[int(page)] for page in batch["page"]] == batch["chapter"].tolist()


def test_pages_stand_in_groups_of_their_chapter() -> None:
    chapters = [number % 5 for number in range(400)]  # never two of a chapter in a row

    for batch in grouped(stream(chapters, 10), size=8, group=4, buffer=64, seed=1):
        first, second = batch["chapter"][:4].unique(), batch["chapter"][4:].unique()
        assert len(first) == len(second) == 1


def test_no_page_is_in_a_group_twice() -> None:
    """A short stream repeats its pages again and again."""
    batches = [{"chapter": torch.tensor([0, 0, 0, 1]), "page": torch.tensor([0, 1, 2, 0])}] * 40

    for batch in grouped(iter(batches), size=6, group=4, buffer=64, seed=3):
        groups: dict[int, list[tuple[int, int]]] = {}
        for group, chapter, page in zip(*(batch[name].tolist() for name in ("group", "chapter", "page")), strict=True):
            groups.setdefault(group, []).append((chapter, page))
        assert all(len(set(pages)) == len(pages) <= 4 for pages in groups.values())
        assert all(len({chapter for chapter, _ in pages}) == 1 for pages in groups.values())


def test_another_seed_gives_other_groups_and_the_same_one_the_same() -> None:
    chapters = [number % 5 for number in range(300)]

    def order(seed: int) -> list[int]:
        batches = grouped(stream(chapters, 10), size=8, group=4, buffer=64, seed=seed)
        return [int(page) for batch in batches for page in batch["page"]]

    assert order(1) == order(1) != order(2)


def test_long_chapters_come_as_often_as_they_have_pages() -> None:
    chapters = [0] * 300 + [1] * 100
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0)).tolist()

    mixed = [chapters[i] for i in order]
    first = [batch["chapter"].tolist() for batch in grouped(stream(mixed, 10), size=4, group=4, buffer=100, seed=2)]

    share = Counter(chapter for batch in first for chapter in batch)
    assert 0.6 < share[0] / share.total() < 0.9
