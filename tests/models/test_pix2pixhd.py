"""pix2pixHD: the published networks, the phases of the training, and who learns from which loss."""

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import register_optimizer_step_pre_hook

from imaging.target import CHANNELS
from models.checkpoint import from_bytes, restore_module, to_bytes
from models.layers import count_parameters
from models.pix2pixhd import (
    GlobalFeatures,
    Head,
    LocalEnhancer,
    PatchCritic,
    Pix2PixHD,
    Pix2PixHDConfig,
    feature_matching,
    halve,
    least_squares_loss,
    pyramid,
)
from models.training import Training, Wrap

PHASES = {1: 0.0, 2: 0.4, 3: 0.5}  # phase: the progress at which it begins
GENERATOR = ("coarse", "head", "enhancer")

each_phase = pytest.mark.parametrize("phase", PHASES)
each_target = pytest.mark.parametrize("target", CHANNELS)


def bare(**options: object) -> Pix2PixHD:
    torch.manual_seed(0)
    tiny = {"image_size": 64, "base_channels": 4, "blocks": 1, "local_blocks": 1}
    return Pix2PixHD(Pix2PixHDConfig(**{**tiny, **options}))  # type: ignore[arg-type]


def trainee(phase: int = 1, wrap: Wrap = lambda network: network, **options: object) -> Training:
    training = Training(bare(**options), wrap)
    training.set_progress(PHASES[phase])
    return training


def batch(target: str = "ab", count: int = 2, seed: int = 1) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    ink, colors = (torch.rand(count, channels, 64, 64, generator=draw) * 2 - 1 for channels in (1, CHANNELS[target]))
    return ink, colors


def weights_of(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in network.parameters()])


def gradient_of(network: nn.Module) -> Tensor:
    gradients = [p.grad for p in network.parameters()]
    assert all(gradient is not None for gradient in gradients)
    return torch.cat([gradient.flatten().clone() for gradient in gradients if gradient is not None])


def critics_of(variant: Pix2PixHD) -> list[nn.Module]:
    return [variant.networks[f"discriminator_{scale}"] for scale in range(variant.config.scales)]


# The networks.


def test_the_generators_have_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        coarse, head, enhancer = GlobalFeatures(3), Head(3), LocalEnhancer(3, 3)

    assert count_parameters(coarse) + count_parameters(head) == 182_443_267
    assert count_parameters(coarse) + count_parameters(enhancer) == 182_701_827


@pytest.mark.parametrize(("scales", "count"), [(2, 5_535_618), (3, 8_303_427)])
def test_the_discriminators_have_the_published_number_of_parameters(scales: int, count: int) -> None:
    with torch.device("meta"):
        assert sum(count_parameters(PatchCritic(6)) for _ in range(scales)) == count
        variant = Pix2PixHD(Pix2PixHDConfig(scales=scales))

    fewer_inputs = scales * 3 * 64 * 16  # ink and ab: 3 channels, not 6
    assert sum(map(count_parameters, critics_of(variant))) == count - fewer_inputs


def test_the_default_variant_is_the_published_one() -> None:
    with torch.device("meta"):
        variant = Pix2PixHD(Pix2PixHDConfig())

    def inputs(width: int) -> int:
        return 2 * 49 * width  # that only a page of three channels needs

    def third_color(width: int) -> int:
        return 49 * width + 1

    coarse, head, enhancer = (count_parameters(variant.networks[name]) for name in GENERATOR)
    assert coarse + head == 182_443_267 - inputs(64) - third_color(64)
    assert coarse + enhancer == 182_701_827 - inputs(64) - inputs(32) - third_color(32)
    assert count_parameters(variant.generator()) == coarse + head + enhancer


def test_the_global_part_works_at_half_size_with_four_halvings() -> None:
    sides: dict[str, list[tuple[int, int]]] = {name: [] for name in GENERATOR}
    variant = bare(image_size=96)
    for name in GENERATOR:
        for layer in variant.networks[name].modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.register_forward_hook(lambda _, __, out, to=sides[name]: to.append(tuple(out.shape[1:3])))

    variant.predict(torch.zeros(1, 1, 96, 96))

    assert sides["coarse"] == [
        *[(4, 48), (8, 24), (16, 12), (32, 6), (64, 3)],
        *[(64, 3)] * 2,
        *[(32, 6), (16, 12), (8, 24), (4, 48)],
    ]
    assert sides["head"] == [(2, 48)]
    assert sides["enhancer"] == []


