"""CycleGAN: two generators that undo each other, learnt from pages that are not paired (Zhu et al. 2017, 1703.10593).

B batch; S side of the image; c base channels. All networks are 3 -> 3, images in [-1, 1]: the ink (B, 1, S, S) is
repeated, so that a generator can be shown its own output domain (the identity loss).
Widths and settings of "resnet" after junyanz/pytorch-CycleGAN-and-pix2pix, of "skip" after the notebook of
functorial/BerserkMangaColoring.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imaging.target import CHANNELS
from models.card import CheckpointError
from models.layers import PatchDiscriminator, init_normal, repeat_ink
from models.losses import lsgan_loss
from models.training import Training
from models.variant import Variant, VariantConfig

_RGB = CHANNELS["rgb"]


class _ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), each convolution reflection-padded and normalised per image; shape kept."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class ResnetGenerator(nn.Module):
    """The generator of the paper (its 7.2): halve twice, residual blocks, double twice; widths c, 2c, 4c.

    (B, 3, S, S) -> (B, 3, S, S); S a multiple of 4.
    """

    def __init__(self, base_channels: int = 64, blocks: int = 9) -> None:
        super().__init__()
        c = base_channels
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(_RGB, c, 7), nn.InstanceNorm2d(c), nn.ReLU()]
        for width in (c, 2 * c):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU()]
        layers += [_ResidualBlock(4 * c) for _ in range(blocks)]
        for width in (2 * c, c):
            layers += [nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1), nn.InstanceNorm2d(width), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(c, _RGB, 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        init_normal(self)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.layers(image)
        return out


class _TiedBlock(nn.Module):
    """x + conv(lrelu(conv(x))), both times the same convolution and BatchNorm; shape kept."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(F.leaky_relu(self.conv(x), 0.2))


class SkipGenerator(nn.Module):
    """The write-up's generator: tied residual blocks, and a skip around all of them that carries no gradient.

    (B, 3, S, S) -> (B, 3, S, S); S a multiple of 4: its first convolution takes 4 pixels that its last gives back.
    """

    def __init__(self, base_channels: int = 32, blocks: int = 9) -> None:
        super().__init__()
        c = base_channels
        encoder: list[nn.Module] = []
        for inner, outer, kernel, stride in ((_RGB, c, 7, 1), (c, 2 * c, 3, 2), (2 * c, 4 * c, 3, 2)):
            conv = nn.Conv2d(inner, outer, kernel, stride, 1, bias=False)
            encoder += [conv, nn.BatchNorm2d(outer), nn.LeakyReLU(0.2)]
        decoder: list[nn.Module] = []
        for width in (2 * c, c):
            up = nn.ConvTranspose2d(2 * width, width, 3, 2, 1, bias=False)
            decoder += [up, nn.BatchNorm2d(width), nn.LeakyReLU(0.2), nn.ZeroPad2d((0, 1, 0, 1))]
        decoder += [nn.ConvTranspose2d(c, _RGB, 7, 1, 1, bias=False), nn.Tanh()]
        self.encoder = nn.Sequential(*encoder)
        self.blocks = nn.Sequential(*[_TiedBlock(4 * c) for _ in range(blocks)])
        self.decoder = nn.Sequential(*decoder)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, 0.0, 0.2)  # ten times the usual: as published

    def forward(self, image: Tensor) -> Tensor:
        features = self.encoder(image)
        out: Tensor = self.decoder(self.blocks(features) + features.detach())
        return out


