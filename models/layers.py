"""Parts that several networks share."""

import torch
from torch import Tensor, nn


def init_normal(module: nn.Module, std: float = 0.02) -> None:
    """Initialise as the GAN papers do: convolutions N(0, std), BatchNorm weights N(1, std), biases 0 (in place)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, std)
            nn.init.zeros_(layer.bias)


def repeat_ink(ink: Tensor, channels: int) -> Tensor:
    """Ink (B, 1, H, W) -> (B, channels, H, W), for a network made for RGB; images of that many stay as they are."""
    return ink.expand(-1, channels, -1, -1)


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, trainable or not."""
    return sum(parameter.numel() for parameter in module.parameters())


class PatchDiscriminator(nn.Module):
    """The 70x70 PatchGAN of Isola et al. 2017 (arXiv 1611.07004, 6.1.2): one real/fake score per 70x70 patch.

    (B, channels, H, W) -> (B, 1, H/8 - 2, W/8 - 2) scores, not squashed.

    channels: those of the condition as well.
    norm: BatchNorm2d, or InstanceNorm2d, before which the convolutions have biases, as published.
    """

    def __init__(
        self, channels: int, base_channels: int = 64, norm: type[nn.BatchNorm2d | nn.InstanceNorm2d] = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        width = base_channels
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for factor_in, factor_out, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
            layers += [
                nn.Conv2d(width * factor_in, width * factor_out, 4, stride, 1, bias=norm is nn.InstanceNorm2d),
                norm(width * factor_out),
                nn.LeakyReLU(0.2),
            ]
        layers.append(nn.Conv2d(width * 8, 1, 4, 1, 1))
        self.layers = nn.Sequential(*layers)
        init_normal(self)

    def forward(self, pair: Tensor) -> Tensor:
        scores: Tensor = self.layers(pair)
        return scores


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The lower precision that is fast and safe on `device`: bfloat16 on a CUDA GPU that has it, else None."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return None
