"""The exemplar variant: what it makes of coloured pages and of hints."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

import models
from imaging.target import AB_RANGE
from models.bins import rebalancing
from models.card import CheckpointError
from models.efficientnet import CHANNELS, EfficientNetLite0
from models.exemplar import Exemplar, ExemplarConfig
from models.exemplar_given import draw_hints, draw_shown, mislead
from models.exemplar_network import ExemplarGenerator
from models.training import Training
from models.variant import Variant

SIZE = 64


def trainee(seed: int = 0) -> Training:
    torch.manual_seed(seed)
    variant = Exemplar(ExemplarConfig(image_size=SIZE, base_channels=8, learning_rate=2e-3))
    return Training(variant, lambda network: network)


def chapter(hue: float, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pages of flat patches, the light ones of one hue and the dark ones of the opposite one."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.rand(count, 1, 4, 4, generator=generator) * 1.6 - 0.8
    ink = torch.nn.functional.interpolate(patches, size=SIZE)
    turn = torch.tensor([math.cos(hue), math.sin(hue)]).view(1, 2, 1, 1)
    return ink, 0.4 * turn * ink.sign()


@pytest.fixture(scope="module")
def taught() -> Variant:
    """The bundled model: it never saw pages like these."""
    folder = Path(models.__file__).parent / "bundled"
    return models.load((folder / "model.json").read_bytes(), (folder / "model.safetensors").read_bytes())[0]


def off(variant: Variant, ink: Tensor, target: Tensor, hints: Tensor | None = None) -> float:
    return float((variant.predict(ink, hints) - target).abs().mean())


@pytest.mark.parametrize("hue", [0.0, 1.6, 3.1, 4.7])
def test_a_coloured_page_tells_the_hues_of_its_chapter(taught: Variant, hue: float) -> None:
    ink, target = chapter(hue, 3, 5000)
    taught.look_at(ink[:0], target[:0])
    alone = off(taught, ink[1:], target[1:])

    taught.look_at(ink[:1], target[:1])
    followed = off(taught, ink[1:], target[1:])
    taught.look_at(*chapter(hue + math.pi, 1, 5000))
    misled = off(taught, ink[1:], target[1:])

    assert followed < 0.5 * alone
    assert misled > 1.3 * alone


def test_what_is_looked_at_is_forgotten_for_the_next(taught: Variant) -> None:
    ink, target = chapter(1.0, 3, 6000)
    taught.look_at(ink[:0], target[:0])
    alone = taught.predict(ink)

    taught.look_at(ink[:2], target[:2])
    assert not torch.equal(taught.predict(ink), alone)
    taught.look_at(ink[:0], target[:0])
    torch.testing.assert_close(taught.predict(ink), alone, atol=0, rtol=0)


def test_pages_looked_at_for_a_while_stand_beside_the_others_and_are_forgotten_even_after_an_error(
    taught: Variant,
) -> None:
    ink, target = chapter(1.0, 3, 9000)
    (first, second), page = ((ink[n : n + 1], target[n : n + 1]) for n in (0, 1)), ink[2:]
    taught.look_at(ink[:2], target[:2])
    both = taught.predict(page)
    taught.look_at(*first)
    alone = taught.predict(page)

    with taught.looking_at(taught.memorized(*second)):
        torch.testing.assert_close(taught.predict(page), both, atol=1e-5, rtol=0)
    torch.testing.assert_close(taught.predict(page), alone, atol=0, rtol=0)
    with pytest.raises(ZeroDivisionError), taught.looking_at(taught.memorized(*second)):
        raise ZeroDivisionError
    torch.testing.assert_close(taught.predict(page), alone, atol=0, rtol=0)

    taught.look_at(*second)
    assert float((both - taught.predict(page)).abs().max()) > 1e-3
    assert float((both - alone).abs().max()) > 1e-3


def test_a_hint_counts_beside_a_coloured_page(taught: Variant) -> None:
    ink, target = chapter(1.0, 2, 9000)
    taught.look_at(ink[:1], target[:1])
    hints = torch.zeros(1, 3, SIZE, SIZE)
    hints[0, :, 20:30, 20:30] = torch.tensor([1.0, -0.4, 0.4]).view(3, 1, 1)

    plain, hinted = taught.predict(ink[1:]), taught.predict(ink[1:], hints)

    spot = (slice(None), slice(None), slice(20, 30), slice(20, 30))
    told = hints[:, 1:][spot]
    assert float((hinted[spot] - told).abs().mean()) < 0.8 * float((plain[spot] - told).abs().mean())


def test_rare_colours_weigh_more_and_all_that_was_counted_weighs_one_on_average() -> None:
    variant = trainee().variant
    network = variant.networks["network"]
    centres = network.bins.centres
    network.counts.copy_(torch.randint(1, 1000, (len(centres),), generator=torch.Generator().manual_seed(0)))
    truth = (centres / AB_RANGE).T.reshape(1, 2, 1, -1)

    weights = variant.rarity(truth)[0, 0]

    share = network.counts / network.counts.sum()
    assert float((share * weights).sum()) == pytest.approx(1, abs=1e-4)
    expected = rebalancing(network.counts, centres) ** 0.5
    torch.testing.assert_close(weights / weights[0], expected / expected[0])
    same = Exemplar(ExemplarConfig(image_size=SIZE, base_channels=8, rare=0.0)).rarity(truth)
    assert torch.equal(same, torch.ones_like(same))


def test_the_losses_are_of_ab_units_and_weigh_their_pixels() -> None:
    variant = trainee().variant
    centres = variant.networks["network"].bins.centres
    vivid = int(centres.norm(dim=1).argmax())
    logits = torch.zeros(1, len(centres), 1, 2)
    logits[:, vivid] = 100  # so the mean is that bin's centre
    truth, weights = torch.zeros(1, 2, 1, 2), torch.tensor([[[2.0, 0.0]]])

    losses = variant.losses(logits, truth, weights)
    half = variant.losses(logits, truth, weights / 2)

    off = centres[vivid].abs()
    distance = torch.where(off < 5, off**2 / 10, off - 2.5).mean()  # by its square up to 5 units
    torch.testing.assert_close(losses["chroma"], distance)
    torch.testing.assert_close(half["chroma"], distance / 2)


def test_followed_pages_do_not_depend_on_their_batch(taught: Variant) -> None:
    ink, target = chapter(2.0, 4, 7000)
    hints = draw_hints(target, 1.0)
    taught.look_at(ink[:1], target[:1])

    together = taught.predict(ink, hints)

    torch.testing.assert_close(taught.predict(ink[2:3], hints[2:3]), together[2:3], atol=5e-5, rtol=0)


def test_a_page_sees_what_it_may_as_if_the_others_were_not_there() -> None:
    torch.manual_seed(0)
    network = ExemplarGenerator(8, 8, 20.0, 0.38).eval()
    ink, target = chapter(2.0, 4, 8000)
    allowed = torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1], [0, 0, 1, 0]], dtype=torch.bool)

    together = network(ink, target, allowed)

    seen, places = network.encode(ink)
    for page, pages in enumerate(allowed):
        memory = network.memorize(places[pages], ink[pages], target[pages])
        own = [features[page : page + 1] for features in seen]
        count = int(pages.sum())
        shown = memory.shown(torch.arange(count)[None], torch.ones(1, count))
        apart = network.color(ink[page : page + 1], own, places[page : page + 1], shown, None)
        torch.testing.assert_close(together[page : page + 1], apart, atol=5e-5, rtol=0)


def test_a_hint_changes_the_page_where_it_is_and_where_it_looks_alike(taught: Variant) -> None:
    ink, target = chapter(0.7, 1, 8000)
    taught.look_at(ink[:0], target[:0])
    hints = torch.zeros(1, 3, SIZE, SIZE)
    for y in (8, 24, 40, 56):
        for x in (8, 24, 40, 56):
            hints[0, 0, y - 3 : y + 3, x - 3 : x + 3] = 1
            hints[0, 1:, y - 3 : y + 3, x - 3 : x + 3] = target[0, :, y, x].view(2, 1, 1)
    hint_squares = hints[:, :1].expand(-1, 2, -1, -1) > 0

    plain, hinted = taught.predict(ink), taught.predict(ink, hints)

    assert float((hinted - target)[hint_squares].abs().mean()) < 0.6 * float(
        (plain - target)[hint_squares].abs().mean()
    )
    assert float((hinted - target)[~hint_squares].abs().mean()) < 0.95 * float(
        (plain - target)[~hint_squares].abs().mean()
    )


def test_no_page_sees_itself_or_another_chapter(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = ExemplarGenerator.forward

    def forward(network: ExemplarGenerator, ink: Tensor, ab: Tensor, allowed: Tensor, hints: Tensor) -> Tensor:
        seen.append(allowed.clone())
        return real(network, ink, ab, allowed, hints)

    monkeypatch.setattr(ExemplarGenerator, "forward", forward)
    monkeypatch.setattr("models.exemplar._STRANGERS", 0.0)
    training = trainee()
    ink, target = chapter(0.0, 6, 1)
    chapters = torch.tensor([3, 3, 3, 5, 5, 8])
    for _ in range(12):
        training.step(ink, target, chapters=chapters)

    together = torch.stack(seen)
    same = (chapters[:, None] == chapters) & ~torch.eye(6, dtype=torch.bool)
    assert not together[:, ~same].any()
    assert together[:, same].any(dim=0).all()  # each other of the chapter at some time
    assert not together[:, same].all()  # and not each time


def test_strangers_are_of_one_other_chapter_and_teach_the_true_hues(monkeypatch: pytest.MonkeyPatch) -> None:
    chapters = torch.tensor([3, 3, 3, 5, 5, 8])
    torch.manual_seed(0)
    shown, misled = mislead(draw_shown(chapters, 0.0), chapters, 0.5)

    assert misled.any()
    assert not misled.all()
    for page, others in enumerate(shown):
        seen = set(chapters[others].tolist())
        assert seen <= ({5, 8, 3} - {int(chapters[page])} if misled[page] else {int(chapters[page])})
        assert not misled[page] or others.sum() == (chapters == seen.pop()).sum()
    alone = torch.tensor([3, 3, 3])
    assert not mislead(draw_shown(alone, 0.0), alone, 1.0)[1].any()

    # A page that sees strangers alone is taught its own hues, whatever hues the strangers are shown in.
    taught = []
    monkeypatch.setattr("models.exemplar._STRANGERS", 1.0)
    monkeypatch.setattr("models.exemplar_given._TURNED", 1.0)
    monkeypatch.setattr(Exemplar, "rarity", lambda _, truth: taught.append(truth) or torch.ones_like(truth[:, 0]))
    ink, target = chapter(0.0, 6, 1)
    trainee().step(ink, target, chapters=chapters)
    torch.testing.assert_close(taught[0], torch.nn.functional.avg_pool2d(target, 2))


def test_hints_are_spots_of_the_truth() -> None:
    torch.manual_seed(3)
    target = torch.rand(4, 2, SIZE, SIZE) * 0.1 + torch.tensor([0.5, -0.5]).view(1, 2, 1, 1)

    hints = draw_hints(target, 1.0)
    none = draw_hints(target, 0.0)

    hinted = hints[:, 0] > 0
    assert hinted.flatten(1).any(dim=1).all()
    assert hinted.float().mean() < 0.5
    assert float(hints[:, 1][hinted].sub(0.55).abs().max()) < 0.06
    assert float(hints[:, 2][hinted].add(0.45).abs().max()) < 0.06
    assert not hints[:, 1:].permute(0, 2, 3, 1)[~hinted].any()
    assert not none.any()


def test_a_variant_that_follows_nothing_says_so() -> None:
    variant = models.build("pix2pix", {"image_size": SIZE, "base_channels": 4})
    ink, target = chapter(0.0, 1, 1)

    with pytest.raises(ValueError, match="pix2pix looks at no other pages"):
        variant.look_at(ink, target)
    with pytest.raises(ValueError, match="pix2pix takes no hints"):
        variant.predict(ink, torch.zeros(1, 3, SIZE, SIZE))


def published_state(seed: int = 0) -> dict[str, Tensor]:
    """A state dict of the classifier's own order and shapes, under names of another code."""
    torch.manual_seed(seed)
    body = {f"_blocks.{number}": torch.randn_like(value.float()) for number, value in
            enumerate(EfficientNetLite0().state_dict().values())}  # fmt: skip
    return {**body, "_conv_head.weight": torch.zeros(1280, 320, 1, 1), "_bn1.weight": torch.zeros(1280)}


