"""zhang: the published network and decoding, and what rebalancing does to the loss."""

import math
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from models.bins import rebalancing, soft_cross_entropy
from models.checkpoint import from_bytes, to_bytes
from models.color import lightness
from models.layers import count_parameters
from models.training import Training
from models.zhang import ECCV16, Zhang, ZhangConfig

SATURATED = 60 / 110  # of a target


def tiny(seed: int = 0, **options: Any) -> Training:
    torch.manual_seed(seed)
    variant = Zhang(ZhangConfig(**{"image_size": 64, "base_channels": 4, **options}))
    return Training(variant, lambda network: network)


def batch(count: int = 2, seed: int = 1, size: int = 64) -> tuple[Tensor, Tensor]:
    """Pages of coloured patches."""
    draw = torch.Generator().manual_seed(seed)
    patches = torch.rand(count, 3, 4, 4, generator=draw) * 2 - 1
    patches[:, 1:] *= SATURATED
    page = F.interpolate(patches, size=size)
    return page[:, :1], page[:, 1:]


def loss_of(training: Training, ink: Tensor, target: Tensor, update: bool = True) -> float:
    return float(training.step(ink, target, update=update)["cross_entropy"])


# The published network.


def published_shapes() -> dict[str, list[int]]:
    """Names and shapes of the public code's state dict, but for BatchNorm's counter and the decoding (model_out)."""
    convolutions = {
        "model1": [(64, 1), (64, 64)],
        "model2": [(128, 64), (128, 128)],
        "model3": [(256, 128), (256, 256), (256, 256)],
        "model4": [(512, 256), (512, 512), (512, 512)],
        **{f"model{number}": [(512, 512)] * 3 for number in (5, 6, 7)},
    }
    shapes: dict[str, list[int]] = {}
    for block, widths in convolutions.items():
        for place, (outputs, inputs) in enumerate(widths):
            shapes[f"{block}.{2 * place}.weight"] = [outputs, inputs, 3, 3]
            shapes[f"{block}.{2 * place}.bias"] = [outputs]
        for kept in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{block}.{2 * len(widths)}.{kept}"] = [widths[-1][0]]
    last = {0: [512, 256, 4, 4], 2: [256, 256, 3, 3], 4: [256, 256, 3, 3], 6: [313, 256, 1, 1]}
    for number, shape in last.items():
        shapes[f"model8.{number}.weight"] = shape
        shapes[f"model8.{number}.bias"] = [313 if number == 6 else 256]
    return shapes


def test_the_default_network_is_the_published_one() -> None:
    with torch.device("meta"):
        network = Zhang(ZhangConfig()).networks["network"]
    shapes = {
        name: list(value.shape) for name, value in network.state_dict().items() if "num_batches_tracked" not in name
    }

    assert shapes.pop("counts") == [313]
    assert shapes.pop("bins.centres") == [313, 2]
    assert shapes == published_shapes()
    assert count_parameters(network) == 32_235_385


def test_strides_and_dilations_are_where_they_were_published() -> None:
    network = ECCV16(2)
    seen: dict[str, tuple[int, int, int]] = {}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(
                lambda module, _, out, name=name: seen.update(
                    {name: (module.stride[0], module.dilation[0], out.shape[-1])}
                )
            )

    network(torch.zeros(2, 1, 64, 64))

    halving = {"model1.2": 32, "model2.2": 16, "model3.4": 8}
    assert {name: side for name, (stride, _, side) in seen.items() if stride == 2} == {**halving, "model8.0": 16}
    assert {name.partition(".")[0] for name, (_, dilation, _) in seen.items() if dilation == 2} == {"model5", "model6"}
    assert {side for name, (_, _, side) in seen.items() if name[5] in "4567"} == {8}


def test_published_weights_colour_as_they_do_in_the_published_code() -> None:
    """There: 110 x the softmax through a 313 -> 2 convolution without bias, four times as large. No annealing."""
    torch.manual_seed(0)
    published, decoding = ECCV16(4), nn.Conv2d(313, 2, 1, bias=False)
    variant = Zhang(ZhangConfig(image_size=64, base_channels=4, temperature=1.0))
    weights = {**published.state_dict(), "bins.centres": 110 * decoding.weight.detach()[..., 0, 0].T}
    variant.networks["network"].load_state_dict(weights)
    ink = batch()[0]

    with torch.no_grad():
        likelihood = published.eval()(lightness(ink)).softmax(1)
        ab = 110 * F.interpolate(decoding(likelihood), scale_factor=4, mode="bilinear", align_corners=False)

    torch.testing.assert_close(variant.predict(ink) * 110, ab, atol=1e-4, rtol=1e-4)


