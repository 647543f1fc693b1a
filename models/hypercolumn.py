"""hypercolumn: colour as a choice among bins, from the stacked features of a frozen VGG16.

The One Piece write-up's own classifier (public as AlexMarshall12/manga-learn), with its softmax over the bins. There it
ran over the pixels: a network that knows nothing then costs (HW / Q) ln(HW), 4849 at 224 x 224 and 112 bins, which is
where that training stayed.

B batch; S side of the image; Q bins. Ink (B, 1, S, S) -> ab (B, 2, S, S), both in [-1, 1].
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imaging.target import AB_RANGE
from models.bins import ColorBins, check_classes, soft_cross_entropy
from models.training import Training
from models.variant import Variant, VariantConfig
from models.vgg import VGGFeatures

SPACING = 12.5  # of the grid of bins, ab units
_NEIGHBOURS, _SIGMA = 10, 5.0 * SPACING / 10  # of a soft label; the Gaussian is Zhang et al.'s, as wide as the grid is
_RATES = {"sgd": 1e-3, "adadelta": 1.0, "adam": 1e-3}


@dataclass(frozen=True)
class _Columns:
    """What is stacked.

    layers: of VGG16.
    channels: of those layers together.
    stride: of the image to a column.
    """

    layers: tuple[str, ...]
    channels: int
    stride: int


_COLUMNS = {
    "full": _Columns(("relu1_2", "relu2_2", "relu3_3", "relu4_3"), 64 + 128 + 256 + 512, 1),
    "reduced": _Columns(("relu2_2", "relu3_3"), 128 + 256, 4),
}


@dataclass(frozen=True, kw_only=True)
class HypercolumnConfig(VariantConfig):
    """The write-up's two networks and three optimizers.

    learning_rate: None is the optimizer's own, 1e-3, 1 and 1e-3.
    columns: "full", 960 features at every pixel, or "reduced", 384 at every fourth.
    base_channels: of the first convolution of the full head; the layer before the bins has half as many, and the
        reduced head has that one alone.
    bins: Q.
    temperature: of the annealed mean (Zhang et al. 2016).
    optimizer: sgd (Nesterov momentum 0.9), adadelta or adam.
    """

    targets: ClassVar[tuple[str, ...]] = ("ab",)
    size_multiple: ClassVar[int] = 8

    image_size: int = 224
    learning_rate: float | None = None  # type: ignore[assignment]  # the base leaves a default of None to the variant
    columns: str = "full"
    base_channels: int = 512
    bins: int = 112
    temperature: float = 0.38
    optimizer: str = "sgd"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.columns not in _COLUMNS:
            raise ValueError(f"columns is {self.columns!r}; choose one of {', '.join(_COLUMNS)}")
        if self.optimizer not in _RATES:
            raise ValueError(f"optimizer is {self.optimizer!r}; choose one of {', '.join(_RATES)}")
        if self.base_channels < 2:
            raise ValueError(f"base_channels is {self.base_channels}; hypercolumn halves it: it must be at least 2")
        check_classes(self.bins, self.temperature, spacing=SPACING, neighbours=_NEIGHBOURS)


def hypercolumn_head(columns: str, base_channels: int = 512, bins: int = 112) -> nn.Sequential:
    """3x3 convolutions from a stack of features to logits: (B, channels, h, w) -> (B, Q, h, w)."""
    width, half = _COLUMNS[columns].channels, base_channels // 2
    layers: list[nn.Module] = []
    for outputs in (base_channels, half) if columns == "full" else (half,):
        conv = nn.Conv2d(width, outputs, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        layers += [conv, nn.ReLU()]
        width = outputs
    likeliest = nn.Conv2d(width, bins, 3, padding=1)
    nn.init.normal_(
        likeliest.weight, 0.0, 0.05 / (9 * width) ** 0.5
    )  # an untrained head holds all bins for about as likely
    head = nn.Sequential(*layers, likeliest)
    for layer in head:
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return head


class HypercolumnGenerator(nn.Module):
    """The head on a frozen VGG16, and the annealed mean of its bins at the size of the page."""

    def __init__(self, config: HypercolumnConfig) -> None:
        super().__init__()
        self.head = hypercolumn_head(config.columns, config.base_channels, config.bins)
        self.vgg = VGGFeatures("vgg16", _COLUMNS[config.columns].layers)
        self.bins = ColorBins(SPACING, config.bins)
        self.stride = _COLUMNS[config.columns].stride
        self.temperature = config.temperature

    @torch.no_grad()
    def stack(self, ink: Tensor) -> Tensor:
        """The hypercolumns: (B, channels, S / stride, S / stride)."""
        gray = ((ink + 1) / 2).expand(-1, 3, -1, -1)
        size = (ink.shape[-2] // self.stride, ink.shape[-1] // self.stride)
        seen = [F.interpolate(layer, size, mode="bilinear", align_corners=False) for layer in self.vgg(gray)]
        return torch.cat(seen, dim=1)

    def forward(self, ink: Tensor) -> Tensor:
        height, width = ink.shape[-2:]
        return self.bins.decode_target(self.head(self.stack(ink)), self.temperature, (height, width)).to(ink.dtype)


class Hypercolumn(Variant):
    """Paired training: cross-entropy of the softmax over the bins against soft labels; only the head learns."""

    name: ClassVar[str] = "hypercolumn"
    config_type: ClassVar[type[VariantConfig]] = HypercolumnConfig
    pretrained: ClassVar[str] = "vgg16"
    pretrained_needed: ClassVar[bool] = True

    def __init__(self, config: HypercolumnConfig) -> None:
        self._hypercolumns = HypercolumnGenerator(config)
        super().__init__(config, self._hypercolumns, {"head": {"head": self._hypercolumns.head}})

    def load_pretrained(self, state: Mapping[str, Tensor] | None) -> None:
        if state is not None:
            self._hypercolumns.vgg.load(state)

    def optimizer(self, group: str, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        name, rate = self.config.optimizer, self.config.learning_rate
        rate = _RATES[name] if rate is None else rate
        if name == "sgd":
            return torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True)
        if name == "adadelta":
            return torch.optim.Adadelta(parameters, lr=rate)
        return torch.optim.Adam(parameters, lr=rate, fused=True)

    def step(self, training: Training, ink: Tensor, target: Tensor) -> dict[str, Tensor]:
        stride = self._hypercolumns.stride
        ab = target[..., ::stride, ::stride].float() * AB_RANGE
        indices, shares = self._hypercolumns.bins.encode(ab, _NEIGHBOURS, _SIGMA)
        weights = training.filled(torch.ones_like(shares[:, :1]), 0.0)
        columns = self._hypercolumns.stack(ink)
        with training.gradients_of("head"):
            loss = soft_cross_entropy(training.call("head", columns), indices, shares, weights[:, 0])
            training.backward(loss)
        training.advance("head")
        return {"cross_entropy": loss}