def test_the_enhancer_works_at_full_size_with_half_the_width() -> None:
    sides = []
    enhancer = LocalEnhancer(1, 2, base_channels=8, blocks=3)
    for layer in enhancer.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, __, out: sides.append(tuple(out.shape[1:3])))

    enhancer(torch.zeros(1, 1, 32, 32), torch.zeros(1, 8, 16, 16))

    assert sides == [(4, 32), (8, 16), *[(8, 16)] * 6, (4, 32), (2, 32)]


def test_a_score_of_a_discriminator_sees_70_pixels() -> None:
    torch.manual_seed(0)
    critic = PatchCritic(3, base_channels=8)
    for name, layer in list(critic.named_modules()):
        if isinstance(layer, nn.InstanceNorm2d):  # it looks at all pixels
            critic.get_submodule(name.rpartition(".")[0])[1] = nn.Identity()
    pair = torch.rand(1, 3, 256, 256, requires_grad=True)

    *features, scores = critic(pair)
    scores[0, 0, 17, 17].backward()

    assert [tuple(feature.shape[1:]) for feature in features] == [
        (8, 129, 129),
        (16, 65, 65),
        (32, 33, 33),
        (64, 34, 34),
    ]
    assert scores.shape == (1, 1, 35, 35)
    assert pair.grad is not None
    rows = torch.nonzero((pair.grad[0].abs().sum(0) > 0).any(1)).flatten()
    assert int(rows.max() - rows.min()) + 1 == 70


@each_phase
@each_target
@pytest.mark.parametrize("size", [64, 96])
def test_a_prediction_has_the_shape_and_range_of_the_target(size: int, target: str, phase: int) -> None:
    variant = bare(image_size=size, target=target)
    variant.networks["enhancer"].get_buffer("phase").fill_(phase)

    colored = variant.predict(torch.rand(2, 1, size, size) * 2 - 1)

    assert colored.shape == (2, CHANNELS[target], size, size)
    assert float(colored.abs().max()) <= 1


def test_a_prediction_goes_the_way_of_its_phase() -> None:
    variant, ink = bare(), batch()[0]
    coarse, head, enhancer = (variant.networks[name] for name in GENERATOR)
    with torch.no_grad():
        features = coarse(halve(ink))
        enlarged = F.interpolate(head(features), size=64, mode="bilinear")
        enhanced = enhancer(ink, features)

    for phase, expected in {1: enlarged, 2: enhanced, 3: enhanced}.items():
        enhancer.get_buffer("phase").fill_(phase)
        assert torch.equal(variant.predict(ink), expected)


