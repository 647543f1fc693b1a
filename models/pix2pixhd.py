"""pix2pixHD: a coarse-to-fine generator against discriminators at several scales (Wang et al. 2018, arXiv 1711.11585).

B batch; S side of the image, pixels; N base channels. Ink (B, 1, S, S) -> target (B, C, S, S), both in [-1, 1].
Widths, paddings, weights and the order of the steps are those of the public code (NVIDIA/pix2pixHD), used without
labels and instance maps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imaging.target import AB_RANGE, CHANNELS
from models.color import lab_to_rgb, lightness
from models.layers import init_normal, repeat_ink
from models.losses import lsgan_loss
from models.training import Training
from models.variant import Coloring, Variant, VariantConfig
from models.vgg import VGGFeatures

_HALVINGS = 4  # of the global generator, which itself sees the page at half size
_PHASE_STARTS = (0.4, 0.5)  # progress at which phases 2 and 3 begin
_LEARNING = {1: ("coarse", "head"), 2: ("enhancer",), 3: ("coarse", "enhancer")}
_CRITIC_LAYERS = 3  # n_layers of the public code: the halvings of a discriminator
_PERCEPTUAL = {"relu1_1": 1 / 32, "relu2_1": 1 / 16, "relu3_1": 1 / 8, "relu4_1": 1 / 4, "relu5_1": 1.0}


@dataclass(frozen=True, kw_only=True)
class Pix2PixHDConfig(VariantConfig):
    """Adam and weights as published: 2e-4, 10 x feature matching, 10 x VGG19.

    base_channels: of the global generator and of each discriminator, published 64; the local enhancer has half.
    in_channels: of the global generator and the local enhancer; 3: the ink repeated, as published networks take it.
    blocks: residual blocks of the global generator.
    local_blocks: residual blocks of the local enhancer.
    scales: discriminators, each at half the size of the one before.
    feature_weight: of the feature matching.
    perceptual_weight: of VGG19's loss; it counts only where VGG19's weights were given.
    """

    image_size: int = 512
    base_channels: int = 64
    in_channels: int = 1
    blocks: int = 9
    local_blocks: int = 3
    scales: int = 2
    feature_weight: float = 10.0
    perceptual_weight: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size < 64:  # at 32 the global generator would normalise a single pixel
            raise ValueError(f"image_size is {self.image_size}; pix2pixhd needs at least 64")
        if self.base_channels % 2:
            raise ValueError(f"base_channels is {self.base_channels}; it must be even: the local enhancer has half")
        for name in ("blocks", "local_blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 1 <= self.scales <= 4:  # the fourth sees 4 of the 32 pixels of the least half-size page
            raise ValueError(f"scales is {self.scales}; it must be from 1 to 4")


def halve(images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H/2, W/2), for even sides: the published 3x3 mean, over the pixels that are there."""
    return F.avg_pool2d(images, 3, 2, 1, count_include_pad=False)


def pyramid(images: Tensor, scales: int) -> list[Tensor]:
    """The images at full size, half, a quarter, ...: one level for each scale."""
    levels = [images]
    for _ in range(scales - 1):
        levels.append(halve(levels[-1]))
    return levels


def _normed(convolution: nn.Module, width: int) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(width), nn.ReLU()]


def _wide(inner: int, outer: int) -> nn.Conv2d:
    """The 7x7 convolution at either end of a generator."""
    return nn.Conv2d(inner, outer, 7, padding=3, padding_mode="reflect")


def _up(inner: int, outer: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inner, outer, 3, 2, 1, output_padding=1)


