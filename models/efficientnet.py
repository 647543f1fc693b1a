"""The features of EfficientNet-Lite0 (Tan & Le 2019, arXiv 1905.11946; Lite: no squeeze-and-excitation, and ReLU6).

Layers and their order as in TensorFlow's tpu/models/official/efficientnet/lite; its padding too: strided convolutions
pad one pixel more after than before. B batch; H, W pixels, multiples of 32.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from models.card import CheckpointError

CHANNELS = (16, 24, 40, 112, 320)  # of the features, at strides 2, 4, 8, 16 and 32

# (outputs, blocks, stride, kernel, expansion) of each stage.
_STAGES = ((16, 1, 1, 3, 1), (24, 2, 2, 3, 6), (40, 2, 2, 5, 6), (80, 3, 2, 3, 6), (112, 3, 1, 5, 6), (192, 4, 2, 5, 6),
           (320, 1, 1, 3, 6))  # fmt: skip
_TAKEN = (0, 1, 2, 4, 6)  # stages after which the image is shrunk, and the last
_STEM = 32


class EfficientNetLite0(nn.Module):
    """What the network sees at five strides.

    Its BatchNorms keep their statistics: pages are few in a batch, and of one chapter.
    Weights are random until `load`. 3.4 million parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _ConvNorm(3, _STEM, 3, stride=2)
        self.stages = nn.ModuleList()
        inputs = _STEM
        for outputs, blocks, stride, kernel, expansion in _STAGES:
            strides = [stride] + [1] * (blocks - 1)
            self.stages.append(
                nn.Sequential(
                    *(
                        _Block(inputs if number == 0 else outputs, outputs, kernel, step, expansion)
                        for number, step in enumerate(strides)
                    )
                )
            )
            inputs = outputs
        self.eval()

    def train(self, mode: bool = True) -> "EfficientNetLite0":
        """Stays in evaluation mode: its weights may learn, its statistics do not."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """images: (B, 3, H, W) in [-1, 1]. Returns (B, c, H / s, W / s) for c of CHANNELS and s of 2, 4, ... 32."""
        x = self.stem(images)
        seen = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in _TAKEN:
                seen.append(x)
        return seen

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up the published state dict of the whole classifier; its head is left aside.

        The published names go by the order of the layers, as ours do. Raises CheckpointError where the shapes differ;
        nothing is changed then.
        """
        wanted = {name: value for name, value in state.items() if not name.startswith(_HEAD)}
        own = self.state_dict()
        if len(wanted) != len(own):
            raise CheckpointError(
                f"the weights have {len(wanted)} tensors before their head, EfficientNet-Lite0 {len(own)}"
            )
        renamed = dict(zip(own, wanted.values(), strict=True))
        for (name, value), theirs in zip(renamed.items(), wanted, strict=True):
            if value.shape != own[name].shape:
                raise CheckpointError(
                    f"{theirs} is {tuple(value.shape)}; {name} of EfficientNet-Lite0 {tuple(own[name].shape)}"
                )
        self.load_state_dict(renamed)


_HEAD = ("_conv_head", "_bn1", "_fc")


class _ConvNorm(nn.Sequential):
    """Convolution, BatchNorm, ReLU6 where asked for. Pads as TensorFlow's SAME does, for even sizes."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, act: bool = True):
        total = kernel - stride
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, 0 if stride > 1 else total // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3),
        ]
        if act:
            layers.append(nn.ReLU6(inplace=True))
        super().__init__(*layers)
        weight = layers[0].weight
        assert isinstance(weight, Tensor)
        nn.init.kaiming_normal_(weight, nonlinearity="relu" if act else "linear")
        before = total // 2
        self._pad = (before, total - before) * 2 if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(F.pad(x, self._pad) if self._pad else x)
        return out


class _Block(nn.Module):
    """The inverted residual of MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        layers: list[nn.Module] = [_ConvNorm(inputs, width, 1)] if expansion > 1 else []
        layers += [
            _ConvNorm(width, width, kernel, stride=stride, groups=width),
            _ConvNorm(width, outputs, 1, act=False),
        ]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out if self.residual else out