def test_the_page_is_halved_by_the_mean_of_the_pixels_there_are() -> None:
    images = torch.rand(2, 3, 8, 8)

    small = halve(images)

    assert small.shape == (2, 3, 4, 4)
    torch.testing.assert_close(small[:, :, 0, 0], images[:, :, :2, :2].mean((2, 3)))
    torch.testing.assert_close(small[:, :, 1, 2], images[:, :, 1:4, 3:6].mean((2, 3)))
    assert [level.shape[-1] for level in pyramid(images, 3)] == [8, 4, 2]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("image_size", 32),
        ("image_size", 80),
        ("base_channels", 7),
        ("blocks", 0),
        ("local_blocks", 0),
        ("scales", 0),
        ("scales", 5),
        ("feature_weight", -1.0),
        ("perceptual_weight", -1.0),
        ("target", "cmyk"),
    ],
)
def test_a_bad_option_is_refused_by_its_name(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{option} is {value!r}; "):
        bare(**{option: value})


@each_phase
def test_the_least_page_and_the_most_scales_go_together(phase: int) -> None:
    trainee(phase, scales=4).step(*batch())


# The phases.


@pytest.mark.parametrize(
    ("progress", "phase"), [(0.0, 1), (0.399, 1), (0.4, 2), (0.499, 2), (0.5, 3), (0.75, 3), (1.0, 3)]
)
def test_a_phase_begins_at_its_progress(progress: float, phase: int) -> None:
    training = trainee()

    training.set_progress(progress)
    training.step(*batch())

    assert int(training.variant.networks["enhancer"].get_buffer("phase")) == phase


def test_a_phase_does_not_come_back() -> None:
    training = trainee()
    seen = []
    for progress in (0.1, 0.45, 0.2, 0.6, 0.45, 0.0):
        training.set_progress(progress)
        training.step(*batch())
        seen.append(int(training.variant.networks["enhancer"].get_buffer("phase")))

    assert seen == [1, 2, 2, 3, 3, 3]


@pytest.mark.parametrize(("phase", "moving"), [(1, {"coarse", "head"}), (2, {"enhancer"}), (3, {"coarse", "enhancer"})])
def test_a_phase_moves_its_networks_and_leaves_the_others_bit_equal(phase: int, moving: set[str]) -> None:
    training = trainee()
    for earlier in range(1, phase):  # so that Adam has moments that could go on moving what is to rest
        training.set_progress(PHASES[earlier])
        training.step(*batch())
    training.set_progress(PHASES[phase])
    names = [*GENERATOR, "discriminator_0", "discriminator_1"]
    before = {name: weights_of(training.variant.networks[name]) for name in names}

    for _ in range(2):
        training.step(*batch())

    moved = {name for name in names if not torch.equal(weights_of(training.variant.networks[name]), before[name])}
    assert moved == moving | {"discriminator_0", "discriminator_1"}


@pytest.mark.parametrize(
    ("phase", "learning"), [(1, {"coarse", "head"}), (2, {"enhancer"}), (3, {"coarse", "enhancer"})]
)
def test_a_loss_reaches_every_parameter_of_a_learning_network(phase: int, learning: set[str]) -> None:
    training = trainee(phase)

    training.step(*batch(), update=False)

    for name in GENERATOR:
        has = {parameter.grad is not None for parameter in training.variant.networks[name].parameters()}
        assert has == {name in learning}, name
    assert all(p.grad is not None for critic in critics_of(training.variant) for p in critic.parameters())


@pytest.mark.parametrize(("phase", "sizes"), [(1, [32, 16, 8]), (2, [64, 32, 16]), (3, [64, 32, 16])])
def test_each_discriminator_sees_its_own_image_size(phase: int, sizes: list[int]) -> None:
    training = trainee(phase, scales=3)
    seen: list[set[tuple[int, ...]]] = [set() for _ in sizes]
    for scale, critic in enumerate(critics_of(training.variant)):
        critic.register_forward_pre_hook(lambda _, inputs, to=seen[scale]: to.add(tuple(inputs[0].shape[1:])))

    training.step(*batch())

    assert seen == [{(3, size, size)} for size in sizes]


@each_phase
def test_a_phase_begins_its_average_and_the_moments_of_the_global_part_anew(phase: int) -> None:
    training = trainee()
    for _ in range(3):
        training.step(*batch())
    training.set_progress(PHASES[phase])
    training.step(*batch())

    same = torch.equal(weights_of(training.variant.generator()), weights_of(training.variant.trained_generator()))
    steps = {
        key: int(value)
        for key, value in training.state().items()
        if key.startswith("coarse_optimizer/") and key.endswith(".step")
    }
    assert same == (phase > 1)
    assert set(steps.values()) == {1: {4}, 2: set(), 3: {1}}[phase]
    assert int(training.variant.generator().get_buffer("enhancer.phase")) == phase


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((0.0, 0.1, 0.2), (0.3, 0.35, 0.39)),
        ((0.2, 0.3, 0.4), (0.42, 0.44, 0.46)),
        ((0.3, 0.45, 0.6), (0.7, 0.8, 0.9)),
        ((0.1, 0.2, 0.3), (0.4, 0.45, 0.5)),
    ],
    ids=["phase 1", "phase 2", "phase 3", "from 1 to 3"],
)
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(
    before: tuple[float, ...], after: tuple[float, ...]
) -> None:
    def train(training: Training, progresses: tuple[float, ...]) -> None:
        for progress in progresses:
            training.set_progress(progress)
            training.step(*batch(seed=int(100 * progress)))

    whole = trainee()
    train(whole, before + after)

    first = trainee()
    train(first, before)
    second = trainee()
    for network in second.variant.networks.values():
        for parameter in network.parameters():
            nn.init.normal_(parameter)
    second.load_state(from_bytes(to_bytes(first.state())))
    train(second, after)

    expected, resumed = whole.state(), second.state()
    assert resumed.keys() == expected.keys()
    assert [key for key in expected if not torch.equal(expected[key], resumed[key])] == []