def test_the_network_sees_lightness_around_its_middle() -> None:
    network = ECCV16(2).eval()
    taken: list[Tensor] = []
    network.model1.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))

    network(lightness(torch.linspace(-1, 1, 64).expand(1, 1, 64, 64)))

    assert float(taken[0].min()) == pytest.approx(-0.5)
    assert float(taken[0].max()) == pytest.approx(0.5)


@pytest.mark.parametrize("size", [64, 96])
def test_a_prediction_has_the_shape_and_range_of_ab(size: int) -> None:
    training = tiny(image_size=size)

    colored = training.variant.predict(batch(size=size)[0])

    assert training.variant.networks["network"](torch.zeros(1, 1, size, size)).shape == (1, 313, size // 4, size // 4)
    assert colored.shape == (2, 2, size, size)
    assert float(colored.abs().max()) <= 1


def test_a_low_temperature_makes_more_of_the_likeliest_bin() -> None:
    """Of the same weights."""
    dull, vivid = tiny(temperature=1.0), tiny(temperature=0.05)
    nn.init.normal_(dull.variant.networks["network"].model8[6].weight)
    vivid.variant.networks["network"].load_state_dict(dull.variant.networks["network"].state_dict())
    ink = batch()[0]

    def chroma(training: Training) -> float:
        with torch.no_grad():
            return float(torch.linalg.vector_norm(training.variant.trained_generator().eval()(ink), dim=1).mean())

    assert chroma(vivid) > 1.5 * chroma(dull)


@pytest.mark.parametrize(
    ("option", "value"), [("bins", 4), ("bins", 1000), ("temperature", 0.0), ("target", "rgb"), ("image_size", 68)]
)
def test_a_bad_option_is_refused_by_its_name(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{option} is ") as refusal:
        ZhangConfig(**{option: value})

    assert str(value) in str(refusal.value)


# The loss.


@pytest.mark.parametrize("base_channels", [4, 64])
def test_an_untrained_network_costs_ln_313(base_channels: int) -> None:
    torch.manual_seed(0)
    network = ECCV16(base_channels)
    ink, target = batch()
    label = network.bins.encode(target[..., ::4, ::4] * 110, 5, 5.0)

    with torch.no_grad():
        loss = float(soft_cross_entropy(network(lightness(ink)), *label))

    assert loss == pytest.approx(math.log(313), rel=0.02)


def test_the_first_step_has_no_weights_and_the_second_those_of_the_colors_seen() -> None:
    training = tiny()
    network = training.variant.networks["network"]
    assert isinstance(network, ECCV16)
    ink, target = batch()
    target = target + 0.2 * torch.rand(target.shape, generator=torch.Generator().manual_seed(2))  # no two pixels alike
    indices, shares = network.bins.encode(target[..., ::4, ::4] * 110, 5, 5.0)

    def expected(weights: Tensor) -> float:
        with torch.no_grad():
            return float(soft_cross_entropy(network.train()(lightness(ink)), indices, shares, weights[indices[:, 0]]))

    first = expected(torch.ones(313))
    assert loss_of(training, ink, target) == pytest.approx(first, rel=1e-5)
    seen = 1 + torch.bincount(indices[:, 0].flatten(), minlength=313)
    assert torch.equal(network.counts, seen)
    weights = rebalancing(seen, network.bins.centres)
    assert float(weights[indices[:, 0]].mean()) < 0.9
    second = expected(weights)
    assert loss_of(training, ink, target) == pytest.approx(second, rel=1e-5)
    assert torch.equal(network.counts, 1 + 2 * (seen - 1))


def test_a_gray_page_teaches_nothing() -> None:
    """Its own colours do not matter to the loss; but it is one of the pages that the mean is over."""
    ink, target = batch()
    gray, other_gray, pale = target.clone(), target.clone(), target.clone()
    gray[1], other_gray[1] = 0.0, 3.4 / 110  # a chroma of 4.8
    pale[1] = 0.0
    pale[1, :, :4, :4] = 4 / 110  # in one corner a chroma of 5.7

    with_color, with_gray = loss_of(tiny(), ink, target), loss_of(tiny(), ink, gray)

    assert with_gray == pytest.approx(with_color / 2, rel=0.02)
    assert loss_of(tiny(), ink, other_gray) == with_gray
    assert loss_of(tiny(), ink, pale) > 1.9 * with_gray


def test_a_batch_of_gray_pages_reaches_all_weights_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """DDP waits for the gradient of every weight, though it be nothing."""
    training = tiny()
    gradients: list[Tensor | None] = []
    network = training.variant.networks["network"]
    monkeypatch.setattr(training, "advance", lambda _: gradients.extend(p.grad for p in network.parameters()))
    ink, target = batch()

    assert loss_of(training, ink, 0 * target) == 0
    assert len(gradients) == len(list(network.parameters()))
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


# The weights of the bins.


def test_the_weights_of_even_counts_are_1() -> None:
    centres = ECCV16(1).bins.centres

    torch.testing.assert_close(rebalancing(torch.full((313,), 7), centres), torch.ones(313))


def test_the_mean_weight_is_1_and_rare_bins_weigh_more() -> None:
    """Far apart, so that nothing is smoothed, the weights are those of equation 4."""
    centres = 1000.0 * torch.cartesian_prod(torch.arange(4), torch.arange(2))
    counts = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128])
    share = counts / 255

    weights = rebalancing(counts, centres)

    plain = 1 / (0.5 * share + 0.5 / 8)
    torch.testing.assert_close(weights, plain / (share * plain).sum())
    assert float((share * weights).sum()) == pytest.approx(1)
    assert weights.tolist() == sorted(weights.tolist(), reverse=True)