class _Residual(nn.Module):
    """x plus two 3x3 convolutions of it, at the same width and size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect") for _ in range(2))
        self.body = nn.Sequential(*_normed(first, width), second, nn.InstanceNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class GlobalFeatures(nn.Module):
    """The global generator up to what its last convolution would see: 4 halvings, residual blocks, 4 doublings.

    (B, in_channels, H, W), or ink (B, 1, H, W) -> (B, N, H, W); H and W multiples of 16, at least 32.
    """

    def __init__(self, in_channels: int, base_channels: int = 64, blocks: int = 9) -> None:
        super().__init__()
        self._in_channels = in_channels
        widths = [base_channels * 2**level for level in range(_HALVINGS + 1)]
        layers = _normed(_wide(in_channels, base_channels), base_channels)
        for outer, inner in pairwise(widths):
            layers += _normed(nn.Conv2d(outer, inner, 3, 2, 1), inner)
        layers += [_Residual(widths[-1]) for _ in range(blocks)]
        for inner, outer in pairwise(reversed(widths)):
            layers += _normed(_up(inner, outer), outer)
        self.layers = nn.Sequential(*layers)
        init_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(repeat_ink(x, self._in_channels))
        return features


class Head(nn.Module):
    """The global generator's last convolution and tanh: (B, N, H, W) features -> (B, out_channels, H, W) in [-1, 1]."""

    def __init__(self, out_channels: int, base_channels: int = 64) -> None:
        super().__init__()
        self.last = _wide(base_channels, out_channels)
        init_normal(self)

    def forward(self, features: Tensor) -> Tensor:
        return torch.tanh(self.last(features))


class LocalEnhancer(nn.Module):
    """The full-size part: its own features at half size, plus the global ones, refined and doubled.

    (B, in_channels, S, S), or ink (B, 1, S, S), and (B, N, S/2, S/2) -> (B, out_channels, S, S) in [-1, 1].
    phase: the phase of the training, 1 to 3. It lies here so that what is published tells by which way it colours.
    """

    phase: Tensor

    def __init__(self, in_channels: int, out_channels: int, base_channels: int = 64, blocks: int = 3) -> None:
        super().__init__()
        self._in_channels = in_channels
        width = base_channels // 2
        self.down = nn.Sequential(
            *_normed(_wide(in_channels, width), width), *_normed(nn.Conv2d(width, 2 * width, 3, 2, 1), 2 * width)
        )
        self.blocks = nn.Sequential(*(_Residual(2 * width) for _ in range(blocks)))
        self.up = nn.Sequential(*_normed(_up(2 * width, width), width))
        self.last = _wide(width, out_channels)
        self.register_buffer("phase", torch.tensor(1))
        init_normal(self)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        return torch.tanh(self.last(self.up(self.blocks(self.down(repeat_ink(x, self._in_channels)) + features))))


class CoarseToFineGenerator(nn.Module):
    """The generator as far as it is trained: in phase 1 the global part, its colours enlarged; then the whole.

    Ink (B, 1, S, S) -> (B, C, S, S) in [-1, 1]; S a multiple of 32, at least 64.
    """

    def __init__(self, coarse: GlobalFeatures, head: Head, enhancer: LocalEnhancer) -> None:
        super().__init__()
        self.coarse, self.head, self.enhancer = coarse, head, enhancer

    def forward(self, ink: Tensor) -> Tensor:
        return self.color(ink, int(self.enhancer.phase))

    def color(self, ink: Tensor, phase: int) -> Tensor:
        """What `forward` gives in a phase."""
        features = self.coarse(halve(ink))
        if phase == 1:
            return F.interpolate(self.head(features), scale_factor=2, mode="bilinear", align_corners=False)
        predicted: Tensor = self.enhancer(ink, features)
        return predicted


class _InPhase(nn.Module):
    """The generator in the phase that it is in now: by tensors alone no way can be chosen."""

    def __init__(self, generator: CoarseToFineGenerator) -> None:
        super().__init__()
        self.generator, self._phase = generator, int(generator.enhancer.phase)

    def forward(self, ink: Tensor) -> Tensor:
        return self.generator.color(ink, self._phase)


