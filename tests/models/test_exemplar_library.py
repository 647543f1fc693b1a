"""Which coloured pages exemplar shows to a page."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.card import MOST_SHOWN
from models.exemplar_library import Library
from models.exemplar_likeness import AXES, MEASURES, measures
from models.exemplar_network import ExemplarGenerator

SIZE = 64


def network(seed: int = 0) -> ExemplarGenerator:
    """With axes drawn at random, which tell pages apart as well as any for a test."""
    torch.manual_seed(seed)
    generator = ExemplarGenerator(8, 8, 20.0, 0.38).eval()
    generator.likeness.axes.copy_(torch.randn(MEASURES, AXES))
    return generator


def pages(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    patches = torch.rand(count, 3, 8, 8, generator=generator) * 2 - 1
    both = torch.nn.functional.interpolate(patches, size=SIZE)
    return both[:, :1], both[:, 1:] / 2


@torch.no_grad()
def likeness(generator: ExemplarGenerator, ink: Tensor, others: Tensor) -> Tensor:
    described = [generator.likeness(measures(generator.encoder, part)) for part in (ink, others)]
    return described[0] @ described[1].T


@settings(max_examples=25)
@given(count=st.integers(1, 20), least=st.floats(-1, 1), seed=st.integers(0, 99))
@torch.no_grad()
def test_the_most_alike_are_shown_and_none_that_is_less_alike_than_the_least(
    count: int, least: float, seed: int
) -> None:
    generator = network()
    generator.likeness.least.fill_(least)
    page, others = pages(1, seed)[0], pages(count, seed + 100)

    shown = Library(generator, *others).alike(page)

    known = likeness(generator, page, others[0])[0]
    left = [number for number in range(count) if number not in shown]
    assert list(shown) == sorted(shown)
    assert len(shown) <= MOST_SHOWN
    assert all(abs(value - known[number]) < 1e-5 for number, value in shown.items())
    assert all(value >= generator.likeness.least for value in shown.values())
    if len(shown) < MOST_SHOWN:
        assert all(known[number] < generator.likeness.least + 1e-5 for number in left)
    elif left:
        assert min(shown.values()) >= max(known[number] for number in left) - 1e-5


@torch.no_grad()
def test_without_axes_the_first_pages_are_shown() -> None:
    generator = ExemplarGenerator(8, 8, 20.0, 0.38).eval()

    shown = Library(generator, *pages(MOST_SHOWN + 3, 1)).alike(pages(1, 2)[0])
    assert list(shown) == list(range(MOST_SHOWN))


@torch.no_grad()
def test_the_more_alike_a_page_is_the_more_it_counts() -> None:
    generator = network()
    page, (others, target) = pages(1, 3)[0], pages(5, 4)
    generator.likeness.least.fill_(-1)
    library = Library(generator, others, target)
    alike = library.alike(page)

    shown = library.shown(page)

    memory = generator.memorize(generator.encode(others)[1], others, target)
    counts = torch.tensor(list(alike.values()))
    weights = (20 * (counts - counts.max())).exp()
    torch.testing.assert_close(shown.sums[0], (memory.sums * weights[:, None, None]).sum(0), atol=1e-5, rtol=0)
    assert shown.keys.shape[1] == len(weights) * (SIZE // 8) ** 2
    counted = weights.log().repeat_interleave((SIZE // 8) ** 2)
    torch.testing.assert_close(shown.mask[0], counted, atol=1e-4, rtol=0)


@torch.no_grad()
def test_pages_beside_others_are_numbered_after_them_and_forgotten_with_them() -> None:
    generator = network()
    ink, ours, theirs = pages(1, 5)[0], pages(3, 6), pages(2, 7)
    generator.likeness.least.fill_(-1)
    library = Library(generator, *ours)
    before = library.shown(ink)

    both = library.beside(Library(generator, *theirs))

    assert list(both.alike(ink)) == [0, 1, 2, 3, 4]
    joined = Library(generator, *(torch.cat(parts) for parts in zip(ours, theirs, strict=True))).shown(ink)
    for name in ("keys", "mask", "sums"):
        torch.testing.assert_close(getattr(both.shown(ink), name), getattr(joined, name))
    assert list(library.alike(ink)) == [0, 1, 2]
    assert torch.equal(library.shown(ink).keys, before.keys)


@torch.no_grad()
def test_a_page_is_described_at_half_its_size_by_how_it_differs_from_the_mean() -> None:
    generator = network()
    ink = pages(2, 8)[0]
    seen = measures(generator.encoder, ink)
    torch.testing.assert_close(seen, measures(generator.encoder, torch.nn.functional.avg_pool2d(ink, 2)))
    generator.likeness.mean.copy_(seen[0])

    described = generator.likeness(seen)

    assert float(described[0].norm()) == 0  # nothing tells it from the mean
    assert abs(float(described[1].norm()) - 1) < 1e-5