def test_published_weights_are_taken_up_by_their_order() -> None:
    state = published_state()
    network = EfficientNetLite0()

    network.load(state)

    own = list(network.state_dict().values())
    assert all(torch.equal(mine.float(), theirs) or mine.dtype == torch.int64
               for mine, theirs in zip(own, state.values(), strict=False))  # fmt: skip


def test_weights_of_another_network_are_refused_and_change_nothing() -> None:
    state = published_state()
    network = EfficientNetLite0()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lacking = dict(list(state.items())[1:])
    first = next(iter(state))

    with pytest.raises(CheckpointError, match="tensors before their head"):
        network.load(lacking)
    with pytest.raises(CheckpointError, match=first.replace(".", r"\.")):
        network.load({**state, first: torch.zeros(3)})

    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_features_have_the_strides_that_they_say() -> None:
    seen = EfficientNetLite0()(torch.rand(2, 3, 96, 128))

    assert [tuple(features.shape) for features in seen] == [
        (2, channels, 96 // stride, 128 // stride) for channels, stride in zip(CHANNELS, (2, 4, 8, 16, 32), strict=True)
    ]


def test_the_encoder_keeps_its_statistics_and_learns_its_weights() -> None:
    training = trainee()
    encoder = training.variant.networks["network"].encoder
    before = {name: value.clone() for name, value in encoder.state_dict().items()}

    training.step(*chapter(0.0, 2, 1))

    after = encoder.state_dict()
    statistics = [name for name in before if "running" in name or "num_batches" in name]
    assert all(torch.equal(after[name], before[name]) for name in statistics)
    assert any(not torch.equal(after[name], before[name]) for name in before if name not in statistics)


def test_no_hint_tells_what_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.exemplar._HINTED", 1.0)
    torch.manual_seed(0)
    training = Training(models.build("exemplar", {"image_size": 64, "base_channels": 8}), lambda network: network)
    told: list[torch.Tensor] = []
    call = training.call
    monkeypatch.setattr(training, "call", lambda name, *given: (told.append(given[-1]), call(name, *given))[1])
    masked = torch.zeros(8, 1, 64, 64, dtype=torch.bool)
    masked[..., :32] = True
    truth = torch.full((8, 2, 64, 64), 0.4)
    training.step(torch.zeros(8, 1, 64, 64), truth, masked=masked, chapters=torch.arange(8))
    (hints,) = told
    assert not hints[..., :32].any()
    assert hints[..., 32:].any()
