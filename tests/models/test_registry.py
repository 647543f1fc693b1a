"""What every variant of the registry must do: a new one is tested by being there."""

import math
from dataclasses import FrozenInstanceError, asdict, fields
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import models
from datasets.encoding import encode_ink, encode_target
from datasets.synthetic import Series, draw_page
from imaging.target import CHANNELS, PAPER, quantized_target
from models.card import FOLLOWING, CheckpointError
from models.checkpoint import from_bytes, to_bytes
from models.training import Mechanics, Training
from models.variant import Variant

TINY = {"image_size": 64, "base_channels": 8}
OWN: dict[str, dict[str, Any]] = {  # small settings that one variant alone has
    "cyclegan": {"blocks": 2},
    "pix2pixhd": {"blocks": 2, "local_blocks": 1},
    "hypercolumn": {"columns": "reduced", "base_channels": 32, "optimizer": "adam"},
}
HEART: dict[str, tuple[int, float]] = {  # steps, and the share of the first distance to the truth that may be left
    "pix2pix": (60, 1 / 3),
    "colornet": (60, 0.72),  # these pages' luma is not their ink, which its colours keep: 0.71 is the least there is
    "hypercolumn": (60, 0.4),  # it paints every fourth pixel: perfect labels leave 0.27
    "pix2pixhd": (60, 1 / 2),  # its first phase enlarges a page of half the size: that blur alone leaves a quarter
}
SERIES: dict[str, tuple[int, float]] = {  # steps on 8 drawn pages; the share of the gray page's error that may be left
    "pix2pix": (120, 0.5),
    "cyclegan": (180, 0.97),  # nothing tells it which colour a page has
    "pix2pixhd": (180, 0.8),
    "colornet": (180, 0.92),
    "hypercolumn": (180, 0.8),
    "zhang": (120, 0.75),
    "exemplar": (80, 0.8),
}
PHASES = (0.0, 0.45, 0.75)  # of the training: a variant may train its parts one after the other
OUTSIDE = {  # option: values that no variant can take
    "target": ["cmyk", ""],
    "image_size": [0, -64, 102, 257],
    "base_channels": [0, -1],
    "learning_rate": [0.0, -2e-4, math.nan],
    "l1_weight": [-100.0, math.nan],
}


def tiny(name: str, **options: Any) -> dict[str, Any]:
    return {**TINY, **OWN.get(name, {}), **options}


each_variant = pytest.mark.parametrize("name", models.VARIANTS)


def options_of(name: str) -> set[str]:
    return {field.name for field in fields(models.VARIANTS[name].config_type)}


@cache
def targets_of(name: str) -> list[str]:
    """The target spaces that a variant takes; at least one."""

    def takes(target: str) -> bool:
        try:
            models.build(name, tiny(name, target=target))
        except ValueError:
            return False
        return True

    return [target for target in CHANNELS if takes(target)]


WITH_TARGET = [(name, target) for name in models.VARIANTS for target in targets_of(name)]


def trainee(name: str, seed: int = 0, **options: Any) -> Training:
    torch.manual_seed(seed)
    return Training(models.build(name, tiny(name, **options)), lambda network: network)


def pages(target: str, count: int = 4, seed: int = 1, size: int = 64) -> tuple[Tensor, Tensor]:
    """Pages of flat patches whose colour follows from their gray."""
    patches = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    ink = F.interpolate(patches, size=size)
    return ink, torch.cat([0.6 * ink, -0.8 * ink, 0.5 - 0.4 * ink.abs()][: CHANNELS[target]], 1)


def train(training: Training, ink: Tensor, target: Tensor, numbers: range) -> None:
    """Steps whose dropout depends on the number of the step alone."""
    for number in numbers:
        torch.manual_seed(1000 + number)
        training.step(ink, target)


def settle(variant: Variant) -> None:
    """Dropout away, and BatchNorm with its running statistics for good: no page of a batch changes another."""
    for network in variant.networks.values():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d | nn.Dropout):
                part.eval()
                part.train = lambda mode=True, part=part: part  # type: ignore[method-assign]