def test_a_bin_beside_a_frequent_one_weighs_less_than_one_afar() -> None:
    network = ECCV16(1)
    counts, centres = network.counts.clone(), network.bins.centres
    gray = int(torch.linalg.vector_norm(centres, dim=1).argmin())
    counts[gray] = 1_000_000

    weights = rebalancing(counts, centres)

    beside = int((centres == torch.tensor([10.0, 0.0])).all(1).nonzero())
    afar = int((centres == torch.tensor([60.0, 60.0])).all(1).nonzero())
    assert weights[gray] < weights[beside] < 0.5 * weights[afar]


def test_the_counts_are_those_of_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    training = tiny()
    ink, target = batch()

    def reduce(counts: Tensor) -> None:
        counts.mul_(3)  # as if three workers had the same pages

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "all_reduce", reduce)
    loss_of(training, ink, target)

    assert int(training.variant.networks["network"].counts.sum()) == 313 + 3 * 2 * 16 * 16


def test_colouring_does_not_count() -> None:
    training = tiny()
    ink, target = batch()
    loss_of(training, ink, target, update=False)  # a batch of a step of several
    before = training.variant.networks["network"].counts.clone()

    training.variant.predict(ink)
    training.variant.trained_generator()(ink)

    assert int(before.sum()) == 313 + 2 * 16 * 16
    assert torch.equal(training.variant.networks["network"].counts, before)


# Training.


def test_every_weight_learns() -> None:
    training = tiny()
    before = {name: value.detach().clone() for name, value in training.variant.trained_generator().named_parameters()}

    loss_of(training, *batch())

    after = dict(training.variant.trained_generator().named_parameters())
    assert [name for name, value in before.items() if torch.equal(value, after[name])] == []


def test_the_loss_goes_down() -> None:
    training = tiny(learning_rate=5e-3)
    ink, target = batch()
    losses = [loss_of(training, ink, target) for _ in range(25)]

    assert losses[-1] < 0.7 * losses[1]  # the first step has other weights


def test_the_solver_is_the_published_one_at_a_rate_for_one_series() -> None:
    variant = Zhang(ZhangConfig(image_size=64, base_channels=1))
    solver = variant.optimizer("network", variant.networks["network"].parameters())

    group = solver.param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (3e-4, (0.9, 0.99), 1e-3)


def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit() -> None:
    whole, first = tiny(3), tiny(3)
    for number in range(4):
        loss_of(whole, *batch(seed=number))
    for number in range(2):
        loss_of(first, *batch(seed=number))
    second = tiny(99)
    second.load_state(from_bytes(to_bytes(first.state())))
    for number in range(2, 4):
        loss_of(second, *batch(seed=number))

    expected, resumed = whole.state(), second.state()
    assert resumed.keys() == expected.keys()
    assert [key for key in expected if not torch.equal(expected[key], resumed[key])] == []
    assert int(expected["network/counts"].sum()) == 313 + 4 * 2 * 16 * 16
    assert torch.equal(expected["average/module.network.counts"], expected["network/counts"])
