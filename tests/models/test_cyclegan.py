"""CycleGAN: the published networks, who learns from which loss, the image pools, and what the identity loss is for."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from models.card import CheckpointError
from models.checkpoint import from_bytes, to_bytes
from models.cyclegan import (
    CycleGAN,
    CycleGANConfig,
    ImagePool,
    ResnetGenerator,
    SkipGenerator,
    StridedDiscriminator,
    patch_discriminator,
)
from models.layers import count_parameters
from models.losses import lsgan_loss
from models.training import Training

GROUPS = {"generators": ("to_color", "to_ink"), "discriminators": ("of_color", "of_ink")}

each_generator = pytest.mark.parametrize("generator", ["resnet", "skip"])


def tiny(generator: str = "resnet", seed: int = 0, **options: object) -> Training:
    torch.manual_seed(seed)
    small = {"image_size": 64, "base_channels": 4, "blocks": 1, **options}
    return Training(CycleGAN(CycleGANConfig(generator=generator, **small)), lambda network: network)  # type: ignore[arg-type]


def batch(count: int = 2, size: int = 64, seed: int = 1) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(count, channels, size, size, generator=draw) * 2 - 1 for channels in (1, 3))  # type: ignore[return-value]


def l1(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).abs().mean()


def expected_losses(training: Training, ink: Tensor, target: Tensor) -> tuple[dict[str, Tensor], dict[str, nn.Module]]:
    """The losses of a first step by the formulas of the paper, on copies of the networks; the copies."""
    nets = {name: deepcopy(training.variant.networks[name]).train() for names in GROUPS.values() for name in names}
    to_color, to_ink, of_color, of_ink = nets.values()
    ink = torch.cat([ink, ink, ink], 1)
    predicted, inked = to_color(ink), to_ink(target)
    losses = {
        "generator": ((of_color(predicted) - 1) ** 2).mean() + ((of_ink(inked) - 1) ** 2).mean(),
        "cycle": l1(to_ink(predicted), ink) + l1(to_color(inked), target),
        "identity": l1(to_color(target), target) + l1(to_ink(ink), ink),
        "discriminator": sum(
            ((critic(real) - 1) ** 2).mean() + (critic(fake.detach()) ** 2).mean()
            for critic, real, fake in ((of_color, target, predicted), (of_ink, ink, inked))
        ),
    }
    return losses, nets


def on_each_step(note: Callable[[str], None], training: Training, *batches: tuple[Tensor, Tensor]) -> None:
    """Train, and call `note` with the optimizer group that has just stepped, its gradients still there."""
    owner = {
        id(parameter): group
        for group, networks in training.variant.optimizer_groups.items()
        for network in networks.values()
        for parameter in network.parameters()
    }
    hook = register_optimizer_step_post_hook(lambda it, *_: note(owner[id(it.param_groups[0]["params"][0])]))
    try:
        for ink, target in batches:
            training.step(ink, target)
    finally:
        hook.remove()


def gradients(training: Training, group: str) -> list[Tensor | None]:
    return [p.grad for name in GROUPS[group] for p in training.variant.networks[name].parameters()]


# The networks.


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (ResnetGenerator, 11_378_179),
        (patch_discriminator, 2_764_737),
        (SkipGenerator, 1_523_776),
        (StridedDiscriminator, 1_743_072),
    ],
)
def test_a_network_has_the_published_number_of_parameters(network: type[nn.Module], count: int) -> None:
    with torch.device("meta"):
        assert count_parameters(network()) == count


@pytest.mark.parametrize(
    ("options", "one", "all_four"),
    [
        ({}, 11_378_179, 2 * (11_378_179 + 2_764_737)),
        ({"generator": "skip", "base_channels": 32}, 1_523_776, 6_533_696),
    ],
)
def test_the_variant_has_the_published_networks(options: dict[str, object], one: int, all_four: int) -> None:
    with torch.device("meta"):
        variant = CycleGAN(CycleGANConfig(**options))  # type: ignore[arg-type]

    networks = [variant.networks[name] for names in GROUPS.values() for name in names]
    assert count_parameters(variant.generator()) == one
    assert sum(map(count_parameters, networks)) == all_four
    assert not variant.paired


@pytest.mark.parametrize("size", [64, 96])
@each_generator
def test_a_prediction_has_the_shape_and_range_of_a_color_page(generator: str, size: int) -> None:
    training = tiny(generator, image_size=size, blocks=2)
    ink = batch(2, size)[0]

    colored = training.variant.predict(ink)

    assert colored.shape == (2, 3, size, size)
    assert 0 < float(colored.abs().max()) <= 1
    assert torch.equal(colored, training.variant.networks["to_color"].eval()(ink.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(
    ("network", "size", "side"),
    [
        (patch_discriminator, 256, 30),
        (patch_discriminator, 32, 2),
        (StridedDiscriminator, 256, 4),
        (StridedDiscriminator, 96, 1),
        (StridedDiscriminator, 64, 1),
    ],
)
def test_a_discriminator_gives_a_grid_of_scores(network: Callable[[int], nn.Module], size: int, side: int) -> None:
    assert network(2)(torch.zeros(2, 3, size, size)).shape == (2, 1, side, side)


def test_the_resnet_generator_pads_by_reflection() -> None:
    """A page without a line has no border: as far as the layers that only pad and convolve go."""
    torch.manual_seed(0)
    generator = ResnetGenerator(base_channels=2, blocks=9)
    first = generator.layers[:2](torch.full((1, 3, 16, 16), 0.7))
    paddings = [layer.padding[0] for layer in generator.modules() if isinstance(layer, nn.ReflectionPad2d)]

    assert paddings == [3] + 18 * [1] + [3]
    assert float(first.detach().std((2, 3)).max()) < 1e-6


def test_the_skip_generator_has_the_published_sizes_and_edges() -> None:
    generator = SkipGenerator(base_channels=2, blocks=1).eval()
    sides = []
    for layer in generator.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.ZeroPad2d):
            layer.register_forward_hook(lambda _, __, out: sides.append(out.shape[-1]))

    out = generator(torch.rand(1, 3, 256, 256))

    assert sides == [252, 126, 63, 63, 63, 125, 126, 251, 252, 256]
    assert not out[..., -1, :].any()  # what the zeros at the right and the bottom come to, as published
    assert not out[..., :, -1].any()
    assert out[..., 0, :].any()


def test_the_blocks_of_the_skip_generator_are_tied() -> None:
    """x + cv(lrelu(cv(x))): one convolution and one BatchNorm, used twice."""
    torch.manual_seed(0)
    generator = SkipGenerator(base_channels=2, blocks=3).eval()
    x = torch.randn(1, 8, 5, 5)
    uses = []
    for block in generator.blocks:
        conv, norm = (layer for layer in block.modules() if not list(layer.children()))
        conv.register_forward_hook(lambda module, *_: uses.append(id(module)))
        hidden = F.leaky_relu(norm(F.conv2d(x, conv.weight, padding=1)), 0.2)
        expected = x + norm(F.conv2d(hidden, conv.weight, padding=1))
        torch.testing.assert_close(block(x), expected)

    assert len(uses) == 6
    assert [uses.count(conv) for conv in uses] == 6 * [2]


def test_the_skip_of_the_skip_generator_carries_no_gradient() -> None:
    """With blocks that add nothing the decoder sees the features twice, and their gradient comes once."""
    torch.manual_seed(0)
    generator = SkipGenerator(base_channels=2, blocks=2).eval()
    for block in generator.blocks.modules():
        if isinstance(block, nn.BatchNorm2d):
            nn.init.zeros_(block.weight)
    seen: list[Tensor] = []
    generator.encoder.register_forward_hook(lambda _, __, out: seen.append(out))
    generator.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))

    generator(torch.rand(1, 3, 32, 32))

    features, decoded = seen
    torch.testing.assert_close(decoded, 2 * features)
    (gradient,) = torch.autograd.grad(decoded.sum(), features)
    torch.testing.assert_close(gradient, torch.ones_like(features))


def test_the_networks_start_from_the_published_distributions() -> None:
    torch.manual_seed(0)
    for network, std in ((ResnetGenerator(8), 0.02), (patch_discriminator(8), 0.02), (SkipGenerator(8), 0.2)):
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert float(layer.weight.detach().std()) == pytest.approx(std, rel=0.15), name
                assert layer.bias is None or not layer.bias.any()
            if isinstance(layer, nn.BatchNorm2d):
                assert torch.equal(layer.weight, torch.ones_like(layer.weight))
    for layer in StridedDiscriminator(8).modules():  # torch's own: uniform within 1 / sqrt(inputs)
        if isinstance(layer, nn.Conv2d):
            assert float(layer.weight.detach().abs().max()) == pytest.approx(layer.weight[0].numel() ** -0.5, rel=0.05)


# Options.


@pytest.mark.parametrize(
    ("option", "value"),
    [("generator", "unet"), ("blocks", 0), ("target", "ab"), ("cycle_weight", -1.0), ("identity_weight", float("nan"))],
)
def test_a_bad_option_is_refused_by_its_name(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{option} is .*{value}"):
        CycleGANConfig(**{option: value})  # type: ignore[arg-type]


def test_a_page_too_small_for_the_discriminator_is_refused() -> None:
    assert CycleGANConfig(image_size=32).image_size == 32
    assert CycleGANConfig(image_size=64, generator="skip").image_size == 64
    with pytest.raises(ValueError, match=r"^image_size is 60.*64"):
        CycleGANConfig(image_size=60, generator="skip")


# The losses, and who learns from them.


def test_the_gan_loss_is_the_squared_distance_from_the_right_answer() -> None:
    scores = torch.tensor([1.0, 0.0, -1.0], dtype=torch.bfloat16)

    assert float(lsgan_loss(scores, real=True)) == pytest.approx((0 + 1 + 4) / 3)
    assert float(lsgan_loss(scores, real=False)) == pytest.approx((1 + 0 + 1) / 3)


@pytest.mark.parametrize(("generator", "share"), [("resnet", 0.5), ("skip", 1.0)])
def test_the_losses_are_those_of_the_paper(generator: str, share: float) -> None:
    """The discriminators' loss is halved with the paper's networks, and not with the write-up's."""
    training = tiny(generator)
    expected, _ = expected_losses(training, *batch())

    losses = training.step(*batch())

    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert float(losses[name]) == pytest.approx(
            float(value.detach()) * (share if name == "discriminator" else 1), rel=1e-4
        )