def test_what_is_published_colours_as_the_training_left_it() -> None:
    training, ink = trainee(2), batch()[0]
    training.step(*batch())

    again = bare()
    restore_module(again.generator(), from_bytes(to_bytes(training.variant.generator().state_dict())))

    torch.testing.assert_close(again.predict(ink), training.variant.predict(ink), rtol=0, atol=1e-5)


@pytest.fixture
def alone() -> Iterator[None]:
    """A process group of this process alone."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("alone")
def test_ddp_learns_what_the_bare_networks_learn() -> None:
    """It refuses a second step after one in which a wrapped network was called and a parameter got no gradient."""
    plain, wrapped = trainee(), trainee(wrap=DistributedDataParallel)
    for progress in PHASES.values():
        for training in (plain, wrapped):
            training.set_progress(progress)
            for update in (True, False, True):
                training.step(*batch(), update=update)

    for name in (*GENERATOR, "discriminator_0", "discriminator_1"):
        torch.testing.assert_close(weights_of(wrapped.variant.networks[name]), weights_of(plain.variant.networks[name]))


def test_three_phases_learn_two_pages_by_heart() -> None:
    training = trainee(base_channels=8, learning_rate=2e-3)
    ink = F.interpolate(torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1, size=64)
    truth = torch.cat([0.6 * ink, -0.8 * ink], 1)
    start = float(F.l1_loss(training.variant.predict(ink), truth))

    for step in range(50):
        training.set_progress(step / 50)
        training.step(ink, truth)

    assert float(F.l1_loss(training.variant.predict(ink), truth)) < start / 2


# The losses.


def test_least_squares_count_the_scales_together() -> None:
    critiques = [[torch.full((1, 1, 2, 2), 9.0), torch.full((2, 1, 3, 3), score)] for score in (0.5, 3.0)]

    assert float(least_squares_loss(critiques, real=True)) == pytest.approx(0.25 + 4)
    assert float(least_squares_loss(critiques, real=False)) == pytest.approx(0.25 + 9)


def test_feature_matching_is_nothing_for_equal_pictures() -> None:
    torch.manual_seed(0)
    critics, pair = [PatchCritic(3, 4) for _ in range(2)], torch.rand(2, 3, 64, 64)

    def seen(images: Tensor) -> list[list[Tensor]]:
        return [critic(level) for critic, level in zip(critics, pyramid(images, 2), strict=True)]

    with torch.no_grad():
        assert float(feature_matching(seen(pair), seen(pair))) == 0
        assert float(feature_matching(seen(pair), seen(pair.flip(3)))) > 0


@pytest.mark.parametrize("scales", [1, 2, 3])
def test_feature_matching_weighs_as_published(scales: int) -> None:
    """4 / (3 + 1) for each of four layers and 1 / scales for each scale, whatever the layers' sizes."""
    distances = (0.1, 0.2, 0.3, 0.4)
    true = [[torch.rand(2, 3, 4 + layer, 5) for layer in range(5)] for _ in range(scales)]
    predicted = [[*(t + d for t, d in zip(outputs, distances, strict=False)), outputs[-1] + 7] for outputs in true]

    assert float(feature_matching(predicted, true)) == pytest.approx(sum(distances), rel=1e-4)


def test_feature_matching_teaches_only_the_generator() -> None:
    predicted, true = ([[torch.rand(1, 2, 3, 3, requires_grad=True) for _ in range(5)]] for _ in range(2))

    feature_matching(predicted, true).backward()

    assert all(feature.grad is not None for feature in predicted[0][:-1])
    assert all(feature.grad is None for feature in (*true[0], predicted[0][-1]))


def halves_of(variant: Pix2PixHD, ink: Tensor, target: Tensor) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """What the discriminators see in the page that phase 1 paints, and in the true one, at half size."""
    ink, target = halve(ink), halve(target)
    predicted = variant.networks["head"](variant.networks["coarse"](ink))
    both = []
    for colors in (predicted, target):
        levels = pyramid(torch.cat([ink, colors], 1), 2)
        both.append([critic(level) for critic, level in zip(critics_of(variant), levels, strict=True)])
    return both[0], both[1]