def descend(variant: Variant, rate: float) -> None:
    """Plain descent for all networks: Adam makes whole strides of rounding errors where a gradient is nothing."""
    variant.optimizer = lambda group, parameters: torch.optim.SGD(parameters, lr=rate)  # type: ignore[method-assign]


def weights_of(variant: Variant) -> dict[str, Tensor]:
    """The weights that training moves, as the last step left them."""
    learning = ((key, value) for key, value in variant.trained_generator().named_parameters() if value.requires_grad)
    return {key: value.detach().clone() for key, value in learning}


# Building.


@each_variant
def test_a_variant_builds_from_its_defaults(name: str) -> None:
    config = models.VARIANTS[name].config_type()
    with torch.device("meta"):  # full size, and no memory for it
        variant = models.build(name, {})

    assert variant.name == name
    assert variant.config == config
    assert variant.image_size == config.image_size
    assert variant.target in CHANNELS
    assert any(parameter.requires_grad for parameter in variant.generator().parameters())


@each_variant
def test_a_variant_rebuilds_from_the_config_of_its_card(name: str) -> None:
    variant = models.build(name, {**tiny(name), "of another variant": 3})

    again = models.build(name, asdict(variant.config))

    assert again.config == variant.config
    shapes = {key: value.shape for key, value in variant.generator().state_dict().items()}
    assert {key: value.shape for key, value in again.generator().state_dict().items()} == shapes


@each_variant
def test_a_config_is_frozen(name: str) -> None:
    config = models.VARIANTS[name].config_type()

    with pytest.raises(FrozenInstanceError):
        config.image_size = 512


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        (name, option, value)
        for name in models.VARIANTS
        for option, values in OUTSIDE.items()
        if option in options_of(name)
        for value in values
    ],
)
def test_a_bad_option_is_refused_by_its_name(name: str, option: str, value: object) -> None:
    with pytest.raises(ValueError, match=option.replace("_", "[ _-]")) as refusal:
        models.build(name, tiny(name, **{option: value}))

    assert str(value) in str(refusal.value)


def test_an_unknown_variant_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="pix3pix") as refusal:
        models.build("pix3pix", {})

    assert all(name in str(refusal.value) for name in models.VARIANTS)


@pytest.mark.parametrize("size", [64, 96])
@pytest.mark.parametrize(("name", "target"), WITH_TARGET)
def test_a_prediction_has_the_shape_and_range_of_the_target(name: str, target: str, size: int) -> None:
    variant = models.build(name, tiny(name, image_size=size, target=target))

    colored = variant.predict(pages(target, 2, size=size)[0])

    assert variant.image_size == size
    assert colored.shape == (2, CHANNELS[target], size, size)
    assert float(colored.abs().max()) <= 1


@each_variant
def test_every_variant_has_a_target(name: str) -> None:
    assert targets_of(name)


@each_variant
def test_a_prediction_is_the_same_alone_and_in_a_batch(name: str) -> None:
    training = trainee(name)
    ink, target = pages(training.variant.target)
    train(training, ink, target, range(2))

    together = training.variant.predict(ink)

    torch.testing.assert_close(training.variant.predict(ink[2:3]), together[2:3], atol=5e-5, rtol=0)
    torch.testing.assert_close(training.variant.predict(ink), together, atol=0, rtol=0)


# Training.


@pytest.mark.parametrize(("name", "target"), WITH_TARGET)
def test_a_training_has_finite_losses_and_moves_every_weight(name: str, target: str) -> None:
    training = trainee(name, target=target)
    before = weights_of(training.variant)

    for progress in PHASES:
        training.set_progress(progress)
        losses = training.step(*pages(target, 2))

        assert losses
        assert all(value.dim() == 0 and not value.requires_grad for value in losses.values())
        assert all(math.isfinite(float(value)) for value in losses.values())
    still = [key for key, value in weights_of(training.variant).items() if torch.equal(value, before[key])]
    assert not still


@pytest.mark.parametrize(("name", "target"), WITH_TARGET)
def test_a_handful_of_pages_is_learnt_by_heart(name: str, target: str) -> None:
    training = trainee(name, target=target, learning_rate=2e-3)
    ink, truth = pages(target)

    def away() -> float:
        return float(F.l1_loss(training.variant.predict(ink), truth))

    steps, left = HEART.get(name, (60, 1 / 3))
    start = away()
    train(training, ink, truth, range(steps))

    assert away() < start * left


