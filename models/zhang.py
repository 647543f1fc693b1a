"""zhang: colour as a choice among 313 bins, rare colours weighted up (Zhang et al. 2016, arXiv 1603.08511).

Layers, names and solver as in the public code, richzhang/colorization. B batch; S side of the image; Q bins. Ink
(B, 1, S, S) -> ab (B, 2, S, S), both in [-1, 1].
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from imaging.target import AB_RANGE
from models.bins import ColorBins, check_classes, count_bins, rebalancing, soft_cross_entropy
from models.color import lightness
from models.training import Training
from models.variant import Variant, VariantConfig

SPACING = 10.0  # of the grid of bins, ab units
_NEIGHBOURS, _SIGMA = 5, 5.0  # of a soft label: the paper's
_GRAY = 5.0  # chroma; a page that nowhere goes beyond teaches no colour
_STRIDE = 4  # of the image to a logit


@dataclass(frozen=True, kw_only=True)
class ZhangConfig(VariantConfig):
    """The solver as published but for its rate: 3e-5 is for the million pictures it was made for, 3e-4 for one series.

    base_channels: published 64.
    bins: Q, published 313.
    temperature: of the annealed mean that makes one colour of the bins' likelihoods, published 0.38.
    """

    targets: ClassVar[tuple[str, ...]] = ("ab",)
    size_multiple: ClassVar[int] = 8

    learning_rate: float = 3e-4
    base_channels: int = 64
    bins: int = 313
    temperature: float = 0.38

    def __post_init__(self) -> None:
        super().__post_init__()
        check_classes(self.bins, self.temperature, spacing=SPACING, neighbours=_NEIGHBOURS)


class ECCV16(nn.Module):
    """The published network: lightness (B, 1, S, S) in [0, 100] -> logits of the bins (B, Q, S/4, S/4).

    32,235,385 parameters of the published size, with their published names; its decoding to ab, 626 more (model_out),
    is the centres of `bins` here.

    bins: the colours that it chooses among.
    counts: (Q,) how many pixels of the training had each bin as their nearest, and one.
    """

    counts: Tensor

    def __init__(self, base_channels: int = 64, bins: int = 313) -> None:
        super().__init__()
        c = base_channels
        self.model1 = _block(1, c, 2, stride=2)
        self.model2 = _block(c, 2 * c, 2, stride=2)
        self.model3 = _block(2 * c, 4 * c, 3, stride=2)
        self.model4 = _block(4 * c, 8 * c, 3)
        self.model5 = _block(8 * c, 8 * c, 3, dilation=2)
        self.model6 = _block(8 * c, 8 * c, 3, dilation=2)
        self.model7 = _block(8 * c, 8 * c, 3)
        likeliest = nn.Conv2d(4 * c, bins, 1)
        self.model8 = nn.Sequential(
            nn.ConvTranspose2d(8 * c, 4 * c, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(4 * c, 4 * c, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4 * c, 4 * c, 3, padding=1),
            nn.ReLU(),
            likeliest,
        )
        self.bins = ColorBins(SPACING, bins)
        self.register_buffer("counts", torch.ones(bins, dtype=torch.int64))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.normal_(likeliest.weight, 0.0, 0.3 / (4 * c) ** 0.5)  # all bins about as likely as each other
        # Lightness deviates by a third of what the other blocks take in, and running statistics, which begin at a
        # variance of 1, are wrong for long where it is far less.
        with torch.no_grad():
            next(self.model1.parameters()).mul_(3)

    def forward(self, lightness: Tensor) -> Tensor:
        x = (lightness - 50) / 100
        for block in (self.model1, self.model2, self.model3, self.model4, self.model5, self.model6, self.model7):
            x = block(x)
        logits: Tensor = self.model8(x)
        return logits


def _block(inputs: int, outputs: int, convolutions: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """3x3 convolutions, each with its ReLU, the last with the stride; BatchNorm at the end."""
    layers: list[nn.Module] = []
    for number in range(convolutions):
        step = stride if number == convolutions - 1 else 1
        layers += [nn.Conv2d(inputs, outputs, 3, step, padding=dilation, dilation=dilation), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.BatchNorm2d(outputs))


class ZhangGenerator(nn.Module):
    """The network between ink and colour: lightness in, the annealed mean of its bins out, at the size of the page."""

    def __init__(self, network: ECCV16, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, ink: Tensor) -> Tensor:
        logits = self.network(lightness(ink).to(ink.dtype))
        height, width = ink.shape[-2:]
        return self.network.bins.decode_target(logits, self.temperature, (height, width)).to(ink.dtype)


class Zhang(Variant):
    """Paired training: rebalanced cross-entropy of the bins, at a quarter of the page's size."""

    name: ClassVar[str] = "zhang"
    config_type: ClassVar[type[VariantConfig]] = ZhangConfig

    def __init__(self, config: ZhangConfig) -> None:
        self._network = ECCV16(config.base_channels, config.bins)
        generator = ZhangGenerator(self._network, config.temperature)
        super().__init__(config, generator, {"network": {"network": self._network}})

    def optimizer(self, group: str, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The published solver, its weight decay apart from Adam's steps (Loshchilov & Hutter 2019, arXiv 1711.05101).

        As a part of the gradient it would move weights ahead of a BatchNorm, whose scale tells nothing, by whole steps:
        faster than the running statistics follow at rates above the published one.
        """
        return torch.optim.AdamW(
            parameters, lr=self.config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=True
        )

    def step(self, training: Training, ink: Tensor, target: Tensor) -> dict[str, Tensor]:
        ab = target.float() * AB_RANGE
        indices, shares = self._network.bins.encode(ab[..., ::_STRIDE, ::_STRIDE], _NEIGHBOURS, _SIGMA)
        nearest = indices[:, 0]
        colored = torch.linalg.vector_norm(ab, dim=1).amax(dim=(1, 2)) > _GRAY
        pixel_weights = rebalancing(self._network.counts, self._network.bins.centres)[nearest] * colored[:, None, None]
        pixel_weights = training.filled(pixel_weights[:, None], 0.0)[:, 0]
        count_bins(self._network.counts, training.judged(nearest))
        with training.gradients_of("network"):
            logits = training.call("network", lightness(ink))
            loss = soft_cross_entropy(logits, indices, shares, pixel_weights)
            training.backward(loss)
        training.advance("network")
        return {"cross_entropy": loss}
