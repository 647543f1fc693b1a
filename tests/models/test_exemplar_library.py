"""Which coloured pages exemplar shows to a page."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.exemplar_library import MOST_SHOWN, Library
from models.exemplar_likeness import AXES, MEASURES, measures
from models.exemplar_network import ExemplarGenerator, Shown

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


@settings(deadline=None, max_examples=25)
@given(asked=st.integers(1, 3), count=st.integers(1, 20), least=st.floats(-1, 1), seed=st.integers(0, 99))
@torch.no_grad()
def test_the_most_alike_are_shown_and_none_that_is_less_alike_than_the_least(
    asked: int, count: int, least: float, seed: int
) -> None:
    generator = network()
    generator.likeness.least.fill_(least)
    ink, others = pages(asked, seed)[0], pages(count, seed + 100)

    shown = Library(generator, *others).alike(ink)

    known = likeness(generator, ink, others[0])
    for page, numbers in enumerate(shown):
        assert list(numbers) == sorted(numbers)
        assert all(abs(value - known[page, number]) < 1e-5 for number, value in numbers.items())
        left = [number for number in range(count) if number not in numbers]
        assert len(numbers) <= MOST_SHOWN
        assert all(known[page, number] >= generator.likeness.least for number in numbers)
        if len(numbers) < MOST_SHOWN:
            assert all(known[page, number] < generator.likeness.least + 1e-5 for number in left)
        elif left:
            assert min(known[page, n] for n in numbers) >= max(known[page, n] for n in left) - 1e-5


@torch.no_grad()
def test_without_axes_the_first_pages_are_shown() -> None:
    generator = ExemplarGenerator(8, 8, 20.0, 0.38).eval()

    shown = Library(generator, *pages(MOST_SHOWN + 3, 1)).alike(pages(2, 2)[0])
    assert [list(numbers) for numbers in shown] == [list(range(MOST_SHOWN))] * 2


@torch.no_grad()
def test_a_page_is_coloured_as_if_what_it_is_not_shown_were_not_there() -> None:
    generator = network()
    ink, (others, target) = pages(4, 3)[0], pages(9, 4)
    known = likeness(generator, ink, others)
    generator.likeness.least.copy_(known.median())
    library = Library(generator, others, target)

    shown = library.shown(ink)

    seen, places = generator.encode(ink)
    together = generator.color(ink, seen, places, shown, None)
    for page in range(len(ink)):
        likeness_of = library.alike(ink[page : page + 1])[0]
        numbers = list(likeness_of)
        alone = Shown.nothing(ink[page : page + 1], generator.features)
        if numbers:
            memory = generator.memorize(generator.encode(others[numbers])[1], others[numbers], target[numbers])
            near = torch.tensor([list(likeness_of.values())])
            alone = memory.shown(torch.arange(len(numbers))[None], (20 * (near - near.max())).exp())
        own = [features[page : page + 1] for features in seen]
        apart = generator.color(ink[page : page + 1], own, places[page : page + 1], alone, None)
        torch.testing.assert_close(together[page : page + 1], apart, atol=5e-5, rtol=0)


@torch.no_grad()
def test_pages_beside_others_are_numbered_after_them_and_forgotten_with_them() -> None:
    generator = network()
    ink, ours, theirs = pages(2, 5)[0], pages(3, 6), pages(2, 7)
    generator.likeness.least.fill_(-1)
    library = Library(generator, *ours)
    before = library.shown(ink)

    both = library.beside(Library(generator, *theirs))

    assert [list(numbers) for numbers in both.alike(ink)] == [[0, 1, 2, 3, 4]] * 2
    assert both.shown(ink).keys.shape[1] == 5 * (SIZE // 8) ** 2
    assert [list(numbers) for numbers in library.alike(ink)] == [[0, 1, 2]] * 2
    assert torch.equal(library.shown(ink).keys, before.keys)