class StridedDiscriminator(nn.Module):
    """The write-up's discriminator: six halvings, widths c, 2c, 4c, 8c, 8c, 1, torch's own initial weights.

    (B, 3, S, S) -> (B, 1, s, s) scores, s = 4 at 256, 1 at 64: the least S.
    """

    def __init__(self, base_channels: int = 32) -> None:
        super().__init__()
        c = base_channels
        layers: list[nn.Module] = [nn.Conv2d(_RGB, c, 3, 2, 1, bias=False), nn.ReLU()]
        for inner, outer in ((c, 2 * c), (2 * c, 4 * c), (4 * c, 8 * c), (8 * c, 8 * c)):
            layers += [nn.Conv2d(inner, outer, 4, 2, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
        layers.append(nn.Conv2d(8 * c, 1, 4, 2, 1, bias=False))
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.layers(image)
        return scores


def patch_discriminator(base_channels: int = 64) -> nn.Module:
    """The 70x70 PatchGAN of one image, normalised per image."""
    return PatchDiscriminator(_RGB, base_channels, nn.InstanceNorm2d)


@dataclass(frozen=True)
class _Preset:
    """What belongs to a generator.

    generator: built from base_channels and blocks.
    discriminator: built from base_channels.
    critic_weight: of the discriminators' losses.
    pool: images in each image pool; 0: there is none.
    least_size: of S, pixels.
    """

    generator: Callable[[int, int], nn.Module]
    discriminator: Callable[[int], nn.Module]
    critic_weight: float
    pool: int
    least_size: int


_PRESETS = {
    "resnet": _Preset(ResnetGenerator, patch_discriminator, critic_weight=0.5, pool=50, least_size=32),
    "skip": _Preset(SkipGenerator, StridedDiscriminator, critic_weight=1.0, pool=0, least_size=64),
}


@dataclass(frozen=True, kw_only=True)
class CycleGANConfig(VariantConfig):
    """Adam and weights as published: 2e-4, betas (0.5, 0.999), 10 x cycle, 5 x identity.

    generator: "resnet", the paper's, or "skip", the Berserk write-up's, each with its own discriminator and training.
    base_channels: published 64 for resnet, 32 for skip.
    blocks: residual blocks of a generator, published 9.
    """

    targets: ClassVar[tuple[str, ...]] = ("rgb",)
    size_multiple: ClassVar[int] = 4

    target: str = "rgb"
    generator: str = "resnet"
    base_channels: int = 64
    blocks: int = 9
    cycle_weight: float = 10.0
    identity_weight: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.generator not in _PRESETS:
            raise ValueError(f"generator is {self.generator!r}; choose one of {', '.join(_PRESETS)}")
        if self.image_size < (least := _PRESETS[self.generator].least_size):
            raise ValueError(f"image_size is {self.image_size}; generator {self.generator!r} needs at least {least}")
        if self.blocks < 1:
            raise ValueError(f"blocks is {self.blocks}; it must be at least 1")


class ImagePool:
    """Generated images of earlier steps, so that a discriminator does not forget them (Shrivastava et al. 2017, 2.3).

    size: S.
    capacity: how many (3, S, S) images it keeps; they stay on the CPU, as float16.
    """

    def __init__(self, size: int, capacity: int) -> None:
        self._shape = (_RGB, size, size)
        self._capacity = capacity
        self._images: list[Tensor] = []

    def exchange(self, images: Tensor) -> Tensor:
        """Images to judge in the place of (B, 3, S, S) just generated: of device and dtype as given, without gradient.

        Until the pool is full they are those given. Then each is, with chance 1/2, swapped for one of the pool.
        """
        judged = []
        for image in images.detach():
            if len(self._images) < self._capacity:
                self._images.append(self._kept(image))
            elif float(torch.rand((), device="cpu")) < 0.5:
                slot = int(torch.randint(self._capacity, (), device="cpu"))
                stored = self._images[slot].to(image)
                self._images[slot] = self._kept(image)
                image = stored
            judged.append(image)
        return torch.stack(judged)

    def state(self) -> Tensor:
        """The stored images, (N, 3, S, S) float16."""
        if not self._images:
            return torch.empty(0, *self._shape, dtype=torch.float16, device="cpu")
        return torch.stack(self._images)

    def load_state(self, state: Tensor) -> None:
        """Take up `state`. Raises CheckpointError where it is not one of a pool of this size."""
        fits = tuple(state.shape[1:]) == self._shape and len(state) <= self._capacity
        if not fits or state.dtype is not torch.float16:
            own = f"at most ({self._capacity}, {', '.join(map(str, self._shape))}) {torch.float16}"
            raise CheckpointError(f"an image pool is {tuple(state.shape)} {state.dtype} in the checkpoint, {own} here")
        self._images = [self._kept(image) for image in state]

    @staticmethod
    def _kept(image: Tensor) -> Tensor:
        """A copy of its own: a view would keep the whole batch in memory."""
        return image.to("cpu", torch.float16, copy=True)


class InkGenerator(nn.Module):
    """Colours ink with a 3 -> 3 generator: (B, 1, S, S) -> (B, 3, S, S)."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, ink: Tensor) -> Tensor:
        out: Tensor = self.generator(repeat_ink(ink, _RGB))
        return out


class CycleGAN(Variant):
    """Unpaired training: LSGAN in both directions, cycle and identity losses (L1).

    One departure from the write-up's notebook: the discriminators judge the images of the generators' step, where the
    notebook generates anew with the weights after it.
    """

    name: ClassVar[str] = "cyclegan"
    config_type: ClassVar[type[VariantConfig]] = CycleGANConfig
    paired: ClassVar[bool] = False

    def __init__(self, config: CycleGANConfig) -> None:
        preset = _PRESETS[config.generator]
        generators = {name: preset.generator(config.base_channels, config.blocks) for name in ("to_color", "to_ink")}
        discriminators = {name: preset.discriminator(config.base_channels) for name in ("of_color", "of_ink")}
        groups = {"generators": generators, "discriminators": discriminators}
        super().__init__(config, InkGenerator(generators["to_color"]), groups)
        self._critic_weight = preset.critic_weight
        names = ("pool_color", "pool_ink") if preset.pool else ()
        self._pools = {name: ImagePool(config.image_size, preset.pool) for name in names}

    def step(self, training: Training, ink: Tensor, target: Tensor) -> dict[str, Tensor]:
        ink = training.filled(repeat_ink(ink, _RGB), self.paper)
        with training.gradients_of("generators"):
            predicted, inked = self._translate(training, "to_color", ink), self._translate(training, "to_ink", target)
            with training.frozen("discriminators") as critics:
                fooled = lsgan_loss(critics["of_color"](predicted), real=True)
                fooled = fooled + lsgan_loss(critics["of_ink"](inked), real=True)
            cycle = _distance(self._translate(training, "to_ink", predicted), ink)
            cycle = cycle + _distance(self._translate(training, "to_color", inked), target)
            identity = self._identity(training, ink, target)
            training.backward(fooled + self.config.cycle_weight * cycle + self.config.identity_weight * identity)
        training.advance("generators")
        critic = self._step_discriminators(training, (ink, target), (inked.detach(), predicted.detach()))
        return {"discriminator": critic, "generator": fooled, "cycle": cycle, "identity": identity}

    def _identity(self, training: Training, ink: Tensor, target: Tensor) -> Tensor:
        """How far a generator changes what is already of its output domain (the paper's 5.2)."""
        if not self.config.identity_weight:
            return ink.new_zeros(())  # two forward passes saved
        kept_color, kept_ink = (
            self._translate(training, name, image) for name, image in (("to_color", target), ("to_ink", ink))
        )
        return _distance(kept_color, target) + _distance(kept_ink, ink)

    def _translate(self, training: Training, generator: str, image: Tensor) -> Tensor:
        return training.filled(training.call(generator, image), self.paper)

    def _step_discriminators(
        self, training: Training, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]
    ) -> Tensor:
        """real, fake: (ink, colour), both (B, 3, S, S); what is fake without gradient. Returns the loss."""
        (ink, target), (inked, predicted) = real, fake
        if self._pools:
            predicted = self._pools["pool_color"].exchange(predicted)
            inked = self._pools["pool_ink"].exchange(inked)
        with training.gradients_of("discriminators"):
            loss = lsgan_loss(training.call("of_color", target), real=True)
            loss = loss + lsgan_loss(training.call("of_color", predicted), real=False)
            loss = loss + lsgan_loss(training.call("of_ink", ink), real=True)
            loss = loss + lsgan_loss(training.call("of_ink", inked), real=False)
            loss = self._critic_weight * loss
            training.backward(loss)
        training.advance("discriminators")
        return loss

    def more_state(self) -> dict[str, Tensor]:
        return {name: pool.state() for name, pool in self._pools.items()}

    def load_more_state(self, state: dict[str, Tensor]) -> None:
        if differing := sorted(state.keys() ^ self._pools.keys()):
            raise CheckpointError(f"image pools that only one of training and checkpoint has: {', '.join(differing)}")
        for name, pool in self._pools.items():
            pool.load_state(state[name])


def _distance(one: Tensor, other: Tensor) -> Tensor:
    return F.l1_loss(one.float(), other.float())
