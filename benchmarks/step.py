"""A training step of pix2pix and of exemplar; pix2pix beside the loop of the published code.

The published loop (junyanz/pytorch-CycleGAN-and-pix2pix) has the same networks and the same passes, with PyTorch's
defaults: memory format, optimizer, no running average of the weights.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import models
from imaging.target import CHANNELS
from models.losses import vanilla_gan_loss


def time_step(count: int) -> dict[str, Any]:
    """Medians of `count` steps each, in seconds, turn by turn: pix2pix on one page, exemplar on eight.

    "bf16" is the same step of ours with --precision bf16.
    """
    pix2pix = models.build("pix2pix", {"target": "rgb"})
    ways = {
        "pix2pix": our_step(models.build("pix2pix", {"target": "rgb"}), 1),
        "pix2pix, published loop": published_step(pix2pix, *examples(pix2pix, 1)),
        "pix2pix, bf16": our_step(models.build("pix2pix", {"target": "rgb"}), 1, "bf16"),
        "exemplar": our_step(models.build("exemplar", {}), 8),
        "exemplar, bf16": our_step(models.build("exemplar", {}), 8, "bf16"),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(count + 1):
        for name, step in ways.items():
            begun = time.perf_counter()
            step()
            if number:  # the first step makes plans too
                took[name].append(time.perf_counter() - begun)
    return {name: statistics.median(seconds) for name, seconds in took.items()}


def examples(variant: models.Variant, batch: int) -> tuple[Tensor, Tensor]:
    """Ink (B, 1, S, S) and target (B, C, S, S) of noise in [-1, 1]."""
    size, made = variant.image_size, torch.Generator().manual_seed(0)
    ink, target = (torch.rand(batch, c, size, size, generator=made) * 2 - 1 for c in (1, CHANNELS[variant.target]))
    return ink, target


def our_step(variant: models.Variant, batch: int, precision: models.Precision = "fp32") -> Callable[[], object]:
    """A step as train.py makes it."""
    training = models.Training(variant, lambda network: network, models.Mechanics(precision=precision))
    ink, target = examples(variant, batch)
    chapters = torch.arange(batch) // variant.pages_per_chapter
    return lambda: training.step(ink, target, chapters=chapters)


def published_step(variant: models.Variant, ink: Tensor, target: Tensor) -> Callable[[], None]:
    """A step of the published loop over the networks of `variant`, a pix2pix."""
    generator, critic = variant.networks["generator"], variant.networks["discriminator"]
    of_generator, of_critic = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (generator, critic))

    def judged(colors: Tensor, real: bool) -> Tensor:
        return vanilla_gan_loss(critic(torch.cat([ink, colors], 1)), real=real)

    def step() -> None:
        predicted = generator(ink)
        critic.requires_grad_(True)
        of_critic.zero_grad()
        (0.5 * (judged(predicted.detach(), False) + judged(target, True))).backward()
        of_critic.step()
        critic.requires_grad_(False)
        of_generator.zero_grad()
        (judged(predicted, True) + 100 * nn.functional.l1_loss(predicted, target)).backward()
        of_generator.step()

    return step
