"""The features of a frozen VGG (Simonyan & Zisserman 2014, arXiv 1409.1556), which some variants look at pages through.

The layers are torchvision's. B batch; H, W pixels.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.card import CheckpointError

# name: (address, sha256) of the weights that torchvision publishes, trained on ImageNet ("IMAGENET1K_V1").
PUBLISHED = {
    "vgg16": (
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
    "vgg19": (
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
    ),
}

_CONFIGURATIONS = {"vgg16": "D", "vgg19": "E"}  # as the paper and torchvision call them
_MEAN = (0.485, 0.456, 0.406)  # of ImageNet's R, G, B in [0, 1], as torchvision's weights expect
_STD = (0.229, 0.224, 0.225)


class VGGFeatures(nn.Module):
    """What a VGG sees at some of its layers: no deeper than needed, never trained, always in evaluation mode.

    name: "vgg16" or "vgg19".
    layers: such as "relu1_2", the output of the second ReLU of the first block.

    Weights are random (features of order 1) until `load`; their names are torchvision's, "features.0.weight".
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, layers: tuple[str, ...]) -> None:
        super().__init__()
        if name not in _CONFIGURATIONS:
            raise ValueError(f"name is {name!r}; choose one of {', '.join(_CONFIGURATIONS)}")
        from torchvision.models.vgg import cfgs, make_layers  # a second to load, which other variants are spared

        # What torchvision's vgg16() and vgg19() are built on: those would make a classifier of 500 MB as well.
        features = make_layers(cfgs[_CONFIGURATIONS[name]])
        positions = _relu_positions(features)
        if unknown := [layer for layer in layers if layer not in positions]:
            raise ValueError(f"layers has {', '.join(unknown)}; {name} has {', '.join(positions)}")
        if not layers:
            raise ValueError(f"layers is empty; {name} has {', '.join(positions)}")
        self.name = name
        self.layers = layers
        self._taken = [positions[layer] for layer in layers]
        # Not torchvision's create_feature_extractor: deep copies of that come back in training mode.
        self.features = features[: max(self._taken) + 1]
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "VGGFeatures":
        """Stays in evaluation mode, whatever the network that it is a part of does."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """images: (B, 3, H, W) in [0, 1]. Returns one (B, width, H / 2^k, W / 2^k) per layer, in the order of `layers`.

        k: the number of the layer's block, from 0. Gradients reach `images`.
        """
        x = (images - self.mean) / self.std
        seen = {}
        for position, layer in enumerate(self.features):
            x = layer(x)
            if position in self._taken:
                seen[position] = x
        return [seen[position] for position in self._taken]

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up torchvision's state dict of the whole network; what lies deeper than `layers` is left aside.

        Raises CheckpointError listing what is missing or has another shape; nothing is changed then.
        """
        own = self.state_dict()
        wrong = [key for key in own if key not in state]
        if wrong:
            problem = f"the weights for {self.name} lack {', '.join(wrong)}"
        else:
            wrong = [key for key in own if state[key].shape != own[key].shape]
            shapes = (f"{key} is {tuple(state[key].shape)}, not {tuple(own[key].shape)}" for key in wrong)
            problem = f"the weights for {self.name} do not fit: {', '.join(shapes)}"
        if wrong:
            raise CheckpointError(f"{problem}; give the file of {PUBLISHED[self.name][0]}")
        self.load_state_dict({key: state[key] for key in own})


def _relu_positions(features: nn.Sequential) -> dict[str, int]:
    """{"relu1_1": 1, "relu1_2": 3, ...}: the number of each ReLU among the layers; a pooling ends a block."""
    positions = {}
    block, convolution = 1, 0
    for number, layer in enumerate(features):
        if isinstance(layer, nn.ReLU):
            convolution += 1
            positions[f"relu{block}_{convolution}"] = number
        elif isinstance(layer, nn.MaxPool2d):
            block, convolution = block + 1, 0
    return positions
