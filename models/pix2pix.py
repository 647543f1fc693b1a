"""pix2pix: a U-Net generator against a 70x70 PatchGAN (Isola et al. 2017, arXiv 1611.07004).

B batch; S side of the image. Ink (B, 1, S, S) -> target (B, C, S, S), both in [-1, 1].
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imaging.target import CHANNELS
from models.layers import PatchDiscriminator, init_normal, repeat_ink
from models.losses import vanilla_gan_loss
from models.training import Training
from models.variant import Variant, VariantConfig

_DEEPEST = 8  # U-Net 256: eight halvings take 256 pixels to one


@dataclass(frozen=True, kw_only=True)
class Pix2PixConfig(VariantConfig):
    """Adam and weights as published: 2e-4, betas (0.5, 0.999), 100 x L1.

    base_channels: published 64.
    in_channels: of the generator; 3: the ink repeated, as published networks take it.
    """

    base_channels: int = 64
    in_channels: int = 1
    l1_weight: float = 100.0


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

    (B, in_channels, S, S), or ink (B, 1, S, S) -> (B, out_channels, S, S); S a multiple of 2 ** depth.
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
        x = repeat_ink(x, self.first.in_channels)
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
    config_type: ClassVar[type[VariantConfig]] = Pix2PixConfig

    def __init__(self, config: Pix2PixConfig) -> None:
        channels = CHANNELS[config.target]
        generator = UNet(config.in_channels, channels, config.base_channels, depth_for(config.image_size))
        discriminator = PatchDiscriminator(1 + channels, config.base_channels)
        groups: dict[str, dict[str, nn.Module]] = {
            "generator": {"generator": generator},
            "discriminator": {"discriminator": discriminator},
        }
        super().__init__(config, generator, groups)

    def step(self, training: Training, ink: Tensor, target: Tensor) -> dict[str, Tensor]:
        with training.gradients_of("generator"):
            predicted = training.filled(training.call("generator", ink), self.paper)
            critic = self._step_discriminator(training, ink, target, predicted.detach())
            with training.frozen("discriminator") as bare:
                fooled = vanilla_gan_loss(bare["discriminator"](torch.cat([ink, predicted], 1)), real=True)
            l1 = F.l1_loss(predicted.float(), target)
            training.backward(fooled + self.config.l1_weight * l1)
        training.advance("generator")
        return {"discriminator": critic, "gan": fooled, "l1": l1}

    def _step_discriminator(self, training: Training, ink: Tensor, target: Tensor, predicted: Tensor) -> Tensor:
        with training.without_sync("discriminator"):  # two passes, one exchange of gradients: the second sends both
            real = 0.5 * vanilla_gan_loss(training.call("discriminator", torch.cat([ink, target], 1)), real=True)
            training.backward(real)
        with training.gradients_of("discriminator"):
            fake = 0.5 * vanilla_gan_loss(training.call("discriminator", torch.cat([ink, predicted], 1)), real=False)
            training.backward(fake)
        training.advance("discriminator")
        return (real + fake).detach()
