"""hypercolumn: the write-up's heads on a frozen VGG16, with the softmax over the bins."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.bins import soft_cross_entropy
from models.card import CheckpointError
from models.checkpoint import from_bytes, to_bytes
from models.hypercolumn import Hypercolumn, HypercolumnConfig, HypercolumnGenerator, hypercolumn_head
from models.layers import count_parameters
from models.training import Training
from models.variant import Variant
from models.vgg import VGGFeatures


def tiny(seed: int = 0, **options: Any) -> Training:
    small = {"image_size": 32, "base_channels": 8, "columns": "reduced", "optimizer": "adam"}
    torch.manual_seed(seed)
    return Training(Hypercolumn(HypercolumnConfig(**{**small, **options})), lambda network: network)


def batch(seed: int = 1, size: int = 32) -> tuple[Tensor, Tensor]:
    """Pages of patches whose colour follows from their gray."""
    patches = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    ink = F.interpolate(patches, size=size)
    return ink, torch.cat([0.6 * ink, -0.5 * ink], 1)


def generator_of(variant: Variant) -> HypercolumnGenerator:
    generator = variant.trained_generator()
    assert isinstance(generator, HypercolumnGenerator)
    return generator


def loss_of(training: Training, ink: Tensor, target: Tensor) -> float:
    return float(training.step(ink, target)["cross_entropy"])


# The networks.


@pytest.mark.parametrize(("columns", "count"), [("full", 5_862_256), ("reduced", 1_143_152)])
def test_the_heads_have_the_size_of_the_write_up(columns: str, count: int) -> None:
    with torch.device("meta"):
        assert count_parameters(hypercolumn_head(columns)) == count
        variant = Hypercolumn(HypercolumnConfig(columns=columns))

    assert count_parameters(variant.networks["head"]) == count


def test_the_full_columns_look_through_vgg16_up_to_relu4_3() -> None:
    with torch.device("meta"):
        variant = Hypercolumn(HypercolumnConfig())

    frozen = [parameter for parameter in variant.generator().parameters() if not parameter.requires_grad]
    assert sum(parameter.numel() for parameter in frozen) == 7_635_264
    assert variant.pretrained == "vgg16"
    assert variant.pretrained_needed


@pytest.mark.parametrize(
    ("columns", "layers", "shape"),
    [
        ("full", ("relu1_2", "relu2_2", "relu3_3", "relu4_3"), (960, 32, 32)),
        ("reduced", ("relu2_2", "relu3_3"), (384, 8, 8)),
    ],
)
def test_a_column_is_what_vgg_sees_at_its_place(
    columns: str, layers: tuple[str, ...], shape: tuple[int, int, int]
) -> None:
    generator = generator_of(tiny(columns=columns).variant)
    ink = batch()[0]
    vgg = VGGFeatures("vgg16", layers)
    vgg.load_state_dict(generator.vgg.state_dict())

    stack = generator.stack(ink.clone().requires_grad_())

    assert stack.shape == (2, *shape)
    assert not stack.requires_grad
    start = 0
    for seen in vgg(((ink + 1) / 2).repeat(1, 3, 1, 1)):
        part = stack[:, start : start + seen.shape[1]]
        start += seen.shape[1]
        if seen.shape[-1] < shape[-1]:  # the middle of each cell of the coarser layer keeps its value
            part = F.interpolate(part, seen.shape[-2:], mode="area")
            assert float(F.cosine_similarity(part.flatten(), seen.flatten(), dim=0)) > 0.95
        else:
            torch.testing.assert_close(part, F.interpolate(seen, shape[-2:], mode="area"))
    assert start == shape[0]


@pytest.mark.parametrize("size", [64, 96])
@pytest.mark.parametrize("columns", ["full", "reduced"])
def test_a_prediction_has_the_shape_and_range_of_ab(columns: str, size: int) -> None:
    torch.manual_seed(0)
    variant = Hypercolumn(HypercolumnConfig(image_size=size, base_channels=2, columns=columns))

    colored = variant.predict(batch(size=size)[0][:1])

    assert colored.shape == (1, 2, size, size)
    assert float(colored.abs().max()) <= 1


def test_a_prediction_is_the_annealed_mean_of_the_bins() -> None:
    training = tiny(temperature=0.2)
    generator = generator_of(training.variant)
    torch.nn.init.normal_(training.variant.networks["head"][-1].weight)
    ink = batch()[0]

    with torch.no_grad():
        likelihood = generator.head(generator.stack(ink)).softmax(1).double() ** (1 / 0.2)
        shares = likelihood / likelihood.sum(1, keepdim=True)
        ab = torch.einsum("bqhw,qc->bchw", shares, generator.bins.centres.double())
        expected = F.interpolate(ab, size=(32, 32), mode="bilinear", align_corners=False) / 110
        torch.testing.assert_close(generator(ink), expected.float(), atol=1e-4, rtol=1e-4)


# The options.


@pytest.mark.parametrize(
    ("name", "kind", "rate"),
    [
        ("sgd", torch.optim.SGD, 1e-3),
        ("adadelta", torch.optim.Adadelta, 1.0),
        ("adam", torch.optim.Adam, 1e-3),
    ],
)
def test_each_optimizer_has_a_rate_of_its_own(name: str, kind: type[torch.optim.Optimizer], rate: float) -> None:
    weight = [torch.nn.Parameter(torch.zeros(1))]

    def made(**options: Any) -> torch.optim.Optimizer:
        with torch.device("meta"):
            return Hypercolumn(HypercolumnConfig(optimizer=name, **options)).optimizer("head", weight)

    assert type(made()) is kind
    assert made().param_groups[0]["lr"] == rate
    assert made(learning_rate=0.05).param_groups[0]["lr"] == 0.05


def test_sgd_has_nesterov_momentum_and_is_the_default() -> None:
    group = Hypercolumn(HypercolumnConfig(image_size=32, base_channels=2)).optimizer(
        "head", [torch.nn.Parameter(torch.zeros(1))]
    )

    assert (group.param_groups[0]["momentum"], group.param_groups[0]["nesterov"]) == (0.9, True)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("columns", "half"),
        ("optimizer", "lion"),
        ("base_channels", 1),
        ("bins", 9),
        ("bins", 290),
        ("temperature", 0.0),
        ("learning_rate", 0.0),
        ("target", "rgb"),
    ],
)
def test_a_bad_option_is_refused_by_its_name(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{option} is ") as refusal:
        HypercolumnConfig(**{option: value})

    assert str(value) in str(refusal.value)


# The loss.


@pytest.mark.parametrize(("columns", "base_channels"), [("full", 8), ("reduced", 8), ("reduced", 512)])
def test_an_untrained_network_costs_ln_112_not_4849(columns: str, base_channels: int) -> None:
    loss = loss_of(tiny(columns=columns, base_channels=base_channels), *batch())

    assert loss == pytest.approx(math.log(112), rel=0.02)


@pytest.mark.parametrize(("columns", "stride"), [("full", 1), ("reduced", 4)])
def test_the_loss_is_that_of_soft_labels_on_ten_bins(columns: str, stride: int) -> None:
    training = tiny(columns=columns)
    generator = generator_of(training.variant)
    torch.nn.init.normal_(training.variant.networks["head"][-1].weight)
    ink, target = batch()
    with torch.no_grad():
        logits = generator.head(generator.stack(ink))
    label = generator.bins.encode(target[..., ::stride, ::stride] * 110, 10, 6.25)

    assert label[0].shape[1:] == (10, *logits.shape[2:])
    assert loss_of(training, ink, target) == pytest.approx(float(soft_cross_entropy(logits, *label)), rel=1e-5)


# Training.


def test_the_head_learns_and_vgg_does_not() -> None:
    training = tiny()
    generator = generator_of(training.variant)
    vgg = {key: value.clone() for key, value in generator.vgg.state_dict().items()}
    head = {key: value.clone() for key, value in generator.head.state_dict().items()}

    for number in range(3):
        loss_of(training, *batch(number))

    assert all(torch.equal(value, vgg[key]) for key, value in generator.vgg.state_dict().items())
    assert all(parameter.grad is None for parameter in generator.vgg.parameters())
    assert [key for key, value in generator.head.state_dict().items() if torch.equal(value, head[key])] == []
    assert set(training.state()) & {f"head/{key}" for key in head} == {f"head/{key}" for key in head}


def test_pages_are_learnt_by_heart() -> None:
    training = tiny(learning_rate=5e-3, base_channels=64)
    ink, target = batch()

    def away() -> float:
        return float(F.l1_loss(training.variant.predict(ink), target))

    start = away()
    for _ in range(40):
        loss_of(training, ink, target)

    assert away() < 0.35 * start  # the true labels themselves leave 0.26: bins lie on every fourth pixel only


@pytest.mark.parametrize("optimizer", ["sgd", "adadelta", "adam"])
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(optimizer: str) -> None:
    """Also where the second part began with a VGG16 of its own: random features, as in tests."""
    whole, first = tiny(3, optimizer=optimizer), tiny(3, optimizer=optimizer)
    for number in range(4):
        loss_of(whole, *batch(number))
    for number in range(2):
        loss_of(first, *batch(number))
    second = tiny(99, optimizer=optimizer)
    second.load_state(from_bytes(to_bytes(first.state())))
    for number in range(2, 4):
        loss_of(second, *batch(number))

    expected, resumed = whole.state(), second.state()
    assert resumed.keys() == expected.keys()
    assert [key for key in expected if not torch.equal(expected[key], resumed[key])] == []


# The published VGG16.


def test_published_weights_are_taken_up_or_refused_and_none_are_needed_for_tests() -> None:
    torch.manual_seed(0)
    variant = Hypercolumn(HypercolumnConfig(image_size=32, base_channels=2, columns="reduced"))
    random = {key: value.clone() for key, value in generator_of(variant).vgg.state_dict().items()}
    published = {key: torch.randn(value.shape) for key, value in random.items()}

    variant.load_pretrained(None)
    assert all(torch.equal(value, random[key]) for key, value in generator_of(variant).vgg.state_dict().items())
    with pytest.raises(CheckpointError, match=r"features\.0\.weight"):
        variant.load_pretrained({key: value for key, value in published.items() if key != "features.0.weight"})
    variant.load_pretrained({**published, "classifier.0.weight": torch.zeros(1)})

    assert all(torch.equal(value, published[key]) for key, value in generator_of(variant).vgg.state_dict().items())
