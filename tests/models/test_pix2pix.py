"""pix2pix: the published networks, and who learns from which loss."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

import models
from models.layers import PatchDiscriminator, count_parameters
from models.losses import vanilla_gan_loss
from models.pix2pix import Pix2Pix, UNet, depth_for
from models.training import Training


def tiny(**options: object) -> Training:
    torch.manual_seed(0)
    variant = models.build("pix2pix", {"image_size": 64, "base_channels": 8, **options})
    assert isinstance(variant, Pix2Pix)
    return Training(variant, lambda network: network)


def batch(channels: int = 2) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.rand(4, 1, 64, 64, generator=draw) * 2 - 1, torch.rand(4, channels, 64, 64, generator=draw) * 2 - 1


@pytest.mark.parametrize(("inputs", "outputs", "count"), [(3, 3, 54_413_955), (1, 2, 54_409_858)])
def test_the_generator_has_the_published_number_of_parameters(inputs: int, outputs: int, count: int) -> None:
    with torch.device("meta"):
        assert count_parameters(UNet(inputs, outputs)) == count


def test_the_discriminator_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        assert count_parameters(PatchDiscriminator(6)) == 2_768_705


def test_the_default_variant_is_the_published_one() -> None:
    with torch.device("meta"):
        variant = models.build("pix2pix", {})
        assert isinstance(variant, Pix2Pix)

    assert count_parameters(variant.generator()) == 54_409_858
    assert (
        count_parameters(variant.networks["discriminator"]) == 2_768_705 - 3 * 64 * 16
    )  # ink and ab: 3 channels, not 6


@pytest.mark.parametrize(("size", "depth", "bottom"), [(256, 8, 1), (128, 7, 1), (96, 5, 3), (64, 6, 1), (512, 8, 2)])
def test_the_unet_is_as_deep_as_its_size_allows(size: int, depth: int, bottom: int) -> None:
    unet = UNet(1, 2, base_channels=2, depth=depth_for(size)).eval()
    sides = []
    for layer in unet.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, __, out: sides.append(out.shape[-1]))

    out = unet(torch.zeros(1, 1, size, size))

    assert depth_for(size) == depth
    assert sides == [size // 2**level for level in range(1, depth + 1)]
    assert sides[-1] == bottom
    assert out.shape == (1, 2, size, size)


def test_dropout_is_in_the_three_published_blocks() -> None:
    """Those between the innermost level and the widening ones: they leave 4, 8 and 16 pixels of 256."""
    unet = UNet(1, 2, base_channels=2)
    sides = []
    for layer in unet.modules():
        if isinstance(layer, nn.Dropout) and layer.p:
            layer.register_forward_hook(lambda module, _, out: sides.append((out.shape[-1], module.p)))

    unet(torch.zeros(2, 1, 256, 256))

    assert sides == [(4, 0.5), (8, 0.5), (16, 0.5)]


def test_the_skips_carry_the_page_past_the_bottom() -> None:
    """With the deepest levels silenced the output still follows the ink."""
    torch.manual_seed(0)
    unet = UNet(1, 2, base_channels=4, depth=6).eval()
    nn.init.zeros_(unet.get_submodule("levels").up[1].weight)
    one, other = torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 64, 64)

    assert not torch.equal(unet(one), unet(other))


def test_a_score_of_the_discriminator_sees_70_pixels() -> None:
    torch.manual_seed(0)
    critic = PatchDiscriminator(3, base_channels=8).eval()  # in training BatchNorm looks at all pixels
    pair = torch.rand(1, 3, 256, 256, requires_grad=True)

    scores = critic(pair)
    scores[0, 0, 15, 15].backward()

    assert scores.shape == (1, 1, 30, 30)
    assert pair.grad is not None
    seen = pair.grad[0].abs().sum(0) > 0
    rows, columns = torch.nonzero(seen.any(1)).flatten(), torch.nonzero(seen.any(0)).flatten()
    assert int(rows.max() - rows.min()) + 1 == 70
    assert int(columns.max() - columns.min()) + 1 == 70


def test_the_networks_start_from_the_published_distribution() -> None:
    torch.manual_seed(0)
    for network in (UNet(1, 2, base_channels=16), PatchDiscriminator(3, base_channels=16)):
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert float(layer.weight.detach().mean()) == pytest.approx(0, abs=0.005), name
                assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.15), name
            if isinstance(layer, nn.BatchNorm2d):
                assert float(layer.weight.detach().mean()) == pytest.approx(1, abs=0.03), name


def test_the_gan_loss_of_one_who_knows_nothing_is_ln_2() -> None:
    scores = torch.zeros(2, 1, 6, 6)

    assert float(vanilla_gan_loss(scores, real=True)) == pytest.approx(math.log(2))
    assert float(vanilla_gan_loss(scores, real=False)) == pytest.approx(math.log(2))


def test_the_gan_loss_prefers_the_right_answer() -> None:
    sure = torch.full((2, 1, 6, 6), 3.0)

    assert float(vanilla_gan_loss(sure, real=True)) == pytest.approx(math.log(1 + math.exp(-3)))
    assert float(vanilla_gan_loss(sure, real=False)) == pytest.approx(math.log(1 + math.exp(3)))


@pytest.mark.parametrize("target", ["ab", "rgb"])
def test_an_untrained_discriminator_costs_about_ln_2(target: str) -> None:
    losses = tiny(target=target).step(*batch(2 if target == "ab" else 3))

    assert float(losses["discriminator"]) == pytest.approx(math.log(2), abs=0.12)


def test_the_losses_are_those_of_the_page_that_was_painted() -> None:
    """With dropout out of the way the first step's L1 is that of a plain forward pass."""
    training = tiny()
    ink, target = batch()
    for layer in training.variant.trained_generator().modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    with torch.no_grad():
        expected = float(F.l1_loss(training.variant.trained_generator().train()(ink), target))

    losses = training.step(ink, target)

    assert float(losses["l1"]) == pytest.approx(expected, rel=1e-5)
    assert losses.keys() == {"discriminator", "gan", "l1"}


