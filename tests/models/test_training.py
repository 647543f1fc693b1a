"""The machinery of a training, on a variant of two lines; what holds for each variant is in test_registry."""

from contextlib import suppress
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import models
from models.training import Mechanics, Training
from models.variant import Variant, VariantConfig
from tests.models.test_registry import PHASES, pages, trainee

PARTS = {  # of a training's checkpoint beside "average" and "more": trainings that have begun go on with these names
    "pix2pix": {"generator", "generator_optimizer", "discriminator", "discriminator_optimizer"},
    "cyclegan": {"to_color", "to_ink", "generators_optimizer", "of_color", "of_ink", "discriminators_optimizer"},
    "pix2pixhd": {
        *("coarse", "coarse_optimizer", "head", "head_optimizer", "enhancer", "enhancer_optimizer"),
        *("discriminator_0", "discriminator_1", "discriminators_optimizer"),
    },
    "colornet": {"head"},  # plain descent: its optimizer keeps nothing
    "hypercolumn": {"head", "head_optimizer"},
    "zhang": {"network", "network_optimizer"},
    "exemplar": {"network", "network_optimizer"},
}


class Tinted(Variant):
    """Colours by one convolution, judged by another that does not learn."""

    name: ClassVar[str] = "tinted"
    config_type: ClassVar[type[VariantConfig]] = VariantConfig

    def __init__(self) -> None:
        generator, judge = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)
        groups = {"generator": {"generator": generator}, "judge": {"judge": judge}}
        super().__init__(VariantConfig(image_size=32), generator, groups)

    def step(self, training: Training, ink: Tensor, target: Tensor) -> dict[str, Tensor]:
        with training.gradients_of("generator"):
            predicted = training.call("generator", ink)
            with training.frozen("judge") as bare:
                loss = F.l1_loss(predicted, target) + bare["judge"](predicted).square().mean()
            training.backward(loss)
        training.advance("generator")
        return {"loss": loss}


def in_training(**mechanics: float) -> Training:
    torch.manual_seed(0)
    return Training(Tinted(), lambda network: network, Mechanics(**mechanics))  # type: ignore[arg-type]


def batch() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.rand(2, 1, 32, 32, generator=draw), torch.rand(2, 2, 32, 32, generator=draw)


def weights_of(training: Training, name: str = "generator") -> list[Tensor]:
    return [parameter.detach().clone() for parameter in training.variant.networks[name].parameters()]


def moved(training: Training, before: list[Tensor], name: str = "generator") -> bool:
    return any(not torch.equal(one, other) for one, other in zip(before, weights_of(training, name), strict=True))


@pytest.mark.parametrize("name", models.VARIANTS)
def test_the_parts_of_a_checkpoint_keep_their_names(name: str) -> None:
    training = trainee(name)
    for progress in PHASES:  # an optimizer has nothing to keep before its phase
        training.set_progress(progress)
        training.step(*pages(training.variant.target))

    parts = {key.partition("/")[0] for key in training.state()}

    assert parts - {"more"} == PARTS[name] | {"average"}


def test_a_batch_that_only_adds_up_steps_nothing_and_keeps_its_gradients() -> None:
    training = in_training(accumulate=2)
    before = weights_of(training)

    training.step(*batch(), update=False)

    assert not moved(training, before)
    assert all(parameter.grad is not None for parameter in training.variant.networks["generator"].parameters())
    training.step(*batch(), update=True)
    assert moved(training, before)
    assert all(parameter.grad is None for parameter in training.variant.networks["generator"].parameters())


def test_a_frozen_group_passes_gradients_on_and_takes_none() -> None:
    training = in_training()
    judge = training.variant.networks["judge"]
    before = weights_of(training), weights_of(training, "judge")

    training.step(*batch())

    assert moved(training, before[0])
    assert not moved(training, before[1], "judge")
    assert all(parameter.grad is None for parameter in judge.parameters())


def test_a_frozen_group_learns_again_even_after_an_error() -> None:
    training = in_training()
    judge = training.variant.networks["judge"]
    judge.bias.requires_grad_(False)  # of its own accord

    with suppress(RuntimeError), training.frozen("judge"):
        assert not any(parameter.requires_grad for parameter in judge.parameters())
        raise RuntimeError

    assert judge.weight.requires_grad
    assert not judge.bias.requires_grad


def test_an_optimizer_that_restarts_has_no_moments() -> None:
    training = in_training()
    training.step(*batch())
    assert any(key.startswith("generator_optimizer/") for key in training.state())

    training.restart_optimizer("generator")

    assert not any(key.startswith("generator_optimizer/") for key in training.state())


def test_an_average_that_restarts_is_the_next_step_s_weights() -> None:
    training = in_training()
    generator, trained = training.variant.generator(), training.variant.trained_generator()
    for _ in range(3):
        training.step(*batch())
    assert not torch.equal(generator.weight, trained.weight)  # type: ignore[arg-type]

    training.restart_average()
    training.step(*batch())

    assert torch.equal(generator.weight, trained.weight)  # type: ignore[arg-type]


def test_a_step_tells_the_variant_which_pages_are_of_one_chapter(monkeypatch: pytest.MonkeyPatch) -> None:
    training, told = in_training(), []
    real = Tinted.step

    def step(self: Tinted, training: Training, ink: Tensor, target: Tensor) -> dict[str, Tensor]:
        told.append(training.chapters)
        return real(self, training, ink, target)

    monkeypatch.setattr(Tinted, "step", step)
    chapters = torch.tensor([7, 7])

    training.step(*batch(), chapters=chapters)
    training.step(*batch())

    assert told == [chapters, None]