class PatchCritic(nn.Module):
    """The 70x70 PatchGAN with InstanceNorm and biases, one scale's discriminator.

    (B, channels, H, W) -> [four layers' features ..., (B, 1, h, w) scores, not squashed].

    channels: those of the ink too.
    """

    def __init__(self, channels: int, base_channels: int = 64) -> None:
        super().__init__()
        widths = [base_channels * 2**level for level in range(_CRITIC_LAYERS + 1)]
        layers = [nn.Sequential(nn.Conv2d(channels, base_channels, 4, 2, 2), nn.LeakyReLU(0.2))]
        for inner, outer in pairwise(widths):
            stride = 1 if outer == widths[-1] else 2
            convolution = nn.Conv2d(inner, outer, 4, stride, 2)
            layers.append(nn.Sequential(convolution, nn.InstanceNorm2d(outer), nn.LeakyReLU(0.2)))
        layers.append(nn.Sequential(nn.Conv2d(widths[-1], 1, 4, 1, 2)))
        self.layers = nn.ModuleList(layers)
        init_normal(self)

    def forward(self, pair: Tensor) -> list[Tensor]:
        outputs = [pair]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        return outputs[1:]


def least_squares_loss(critiques: list[list[Tensor]], real: bool) -> Tensor:
    """LSGAN (Mao et al. 2017, arXiv 1611.04076): mean (score - label)^2, label 1 if real, summed over the scales.

    critiques: what PatchCritic gave at each scale. Returns a scalar.
    """
    return torch.stack([lsgan_loss(critique[-1], real) for critique in critiques]).sum()


def feature_matching(predicted: list[list[Tensor]], true: list[list[Tensor]]) -> Tensor:
    """Mean distance of the discriminators' features, scores left out (eq. 4 of the paper, weighed as in the code).

    4 / (n_layers + 1) for a layer, 1 / scales for a scale. Only `painted` gets a gradient. Returns a scalar.
    """
    distances = [
        F.l1_loss(one.float(), other.detach().float())
        for mine, theirs in zip(predicted, true, strict=True)
        for one, other in zip(mine[:-1], theirs[:-1], strict=True)
    ]
    return 4 / (_CRITIC_LAYERS + 1) / len(predicted) * torch.stack(distances).sum()