@each_generator
@pytest.mark.parametrize(("cycle_weight", "identity_weight"), [(10.0, 5.0), (3.0, 0.5), (0.0, 0.0)])
def test_each_group_learns_from_its_own_losses(generator: str, cycle_weight: float, identity_weight: float) -> None:
    """The gradients that each optimizer steps with are those of the formulas, and the other group has none."""
    training = tiny(generator, cycle_weight=cycle_weight, identity_weight=identity_weight)
    losses, nets = expected_losses(training, *batch())
    of_generators = losses["generator"] + cycle_weight * losses["cycle"] + identity_weight * losses["identity"]
    of_critics = losses["discriminator"] * (0.5 if generator == "resnet" else 1.0)
    order = []

    def note(group: str) -> None:
        (other,) = GROUPS.keys() - {group}
        wanted = [p for name in GROUPS[group] for p in nets[name].parameters()]
        loss = of_generators if group == "generators" else of_critics
        for ours, theirs in zip(
            gradients(training, group), torch.autograd.grad(loss, wanted, retain_graph=True), strict=True
        ):
            assert ours is not None
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
        assert gradients(training, other) == [None] * len(gradients(training, other))
        order.append(group)

    on_each_step(note, training, batch())

    assert order == ["generators", "discriminators"]
    for names in GROUPS.values():
        for name in names:
            assert all(p.requires_grad and p.grad is None for p in training.variant.networks[name].parameters())