@cache
def drawn_pages(target: str, size: int = 64) -> tuple[Tensor, Tensor]:
    """Eight pages of the generated series, as the training sees them."""
    series = Series(seed=1, chapters=2, pages=4, width=192, height=288)
    drawn = [draw_page(series, chapter, page) for chapter in (1, 2) for page in (1, 2, 3, 4)]

    def shrunk(image: np.ndarray) -> np.ndarray:
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)

    ink = torch.stack([torch.from_numpy(shrunk(page.ink))[None] for page in drawn])
    truth = torch.stack([torch.from_numpy(quantized_target(shrunk(page.color), target)) for page in drawn])
    return encode_ink(ink), encode_target(truth, target)


@each_variant
def test_eight_pages_of_the_generated_series_are_learnt(name: str) -> None:
    training = trainee(name, learning_rate=2e-3)
    ink, truth = drawn_pages(training.variant.target)
    gray = torch.zeros_like(truth) if training.variant.target == "ab" else ink.expand_as(truth)
    steps, left = SERIES.get(name, (180, 0.8))

    train(training, ink, truth, range(steps))

    assert float(F.l1_loss(training.variant.predict(ink), truth)) < left * float(F.l1_loss(gray, truth))


def half_masked(count: int, size: int = 64) -> Tensor:
    """A mask of another place in each page, none of a whole number of cells."""
    masked = torch.zeros(count, 1, size, size, dtype=torch.bool)
    for number in range(count):
        masked[number, :, 3 + number : 41, 5 + 7 * number : 50] = True
    return masked


@pytest.mark.parametrize(("name", "target"), WITH_TARGET)
def test_what_is_masked_teaches_nothing(name: str, target: str) -> None:
    ink, truth = pages(target)
    masked = half_masked(4)
    other = torch.where(masked, torch.rand(truth.shape, generator=torch.Generator().manual_seed(7)) * 2 - 1, truth)
    chapters = torch.tensor([0, 0, 1, 1])

    def taught(truth: Tensor, masked: Tensor | None) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        training, losses = trainee(name, target=target), []
        for number, progress in enumerate(PHASES):
            training.set_progress(progress)
            torch.manual_seed(number)
            losses.append(training.step(ink, truth, masked=masked, chapters=chapters))
        return losses, training.state()

    one, same = taught(truth, masked), taught(other, masked)
    whole, seen = taught(truth, torch.zeros_like(masked)), taught(truth, None)
    paper, _ = taught(truth.masked_fill(masked, PAPER[target]), None)
    torch.testing.assert_close(one, same, atol=0, rtol=0)
    torch.testing.assert_close(whole[0][0], seen[0][0])  # sums over memory of another order
    assert any(not torch.allclose(value, paper[0][key], rtol=1e-4) for key, value in one[0][0].items())  # not taught


@pytest.mark.parametrize(("name", "target"), WITH_TARGET)
def test_a_page_masked_all_over_moves_no_weight_of_the_generator(name: str, target: str) -> None:
    variant = models.build(name, tiny(name, target=target))
    descend(variant, 1.0)
    training = Training(variant, lambda network: network)
    before = weights_of(variant)
    counted = [value for key, value in variant.trained_generator().named_buffers() if key.endswith("counts")]
    bins_before = [value.clone() for value in counted]
    ink, truth = pages(target)
    for progress in PHASES:
        training.set_progress(progress)
        training.step(ink, truth, masked=torch.ones(4, 1, 64, 64, dtype=torch.bool), chapters=torch.zeros(4))
    torch.testing.assert_close(weights_of(variant), before, atol=0, rtol=0)
    torch.testing.assert_close(counted, bins_before, atol=0, rtol=0)