def test_the_generator_s_step_leaves_the_discriminator_alone() -> None:
    """After the discriminator's own step its weights do not move, and no gradient waits for its next."""
    training = tiny()
    critic = list(training.variant.networks["discriminator"].parameters())
    noted = []

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        if any(parameter is critic[0] for group in optimizer.param_groups for parameter in group["params"]):
            noted.append([p.detach().clone() for p in critic if p.grad is not None])

    hook = register_optimizer_step_post_hook(note)
    try:
        training.step(*batch())
    finally:
        hook.remove()

    assert len(noted) == 1
    assert len(noted[0]) == len(critic)
    for parameter, weight in zip(critic, noted[0], strict=True):
        assert torch.equal(parameter, weight)
        assert parameter.grad is None
        assert parameter.requires_grad


def test_the_discriminator_s_step_leaves_the_generator_alone() -> None:
    """When the discriminator steps, no gradient has reached the generator."""
    training = tiny()
    network = list(training.variant.trained_generator().parameters())
    seen = []

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        if any(parameter is network[0] for group in optimizer.param_groups for parameter in group["params"]):
            return
        seen.append([p.grad for p in network])

    hook = register_optimizer_step_post_hook(note)
    try:
        training.step(*batch())
    finally:
        hook.remove()

    assert len(seen) == 1
    assert all(gradient is None for gradient in seen[0])


def test_the_discriminator_learns_to_tell_truth_from_paint() -> None:
    training = tiny(learning_rate=2e-3)
    ink, target = batch()
    first = float(training.step(ink, target)["discriminator"])
    for _ in range(15):
        last = float(training.step(ink, target)["discriminator"])

    assert last < first / 2


def test_the_l1_weight_weighs() -> None:
    """Without it the first step goes elsewhere; with Adam's equal strides only the direction can tell."""

    def step(weight: float) -> Tensor:
        training = tiny(l1_weight=weight)
        before = torch.cat([p.detach().flatten().clone() for p in training.variant.generator().parameters()])
        torch.manual_seed(5)
        training.step(*batch())
        return torch.cat([p.detach().flatten() for p in training.variant.generator().parameters()]) - before

    published, without, more = step(100.0), step(0.0), step(1e6)

    def alike(one: Tensor, other: Tensor) -> float:
        return float(F.cosine_similarity(one, other, dim=0))

    assert alike(published, more) > 0.9
    assert alike(published, without) < 0.5
