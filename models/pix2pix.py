"""pix2pix: a U-Net generator against a 70x70 PatchGAN (Isola et al. 2017, arXiv 1611.07004).

B batch; S side of the image. Ink (B, 1, S, S) -> target (B, C, S, S), both in [-1, 1].
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from imaging.target import CHANNELS
from models.checkpoint import (
    CheckpointError,
    join_state,
    optimizer_state,
    restore_module,
    restore_optimizer,
    split_state,
)
from models.layers import PatchDiscriminator, autocast_dtype, init_normal
from models.losses import vanilla_gan_loss
from models.variant import Variant, Wrap

_PARTS = ("generator", "average", "discriminator", "generator_optimizer", "discriminator_optimizer")
_DEEPEST = 8  # U-Net 256: eight halvings take 256 pixels to one


@dataclass(frozen=True)
class Pix2PixConfig:
    """image_size: pixels, a multiple of 32. Adam and weights as published: 2e-4, betas (0.5, 0.999), 100 x L1.

    ema_decay: of the running average of the generator's weights, which is what colours (0: the last step's weights, as
    published). The adversary makes single steps swing between too bold and too cautious; the average does not.
    """

    target: str = "ab"
    image_size: int = 256
    base_channels: int = 64
    learning_rate: float = 2e-4
    l1_weight: float = 100.0
    ema_decay: float = 0.999

    def __post_init__(self) -> None:
        if self.target not in CHANNELS:
            raise ValueError(f"target is {self.target!r}; choose one of {', '.join(CHANNELS)}")
        if self.image_size < 32 or self.image_size % 32:
            raise ValueError(f"image_size is {self.image_size}; pix2pix needs a multiple of 32, at least 32")
        if self.base_channels < 1:
            raise ValueError(f"base_channels is {self.base_channels}; it must be at least 1 (published: 64)")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; it lies in [0, 1)")
        if not 0 < self.learning_rate < 1:
            raise ValueError(
                f"learning_rate is {self.learning_rate}; it must be above 0 and below 1 (published: 0.0002)"
            )
        if not 0 <= self.l1_weight < math.inf:
            raise ValueError(f"l1_weight is {self.l1_weight}; it is a number from 0 up (published: 100)")


class _Block(nn.Module):
    """One level of the U-Net: halve, let the level below work, double; the input is laid beside the result."""

    def __init__(self, outer: int, inner: int, below: nn.Module | None, *, dropout: bool) -> None:
        super().__init__()
        down: list[nn.Module] = [nn.LeakyReLU(0.2), nn.Conv2d(outer, inner, 4, 2, 1, bias=False)]
        if below is not None:
            down.append(nn.BatchNorm2d(inner))
        self.down = nn.Sequential(*down)
        self.below = below
        self.up = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose2d(inner if below is None else 2 * inner, outer, 4, 2, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.Dropout(0.5 if dropout else 0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.down(x)
        if self.below is not None:
            inner = self.below(inner)
        return torch.cat([x, self.up(inner)], dim=1)


class UNet(nn.Module):
    """The U-Net generator: `depth` halvings, widths base x (1, 2, 4, 8, 8, ...), skips at each level, tanh at the end.

    (B, in_channels, S, S) -> (B, out_channels, S, S); S a multiple of 2 ** depth.
    """

    def __init__(self, in_channels: int, out_channels: int, base_channels: int = 64, depth: int = _DEEPEST) -> None:
        super().__init__()
        widths = [base_channels * min(2**level, 8) for level in range(depth)]
        block: nn.Module | None = None
        for level in range(depth - 1, 0, -1):
            dropout = 4 <= level < depth - 1  # the published code: between the innermost level and the widening ones
            block = _Block(widths[level - 1], widths[level], block, dropout=dropout)
        assert block is not None
        self.first = nn.Conv2d(in_channels, base_channels, 4, 2, 1, bias=False)
        self.levels = block
        self.last = nn.ConvTranspose2d(2 * base_channels, out_channels, 4, 2, 1)
        init_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.last(F.relu(self.levels(self.first(x)))))


def depth_for(image_size: int) -> int:
    """How often `image_size` can be halved, at most eight times (U-Net 256)."""
    depth = 0
    while image_size % 2 == 0 and depth < _DEEPEST:
        image_size //= 2
        depth += 1
    return depth


class Pix2Pix(Variant):
    """Paired training: vanilla GAN loss plus L1; the discriminator sees the ink beside the colour, its loss halved."""

    name: ClassVar[str] = "pix2pix"
    config_type: ClassVar[type] = Pix2PixConfig

    def __init__(self, config: Pix2PixConfig) -> None:
        self.config = config
        self.image_size = config.image_size
        self.target = config.target
        channels = CHANNELS[config.target]
        self._generator: nn.Module = UNet(1, channels, config.base_channels, depth_for(config.image_size))
        self._discriminator: nn.Module = PatchDiscriminator(1 + channels, config.base_channels)
        self._average: AveragedModel | None = None

    def generator(self) -> nn.Module:
        return self.trained_generator() if self._average is None else self._average.module

    def trained_generator(self) -> nn.Module:
        """The network whose average `generator` is."""
        return _unwrapped(self._generator)

    def discriminator(self) -> nn.Module:
        """The PatchGAN, for its parameter count; it is not published."""
        return _unwrapped(self._discriminator)

    def start_training(self, wrap: Wrap) -> None:
        self._generator = wrap(self._generator.to(memory_format=torch.channels_last))
        self._discriminator = wrap(self._discriminator.to(memory_format=torch.channels_last))
        self._average = AveragedModel(self.trained_generator(), avg_fn=self._averaged, use_buffers=True)
        adam = {"lr": self.config.learning_rate, "betas": (0.5, 0.999)}
        self._generator_optimizer = torch.optim.Adam(self._generator.parameters(), **adam)
        self._discriminator_optimizer = torch.optim.Adam(self._discriminator.parameters(), **adam)

    def _averaged(self, average: Tensor, latest: Tensor, count: Tensor | int) -> Tensor:
        """Early on the average is over the last ninth of the steps: what a network knew at first is soon forgotten."""
        decay = min(self.config.ema_decay, (1 + int(count)) / (10 + int(count)))
        return average + (1 - decay) * (latest - average)

    def set_progress(self, progress: float) -> None:
        """Constant for the first half, then straight down to nothing: the published 100 + 100 epochs."""
        rate = self.config.learning_rate * min(1.0, max(0.0, 2 * (1 - progress)))
        for optimizer in (self._generator_optimizer, self._discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = rate

    def training_step(self, ink: Tensor, target: Tensor) -> dict[str, Tensor]:
        self._generator.train()
        self._discriminator.train()
        device = ink.device
        dtype = autocast_dtype(device)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            painted = self._generator(ink)
            critic = self._step_discriminator(ink, target, painted.detach())
            fooled, l1 = self._step_generator(ink, target, painted)
        return {"discriminator": critic, "gan": fooled, "l1": l1}

    def _step_discriminator(self, ink: Tensor, target: Tensor, painted: Tensor) -> Tensor:
        self._discriminator_optimizer.zero_grad(set_to_none=True)
        with _without_sync(self._discriminator):  # two passes, one exchange of gradients: the second pass sends both
            real = 0.5 * vanilla_gan_loss(self._discriminator(torch.cat([ink, target], 1)), real=True)
            real.backward()
        fake = 0.5 * vanilla_gan_loss(self._discriminator(torch.cat([ink, painted], 1)), real=False)
        fake.backward()
        self._discriminator_optimizer.step()
        return (real + fake).detach()

    def _step_generator(self, ink: Tensor, target: Tensor, painted: Tensor) -> tuple[Tensor, Tensor]:
        self._generator_optimizer.zero_grad(set_to_none=True)
        with _frozen(_unwrapped(self._discriminator)) as critic:
            fooled = vanilla_gan_loss(critic(torch.cat([ink, painted], 1)), real=True)
            l1 = F.l1_loss(painted.float(), target)
            (fooled + self.config.l1_weight * l1).backward()
        self._generator_optimizer.step()
        assert self._average is not None
        self._average.update_parameters(self.trained_generator())
        return fooled.detach(), l1.detach()

    def training_state(self) -> dict[str, Tensor]:
        assert self._average is not None
        return join_state(
            {
                "generator": self.trained_generator().state_dict(),
                "average": self._average.state_dict(),
                "discriminator": self.discriminator().state_dict(),
                "generator_optimizer": optimizer_state(self._generator_optimizer),
                "discriminator_optimizer": optimizer_state(self._discriminator_optimizer),
            }
        )

    def load_training_state(self, state: dict[str, Tensor]) -> None:
        parts = split_state(state)
        assert self._average is not None
        if unknown := set(parts) - set(_PARTS):
            raise CheckpointError(f"the checkpoint has parts that pix2pix has not: {', '.join(sorted(unknown))}")
        try:
            restore_module(self.trained_generator(), parts["generator"])
            restore_module(self._average, parts["average"])
            restore_module(self.discriminator(), parts["discriminator"])
            restore_optimizer(self._generator_optimizer, parts.get("generator_optimizer", {}))
            restore_optimizer(self._discriminator_optimizer, parts.get("discriminator_optimizer", {}))
        except (KeyError, CheckpointError) as error:
            raise CheckpointError(f"the checkpoint does not fit this pix2pix: {error}") from error


def _unwrapped(module: nn.Module) -> nn.Module:
    return module.module if isinstance(module, nn.parallel.DistributedDataParallel) else module


def _without_sync(module: nn.Module) -> AbstractContextManager[None]:
    if isinstance(module, nn.parallel.DistributedDataParallel):
        return module.no_sync()
    return nullcontext()


@contextmanager
def _frozen(module: nn.Module) -> Iterator[nn.Module]:
    """`module` with its parameters left out of the gradient, so that a step through it trains only what feeds it."""
    module.requires_grad_(False)
    try:
        yield module
    finally:
        module.requires_grad_(True)
