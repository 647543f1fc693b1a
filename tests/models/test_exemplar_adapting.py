"""Fitting an exemplar to coloured pages of one series."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import models
from models import exemplar_adapting
from models.exemplar import Exemplar, ExemplarConfig
from models.exemplar_adapting import SHARES, adapt

SIZE = 64


def variant() -> Exemplar:
    torch.manual_seed(0)
    return Exemplar(ExemplarConfig(image_size=SIZE, base_channels=8))


def series(count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Pages whose dark patches are blue and whose light ones are red."""
    patches = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8
    ink = torch.nn.functional.interpolate(patches, size=SIZE)
    return ink, 0.4 * torch.tensor([1.0, 1.0]).view(1, 2, 1, 1) * ink.sign()


def off(network: Exemplar, ink: Tensor, target: Tensor) -> float:
    return float((network.predict(ink) - target).norm(dim=1).mean())


def state(network: Exemplar) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.generator().state_dict().items()}


def test_the_decoder_learns_the_colours_of_the_pages_and_the_network_stays_as_it_was() -> None:
    folder = Path(models.__file__).parent / "bundled"
    network = models.load((folder / "model.json").read_bytes(), (folder / "model.safetensors").read_bytes())[0]
    assert isinstance(network, Exemplar)
    ink, target = series(5)
    before = state(network)

    changed, share = adapt(network, ink, target, 80)

    assert share in SHARES[1:]
    assert changed
    assert all(name.startswith(("ups.", "paint.")) for name in changed)
    assert all(torch.equal(value, before[name]) for name, value in network.generator().state_dict().items())
    other, truth = series(2, seed=9)
    untaught = off(network, other, truth)
    network.generator().load_state_dict({**before, **changed})
    assert off(network, other, truth) < 0.9 * untaught


def test_where_no_page_held_out_gains_nothing_is_kept() -> None:
    network, (ink, target) = variant(), series(4)
    target[3] = network.predict(ink[3:])[0]  # the page held out is right already, and the others teach otherwise

    assert adapt(network, ink, target, 10) == ({}, 0.0)


def test_the_page_held_out_says_what_share_is_kept_and_then_is_taught_too(monkeypatch: pytest.MonkeyPatch) -> None:
    network, (ink, target) = variant(), series(5)
    before = state(network)["paint.bias"]
    taught, judged = [], []

    def shift() -> Tensor:
        return state(network)["paint.bias"] - before

    def learn(_: Exemplar, ink: Tensor, *given: object) -> dict[str, Tensor]:
        taught.append(ink)
        return {"paint.bias": before + shift() + len(ink)}

    def error(_: Exemplar, shown: tuple[Tensor, Tensor], asked: tuple[Tensor, Tensor]) -> float:
        judged.append((shown[0], asked[0]))
        return float((shift() - 2).abs().mean())

    monkeypatch.setattr(exemplar_adapting, "_learn", learn)
    monkeypatch.setattr(exemplar_adapting, "_error", error)
    changed, share = adapt(network, ink, target, 10)

    assert share == 0.5
    torch.testing.assert_close(changed, {"paint.bias": before + 0.5 * len(ink)})
    others = ink[[0, 1, 2, 4]]
    assert [len(pages) for pages in taught] == [4, 5]
    assert torch.equal(taught[0], others)
    assert all(torch.equal(shown, others) and torch.equal(asked, ink[3:4]) for shown, asked in judged)


def test_a_page_held_out_is_judged_with_the_others_in_sight_and_none_is_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, (ink, target) = variant(), series(3)
    before, looked_at = state(network), list[Tensor]()
    monkeypatch.setattr(network, "look_at", lambda ink, target: looked_at.append(ink))

    adapt(network, ink, target, 1)

    torch.testing.assert_close(state(network), before, atol=0, rtol=0)
    assert all(torch.equal(pages, ink[:2]) for pages in looked_at[:-1])
    assert [len(pages) for pages in looked_at] == [2] * len(SHARES) + [0]


def test_the_same_pages_teach_the_same_and_other_chance_is_left_alone() -> None:
    made = []
    for chance in (5, 6):
        torch.manual_seed(chance)
        expected = torch.rand(3)
        torch.manual_seed(chance)
        made.append(adapt(network := variant_at_5(), *series(3), 6)[0])
        assert torch.equal(torch.rand(3), expected)
        assert network.generator().training is False
        assert all(parameter.requires_grad for parameter in network.generator().parameters())

    first, again = made
    assert first
    assert first.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def variant_at_5() -> Exemplar:
    with torch.random.fork_rng(devices=[]):
        return variant()


def test_a_single_page_is_refused() -> None:
    with pytest.raises(ValueError, match="1 pages to adapt to: at least two"):
        adapt(variant(), *series(1), 5)