@pytest.mark.parametrize(("identity_weight", "passes"), [(5.0, 3), (0.0, 2)])
def test_an_identity_loss_that_weighs_nothing_costs_nothing(identity_weight: float, passes: int) -> None:
    training = tiny(identity_weight=identity_weight)
    calls = []
    for name in GROUPS["generators"]:
        training.variant.networks[name].register_forward_hook(lambda *_, name=name: calls.append(name))

    losses = training.step(*batch())

    assert sorted(calls) == passes * ["to_color"] + passes * ["to_ink"]
    assert (float(losses["identity"]) > 0) == (identity_weight > 0)


def test_colors_invert_without_the_identity_loss_and_not_with_it() -> None:
    """Pages tinted by their gray, as many bright as dark: the inverted mapping looks as real and cycles as well.

    From a start that leans towards it, training takes it to the end; the identity loss turns it back. Seen by the
    slope of the colours over the true ones: 1 as they are, -1 inverted.
    """
    tint = torch.tensor([0.9, 0.8, 0.5]).view(1, 3, 1, 1)

    def ink(seed: int, count: int = 2) -> Tensor:
        patches = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        return F.interpolate(patches, size=32)

    def slope(training: Training) -> float:
        page = ink(999, 8)
        truth = tint * page
        return float((training.variant.trained_generator()(page) * truth).sum().detach() / truth.square().sum())

    def at_start(identity_weight: float) -> Training:
        return tiny(image_size=32, identity_weight=identity_weight, learning_rate=4e-3)

    leaning = at_start(0.0)
    for name, given, wanted in (("to_color", 1, tint), ("to_ink", tint, torch.ones_like(tint))):
        network = leaning.variant.networks[name]
        lean = torch.optim.Adam(network.parameters(), lr=4e-3)
        for number in range(40):
            page = ink(1000 + number)
            F.mse_loss(network(given * page.repeat(1, 3, 1, 1)), -0.1 * wanted * page).backward()
            lean.step()
            lean.zero_grad()
    assert -0.2 < slope(leaning) < 0

    def trained(identity_weight: float) -> float:
        training = at_start(identity_weight)
        for name in GROUPS["generators"]:
            training.variant.networks[name].load_state_dict(leaning.variant.networks[name].state_dict())
        for number in range(40):
            torch.manual_seed(number)
            training.step(ink(2 * number), tint * ink(2 * number + 1))
        return slope(training)

    assert trained(0.0) < -0.6
    assert trained(5.0) > 0.6