@each_variant
def test_gradients_and_moments_lie_in_memory_as_their_parameters_do(name: str) -> None:
    """A fused optimizer goes through all of them in that order, whatever their strides say."""
    training = trainee(name)
    ink, target = pages(training.variant.target)
    wrong = []

    def check(parameter: nn.Parameter) -> None:
        if parameter.grad is not None and parameter.grad.stride() != parameter.stride():
            wrong.append(tuple(parameter.shape))

    for network in training.variant.networks.values():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(check)
    train(training, ink, target, range(2))
    resumed = trainee(name, seed=9)
    resumed.load_state(from_bytes(to_bytes(training.state())))
    assert wrong == []
    for one in (training, resumed):
        for optimizer in one._optimizers.values():
            for parameter, slots in optimizer.state.items():
                assert {value.stride() for value in slots.values() if value.dim()} <= {parameter.stride()}


@each_variant
def test_batches_that_add_up_are_one_large_batch(name: str) -> None:
    """Two halves whose gradients make one step are the step of the whole, where no layer mixes the pages of a batch."""
    ink, target = pages(models.build(name, tiny(name)).target)

    def stepped(parts: int) -> dict[str, Tensor]:
        torch.manual_seed(0)
        variant = models.build(name, tiny(name))
        settle(variant)
        descend(variant, 1e-3)
        training = Training(variant, lambda network: network, Mechanics(accumulate=parts))
        for number, half in enumerate(zip(ink.chunk(parts), target.chunk(parts), strict=True)):
            training.step(*half, update=number == parts - 1)
        return weights_of(variant)

    whole, halves = stepped(1), stepped(2)
    strides = [float((halves[key] - value).abs().max()) for key, value in whole.items()]
    assert max(strides) < 1e-4


@each_variant
def test_a_step_that_is_clipped_is_shorter(name: str) -> None:
    """Seen with plain descent: Adam's strides do not depend on the gradient's length."""
    ink, target = pages(models.build(name, tiny(name)).target)

    def stride(clip_norm: float) -> float:
        torch.manual_seed(0)
        variant = models.build(name, tiny(name))
        descend(variant, 1.0)
        before = weights_of(variant)
        Training(variant, lambda network: network, Mechanics(clip_norm=clip_norm)).step(ink, target)
        return math.sqrt(sum(float((weights_of(variant)[key] - value).square().sum()) for key, value in before.items()))

    assert 0 < stride(1e-3) <= 1e-3 * 1.5  # of two optimizers' networks at most
    assert stride(0.0) > 2e-3


@pytest.mark.parametrize(("name", "precision"), [*((name, "bf16") for name in models.VARIANTS), ("pix2pix", "fp16")])
def test_a_step_in_half_precision_is_nearly_the_whole_one(name: str, precision: Any) -> None:
    ink, target = pages(models.build(name, tiny(name)).target)

    def losses(precision: Any) -> dict[str, Tensor]:
        torch.manual_seed(0)
        mechanics = Mechanics(precision=precision)
        training = Training(models.build(name, tiny(name)), lambda network: network, mechanics)
        torch.manual_seed(1)
        return training.step(ink, target)

    exact, half = losses("fp32"), losses(precision)
    assert any(float(half[key]) != float(value) for key, value in exact.items())
    for key, value in exact.items():
        assert float(half[key]) == pytest.approx(float(value), rel=0.05, abs=0.02), key


@each_variant
def test_what_colours_is_the_average_of_the_weights(name: str) -> None:
    training = trainee(name)
    ink, target = pages(training.variant.target)
    train(training, ink, target, range(3))

    average = dict(training.variant.generator().named_parameters())
    assert any(not torch.equal(average[key], value) for key, value in weights_of(training.variant).items())

    torch.manual_seed(0)
    plain = models.build(name, tiny(name))
    train(Training(plain, lambda network: network, Mechanics(ema_decay=0.0)), ink, target, range(3))
    average = dict(plain.generator().named_parameters())
    assert all(torch.allclose(average[key], value, atol=1e-7) for key, value in weights_of(plain).items())