@pytest.mark.parametrize("weight", [10.0, 3.0])
def test_the_generator_learns_from_the_gan_and_the_weighed_features(weight: float) -> None:
    training = trainee(feature_weight=weight)
    by_hand = deepcopy(training.variant)
    predicted, true = halves_of(by_hand, *batch())
    features = feature_matching(predicted, true)
    (least_squares_loss(predicted, real=True) + weight * features).backward()

    losses = training.step(*batch(), update=False)

    assert losses.keys() == {"discriminator", "gan", "features"}
    assert float(losses["features"]) == pytest.approx(features.item(), rel=1e-4)
    for name in ("coarse", "head"):
        expected = gradient_of(by_hand.networks[name])
        torch.testing.assert_close(gradient_of(training.variant.networks[name]), expected, rtol=1e-3, atol=1e-5)


def test_the_discriminators_learn_from_half_of_both_pictures_and_nothing_else() -> None:
    training = trainee()
    by_hand = deepcopy(training.variant)
    predicted, true = halves_of(by_hand, *batch())
    loss = 0.5 * (least_squares_loss(predicted, real=False) + least_squares_loss(true, real=True))
    loss.backward()

    losses = training.step(*batch(), update=False)

    assert float(losses["discriminator"]) == pytest.approx(loss.item(), rel=1e-5)
    for critic, expected in zip(critics_of(training.variant), critics_of(by_hand), strict=True):
        torch.testing.assert_close(gradient_of(critic), gradient_of(expected), rtol=1e-3, atol=1e-6)


def test_no_optimizer_steps_before_all_have_their_gradients() -> None:
    training = trainee()
    learning = [training.variant.networks[name] for name in ("coarse", "head", "discriminator_0", "discriminator_1")]
    before = [weights_of(network) for network in learning]
    first: list[bool] = []

    def note(*_: object) -> None:
        if not first:
            first.extend(torch.equal(weights_of(network), w) for network, w in zip(learning, before, strict=True))
            first.extend(p.grad is not None for network in learning for p in network.parameters())

    hook = register_optimizer_step_pre_hook(note)
    try:
        training.step(*batch())
    finally:
        hook.remove()

    assert first
    assert all(first)


@each_phase
@each_target
def test_the_perceptual_loss_is_there_with_vgg19_only(target: str, phase: int) -> None:
    without, weightless, whole = (
        trainee(phase, target=target, perceptual_weight=weight) for weight in (10.0, 0.0, 10.0)
    )
    for training in (weightless, whole):
        torch.manual_seed(5)
        training.variant.load_pretrained(None)

    losses = [training.step(*batch(target), update=False) for training in (without, weightless, whole)]

    assert "perceptual" not in losses[0]
    assert float(losses[1]["perceptual"]) == float(losses[2]["perceptual"]) > 0
    name = "enhancer" if phase > 1 else "head"
    plain, same, other = (gradient_of(training.variant.networks[name]) for training in (without, weightless, whole))
    torch.testing.assert_close(same, plain)
    assert float((other - plain).norm()) > 1e-3 * float(plain.norm())


@each_target
def test_the_perceptual_loss_is_nothing_for_the_true_page(target: str) -> None:
    variant = bare(target=target)
    variant.load_pretrained(None)
    assert variant._vgg is not None
    ink, truth = batch(target)

    assert float(variant._perceptual(variant._vgg, ink, truth, truth.clone())) == 0
    assert float(variant._perceptual(variant._vgg, ink, truth, -truth)) > 0


def test_vgg19_is_neither_trained_nor_kept() -> None:
    plain, variant = trainee(), bare()
    variant.load_pretrained(None)
    training = Training(variant, lambda network: network)
    assert variant._vgg is not None
    before = {key: value.clone() for key, value in variant._vgg.state_dict().items()}

    for one in (plain, training):
        one.step(*batch())

    assert all(torch.equal(value, before[key]) for key, value in variant._vgg.state_dict().items())
    assert all(parameter.grad is None for parameter in variant._vgg.parameters())
    assert training.state().keys() == plain.state().keys()
    assert variant.generator().state_dict().keys() == plain.variant.generator().state_dict().keys()