# The image pools.


def numbered(*numbers: int) -> Tensor:
    """Flat images, exact in float16."""
    return torch.stack([torch.full((3, 4, 4), number / 256) for number in numbers])


def numbers(images: Tensor) -> list[int]:
    assert torch.equal(images, images[:, :1, :1, :1].expand_as(images))
    return (images[:, 0, 0, 0] * 256).int().tolist()


def test_a_pool_fills_with_the_first_images_and_gives_them_back() -> None:
    pool = ImagePool(size=4, capacity=5)
    images = numbered(1, 2, 3).requires_grad_()

    judged = pool.exchange(images)
    assert torch.equal(judged, images)
    assert not judged.requires_grad
    assert numbers(pool.state()) == [1, 2, 3]

    judged = pool.exchange(numbered(4, 5, 6, 7, 8, 9))
    assert numbers(judged)[:2] == [4, 5]
    assert pool.state().shape == (5, 3, 4, 4)


def test_a_full_pool_swaps_every_second_image_for_an_older_one() -> None:
    """No image is lost or doubled: each leaves the pool when another takes its place."""
    torch.manual_seed(0)
    pool, judged = ImagePool(size=4, capacity=10), []
    for first in range(0, 210, 7):
        fresh = range(first, first + 7)
        given = numbers(pool.exchange(numbered(*fresh)))
        older = [number for number in given if number not in fresh]
        judged += given
        assert all(number < first for number in older)

    fresh_or_older = [position == number for position, number in enumerate(judged)]
    assert all(fresh_or_older[:10])
    assert 80 < sum(fresh_or_older[10:]) < 120  # of 200
    assert sorted(judged[10:] + numbers(pool.state())) == list(range(210))[: len(judged)]
    assert len(set(numbers(pool.state()))) == 10


def test_a_pool_keeps_images_of_its_own_and_returns_what_fits_those_given() -> None:
    pool = ImagePool(size=4, capacity=1)
    images = numbered(1).half()
    pool.exchange(images)
    images.zero_()

    torch.manual_seed(0)
    judged = torch.cat([pool.exchange(numbered(2).bfloat16()) for _ in range(8)])

    assert judged.dtype is torch.bfloat16
    assert pool.state().dtype is torch.float16
    assert 1 in numbers(judged)


