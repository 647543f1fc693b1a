"""colornet: U and V by regression from the hypercolumns of a frozen VGG16.

After the public code of pavelgonchar/colornet (the residual encoder of tinyclouds.org/colorize), the first system of
the One Piece write-up. Squared error makes it answer with the mean of what it saw: greyish brown.

B batch; S side of the image. Ink (B, 1, S, S) -> rgb (B, 3, S, S), both in [-1, 1].
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.color import rgb_of_yuv, yuv_of
from models.training import Training
from models.variant import Variant, VariantConfig
from models.vgg import VGGFeatures

_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
_EPSILON = 1e-3  # of the published BatchNorm


@dataclass(frozen=True, kw_only=True)
class ColornetConfig(VariantConfig):
    """Plain SGD at 1e-4 on 224 x 224, as published. The widths are tied to VGG16's. It learns rgb: its U and V."""

    targets: ClassVar[tuple[str, ...]] = ("rgb",)
    size_multiple: ClassVar[int] = 8

    target: str = "rgb"
    image_size: int = 224
    learning_rate: float = 1e-4


class _Merge(nn.Module):
    """Double the size, add the normalized features of that size, convolve 3x3 and normalize."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.skip_norm = nn.BatchNorm2d(inputs, _EPSILON)
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs, _EPSILON)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return F.relu(self.norm(self.conv(doubled + self.skip_norm(skip))))


class ColornetHead(nn.Module):
    """From VGG16's features and the page itself to U and V: 503,901 parameters.

    gray: (B, 3, S, S) in [0, 1].
    seen_1, ... seen_4: the features of relu1_2, 2_2, 3_3, 4_3.

    Returns (B, 2, S, S) in [-0.5, 0.5].
    """

    def __init__(self) -> None:
        super().__init__()
        self.deepest_norm = nn.BatchNorm2d(512, _EPSILON)
        self.deepest = nn.Conv2d(512, 256, 1, bias=False)
        self.merges = nn.ModuleList([_Merge(256, 128), _Merge(128, 64), _Merge(64, 3)])
        self.gray_norm = nn.BatchNorm2d(3, _EPSILON)
        self.last = nn.Sequential(
            nn.Conv2d(3, 3, 3, padding=1, bias=False),
            nn.BatchNorm2d(3, _EPSILON),
            nn.ReLU(),
            nn.Conv2d(3, 2, 3, padding=1, bias=False),
            nn.BatchNorm2d(2, _EPSILON),
        )
        # Not the published N(0, 0.01): the gradient of a convolution before a BatchNorm goes with 1 / its size. From so
        # small a start the first steps throw the weights far out, where the next ones hardly turn them any more.
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, gray: Tensor, seen_1: Tensor, seen_2: Tensor, seen_3: Tensor, seen_4: Tensor) -> Tensor:
        x = F.relu(self.deepest(self.deepest_norm(seen_4)))
        for merge, seen in zip(self.merges, (seen_3, seen_2, seen_1), strict=True):
            x = merge(x, seen)
        return torch.sigmoid(self.last(x + self.gray_norm(gray)).float()) - 0.5


class ColornetGenerator(nn.Module):
    """The page's own luma under the U and V of the head; its VGG16 is frozen: 7,635,264 parameters.

    U and V reach 0.5: the most saturated reds and cyans, with a V up to 0.615, are out of reach.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head = ColornetHead()
        self.vgg = VGGFeatures("vgg16", _LAYERS)

    @torch.no_grad()
    def look(self, ink: Tensor) -> list[Tensor]:
        """What the head takes: the gray page in [0, 1], three times over, and what VGG16 sees in it."""
        gray = ((ink + 1) / 2).expand(-1, 3, -1, -1)
        return [gray, *self.vgg(gray)]

    def forward(self, ink: Tensor) -> Tensor:
        uv = self.head(*self.look(ink))
        rgb = rgb_of_yuv(torch.cat([(ink.float() + 1) / 2, uv], 1)).clamp(0, 1)
        return (2 * rgb - 1).to(ink.dtype)


class Colornet(Variant):
    """Paired training: squared error of U and V, summed over a page; only the head learns."""

    name: ClassVar[str] = "colornet"
    config_type: ClassVar[type[VariantConfig]] = ColornetConfig
    pretrained: ClassVar[str] = "vgg16"
    pretrained_needed: ClassVar[bool] = True

    def __init__(self, config: ColornetConfig) -> None:
        generator = ColornetGenerator()
        super().__init__(config, generator, {"head": {"head": generator.head}})
        self._look = generator.look
        self._vgg = generator.vgg

    def load_pretrained(self, state: Mapping[str, Tensor] | None) -> None:
        if state is not None:
            self._vgg.load(state)

    def optimizer(self, group: str, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Plain gradient descent, as published."""
        return torch.optim.SGD(parameters, lr=self.config.learning_rate)

    def step(self, training: Training, ink: Tensor, target: Tensor) -> dict[str, Tensor]:
        truth = yuv_of((target.float() + 1) / 2)[:, 1:]
        seen = self._look(ink)
        with training.gradients_of("head"):
            uv = training.filled(training.call("head", *seen), 0.0)  # as of paper
            of_page = (uv - truth).square().sum((1, 2, 3)).mean()  # the sum: the published rate belongs to it
            training.backward(of_page)
        training.advance("head")
        return {"squared": of_page / ink[0].numel()}