@each_variant
def test_the_rate_is_constant_and_then_goes_down_to_nothing(name: str) -> None:
    """Seen by how far the first step of equal trainees goes, over the weights that it moves."""

    def stride(progress: float) -> float:
        training = trainee(name)
        training.set_progress(progress)
        before = weights_of(training.variant)
        train(training, *pages(training.variant.target), range(1))
        after = weights_of(training.variant)
        gone = torch.cat([(after[key] - value).abs().flatten() for key, value in before.items()])
        return float(gone[gone > 0].median()) if gone.any() else 0.0

    whole = stride(0.0)
    assert whole > 0
    assert stride(0.25) == pytest.approx(whole, rel=0.05)
    assert stride(0.5) == pytest.approx(whole, rel=0.05)
    assert stride(0.75) == pytest.approx(whole / 2, rel=0.05)
    assert stride(0.9) == pytest.approx(whole / 5, rel=0.05)
    assert stride(1.0) == 0


# Going on after an interruption.


@each_variant
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(name: str) -> None:
    whole = trainee(name, seed=3)
    ink, target = pages(whole.variant.target)
    train(whole, ink, target, range(6))

    first = trainee(name, seed=3)
    train(first, ink, target, range(3))
    saved = to_bytes(first.state())
    second = trainee(name, seed=99)
    second.load_state(from_bytes(saved))
    train(second, ink, target, range(3, 6))

    expected, resumed = whole.state(), second.state()
    assert resumed.keys() == expected.keys()
    assert [key for key in expected if not torch.equal(expected[key], resumed[key])] == []


@each_variant
def test_a_state_does_not_change_with_the_training_once_it_is_bytes(name: str) -> None:
    training = trainee(name)
    ink, target = pages(training.variant.target)
    train(training, ink, target, range(1))

    saved = to_bytes(training.state())
    kept = {key: value.clone() for key, value in from_bytes(saved).items()}
    train(training, ink, target, range(1, 2))

    assert all(torch.equal(kept[key], value) for key, value in from_bytes(saved).items())
    assert any(not torch.equal(kept[key], value) for key, value in training.state().items())


@each_variant
def test_a_state_from_before_the_first_step_is_taken_up(name: str) -> None:
    early = trainee(name, seed=3)

    late = trainee(name, seed=4)
    late.load_state(from_bytes(to_bytes(early.state())))

    assert all(torch.equal(value, weights_of(late.variant)[key]) for key, value in weights_of(early.variant).items())


@cache
def saved_state(name: str) -> bytes:
    training = trainee(name)
    train(training, *pages(training.variant.target), range(1))
    return to_bytes(training.state())


@each_variant
def test_a_state_of_another_size_is_refused(name: str) -> None:
    if "base_channels" not in options_of(name):
        pytest.skip("its widths are fixed")
    wider = trainee(name, base_channels=64)

    with pytest.raises(CheckpointError):
        wider.load_state(from_bytes(saved_state(name)))


def some_of(state: dict[str, Tensor]) -> list[str]:
    """Names all over a state, at most 400: each is tried by itself."""
    return list(state)[:: -(-len(state) // 400)]


@each_variant
def test_a_state_that_lacks_a_tensor_is_refused(name: str) -> None:
    whole = from_bytes(saved_state(name))
    training, taken = trainee(name), []
    for key in some_of(whole):
        try:
            training.load_state({other: value for other, value in whole.items() if other != key})
        except CheckpointError:
            continue
        taken.append(key)

    assert taken == []


@each_variant
def test_a_state_with_a_tensor_too_many_is_refused(name: str) -> None:
    whole = from_bytes(saved_state(name))
    parts = {key.partition("/")[0] for key in whole}
    training, taken = trainee(name), []
    for key in ["palette/weight", *(f"{part}/0.unheard_of" for part in sorted(parts))]:
        try:
            training.load_state({**whole, key: torch.zeros(1)[0]})
        except CheckpointError:
            continue
        taken.append(key)

    assert taken == []


@each_variant
def test_a_state_with_a_tensor_of_another_shape_is_refused(name: str) -> None:
    whole = from_bytes(saved_state(name))
    training, taken = trainee(name), []
    for key in some_of(whole):
        value = whole[key]
        for other in (torch.zeros(3, 5), torch.tensor(0.0)):
            if other.shape == value.shape:
                continue
            try:
                training.load_state({**whole, key: other})
            except CheckpointError:
                continue
            taken.append((key, tuple(other.shape)))

    assert taken == []


def test_the_variants_that_follow_are_known_without_loading_them() -> None:
    assert {name for name, variant in models.VARIANTS.items() if variant.follows} == FOLLOWING