def test_a_pool_goes_on_where_it_was_saved() -> None:
    torch.manual_seed(0)
    whole = ImagePool(size=4, capacity=6)
    for _ in range(8):
        whole.exchange(torch.rand(3, 3, 4, 4) * 2 - 1)
    second = ImagePool(size=4, capacity=6)
    second.load_state(from_bytes(to_bytes({"pool": whole.state()}))["pool"])

    for number in range(8):
        outcomes = []
        for pool in (whole, second):
            torch.manual_seed(number)
            outcomes.append(pool.exchange(torch.rand(3, 3, 4, 4) * 2 - 1))
        assert torch.equal(*outcomes)
    assert torch.equal(whole.state(), second.state())


@pytest.mark.parametrize(
    "state",
    [
        torch.zeros(2, 3, 8, 8, dtype=torch.float16),
        torch.zeros(2, 1, 4, 4, dtype=torch.float16),
        torch.zeros(3, 4, 4, dtype=torch.float16),
        torch.zeros(7, 3, 4, 4, dtype=torch.float16),
        torch.zeros(2, 3, 4, 4),
    ],
)
def test_a_pool_refuses_a_state_of_another_shape_or_kind(state: Tensor) -> None:
    pool = ImagePool(size=4, capacity=6)
    pool.exchange(numbered(1))

    with pytest.raises(CheckpointError, match="image pool"):
        pool.load_state(state)

    assert numbers(pool.state()) == [1]


@pytest.mark.parametrize(("generator", "pooled"), [("resnet", True), ("skip", False)])
def test_the_discriminators_judge_what_their_pools_return(generator: str, pooled: bool) -> None:
    """Full after two steps of 25 pages; then about half of the images judged are of earlier steps."""
    training = tiny(generator, base_channels=2, image_size=32 if pooled else 64)
    seen: dict[str, list[Tensor]] = {"of_color": [], "of_ink": []}
    for name, given in seen.items():
        network = training.variant.networks[name]
        network.register_forward_hook(lambda _, inputs, __, given=given: given.append(inputs[0].detach()))
    shares = []
    for number in range(3):
        training.step(*batch(25, training.variant.image_size, seed=number))
        for given in seen.values():
            generated, _, judged = given[-3:]
            shares.append(float((generated != judged).flatten(1).any(1).float().mean()))

    assert shares[:4] == [0, 0, 0, 0]
    assert all(0.2 < share < 0.8 for share in shares[4:]) == pooled
    assert any(shares[4:]) == pooled


# Going on after an interruption.


def train(training: Training, numbers: range, count: int = 25) -> None:
    """Two steps of 25 pages fill the pools; then each step swaps."""
    for number in numbers:
        torch.manual_seed(1000 + number)
        training.step(*batch(count, training.variant.image_size, seed=number))


@pytest.mark.parametrize(("generator", "size", "count"), [("resnet", 32, 25), ("skip", 64, 2)])
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(generator: str, size: int, count: int) -> None:
    whole = tiny(generator, seed=3, image_size=size, base_channels=2)
    train(whole, range(4), count)

    first = tiny(generator, seed=3, image_size=size, base_channels=2)
    train(first, range(3), count)
    saved = to_bytes(first.state())
    second = tiny(generator, seed=99, image_size=size, base_channels=2)
    second.load_state(from_bytes(saved))
    train(second, range(3, 4), count)

    expected, resumed = whole.state(), second.state()
    pools = [len(value) for key, value in expected.items() if "pool" in key]
    assert pools == ([50, 50] if generator == "resnet" else [])
    assert resumed.keys() == expected.keys()
    assert [key for key in expected if not torch.equal(expected[key], resumed[key])] == []


def test_a_state_whose_pools_do_not_fit_is_refused() -> None:
    training = tiny()
    training.step(*batch())
    state = training.state()
    key = "more/pool_color"
    skip = tiny("skip")

    training.load_state(state)
    for other in (
        {name: value for name, value in state.items() if name != key},
        {**state, "more/pool_gray": state[key]},
        {**state, key: state[key][..., :32]},
        {**state, key: state[key].float()},
    ):
        with pytest.raises(CheckpointError, match="pool"):
            training.load_state(other)
    with pytest.raises(CheckpointError, match="pool_color"):
        skip.load_state({**skip.state(), key: state[key]})