class Pix2PixHD(Variant):
    """Paired training in three phases: the global part alone at half size; the enhancer on it; both.

    LSGAN, feature matching and, where VGG19's weights are given, a perceptual loss. All losses look at the same
    discriminators: neither they nor the generator have stepped before the other's gradients are there.
    """

    name: ClassVar[str] = "pix2pixhd"
    config_type: ClassVar[type[VariantConfig]] = Pix2PixHDConfig
    pretrained: ClassVar[str] = "vgg19"

    def __init__(self, config: Pix2PixHDConfig) -> None:
        channels, width = CHANNELS[config.target], config.base_channels
        coarse, head = GlobalFeatures(config.in_channels, width, config.blocks), Head(channels, width)
        self._enhancer = LocalEnhancer(config.in_channels, channels, width, config.local_blocks)
        critics: dict[str, nn.Module] = {
            f"discriminator_{scale}": PatchCritic(1 + channels, width) for scale in range(config.scales)
        }
        groups: dict[str, dict[str, nn.Module]] = {
            "coarse": {"coarse": coarse},
            "head": {"head": head},
            "enhancer": {"enhancer": self._enhancer},
            "discriminators": critics,
        }
        super().__init__(config, CoarseToFineGenerator(coarse, head, self._enhancer), groups)
        self._vgg: VGGFeatures | None = None

    def load_pretrained(self, state: Mapping[str, Tensor] | None) -> None:
        """Have the perceptual loss, through VGG19 with these weights. It is neither trained nor published."""
        vgg = VGGFeatures("vgg19", tuple(_PERCEPTUAL))
        if state is not None:
            vgg.load(state)
        self._vgg = vgg

    def coloring(self) -> Coloring:
        plain = super().coloring()
        network: Any = plain.network
        return Coloring(_InPhase(network).eval(), plain.inputs)

    def step(self, training: Training, ink: Tensor, target: Tensor) -> dict[str, Tensor]:
        phase = self._enter_phase(training)
        if phase == 1:
            ink, target = halve(ink), training.filled(halve(target), self.paper)
        with training.gradients_of(*_LEARNING[phase]):
            predicted = training.filled(self._predict_phase(training, phase, ink), self.paper)
            critic, true = self._judge(training, ink, target, predicted.detach())
            losses = self._generator_losses(training, ink, target, predicted, true)
            weights = {"features": self.config.feature_weight, "perceptual": self.config.perceptual_weight}
            training.backward(torch.stack([weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum())
        training.advance(*_LEARNING[phase], "discriminators")
        return {"discriminator": critic, **losses}

    def _enter_phase(self, training: Training) -> int:
        """The phase for the training's progress: 1 until 0.4, 2 until 0.5, then 3. One that is over does not return."""
        phase = 1 + sum(training.progress >= start for start in _PHASE_STARTS)
        if phase > int(self._enhancer.phase):
            self._enhancer.phase.fill_(phase)
            training.restart_optimizer("coarse")  # moments of another loss; the public code too builds Adam anew
            training.restart_average()
        return int(self._enhancer.phase)

    def _predict_phase(self, training: Training, phase: int, ink: Tensor) -> Tensor:
        """What the phase trains, run as it is wrapped. ink: in phase 1 at half size."""
        predicted: Tensor
        if phase == 1:
            predicted = training.call("head", training.call("coarse", ink))
        elif phase == 2:
            with torch.no_grad():
                features = self.networks["coarse"](halve(ink))
            predicted = training.call("enhancer", ink, features)
        else:
            predicted = training.call("enhancer", ink, training.call("coarse", halve(ink)))
        return predicted

    def _judge(
        self, training: Training, ink: Tensor, target: Tensor, predicted: Tensor
    ) -> tuple[Tensor, list[list[Tensor]]]:
        """The discriminators' gradients. Returns their loss and what they saw in the true pair, scale by scale."""
        true, false = [], []
        with training.gradients_of("discriminators"):
            both = torch.cat([torch.cat([ink, target], 1), torch.cat([ink, predicted], 1)])
            for scale, level in enumerate(pyramid(both, self.config.scales)):
                halves = [output.chunk(2) for output in training.call(f"discriminator_{scale}", level)]
                true.append([half[0] for half in halves])
                false.append([half[1] for half in halves])
            loss = 0.5 * (least_squares_loss(true, real=True) + least_squares_loss(false, real=False))
            training.backward(loss)
        return loss.detach(), [[output.detach() for output in outputs] for outputs in true]

    def _generator_losses(
        self, training: Training, ink: Tensor, target: Tensor, predicted: Tensor, true: list[list[Tensor]]
    ) -> dict[str, Tensor]:
        """By name, not weighed. true: the discriminators' outputs for the true pair, one list for each scale."""
        with training.frozen("discriminators") as critics:
            levels = pyramid(torch.cat([ink, predicted], 1), self.config.scales)
            seen = [critic(level) for critic, level in zip(critics.values(), levels, strict=True)]
        losses = {"gan": least_squares_loss(seen, real=True), "features": feature_matching(seen, true)}
        if self._vgg is not None:
            losses["perceptual"] = self._perceptual(self._vgg.to(training.device), ink, target, predicted)
        return losses

    def _perceptual(self, vgg: VGGFeatures, ink: Tensor, target: Tensor, predicted: Tensor) -> Tensor:
        """Mean distance of VGG19's features, layers weighed as published (Johnson et al. 2016, arXiv 1603.08155)."""
        with torch.no_grad():
            true = vgg(self._rgb(ink, target))
        distances = [
            weight * F.l1_loss(one.float(), other.float())
            for weight, one, other in zip(_PERCEPTUAL.values(), vgg(self._rgb(ink, predicted)), true, strict=True)
        ]
        return torch.stack(distances).sum()

    def _rgb(self, ink: Tensor, colors: Tensor) -> Tensor:
        """The coloured page, (B, 3, H, W) sRGB in [0, 1]; of ab under the lightness of the ink."""
        if self.target == "ab":
            return lab_to_rgb(lightness(ink), colors.float() * AB_RANGE)
        return (colors.float() + 1) / 2
