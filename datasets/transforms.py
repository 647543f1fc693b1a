"""From stored examples to the batches that a network trains on: geometry, then numbers in [-1, 1].

B batch, C target channels, R the size a page is squeezed to, S the side of the crop.
"""

import torch
from torch import Tensor
from torchvision.transforms import v2

from imaging.target import AB_RANGE

_LUMA = (0.299, 0.587, 0.114)


def resize_for(image_size: int) -> int:
    """The size pages are squeezed to before cropping: 286 for 256, as published, and in that ratio for others."""
    return round(image_size * 286 / 256)


class Augment:
    """Random crop and left-right flip of each example, and a jitter of its saturation; never of its hue.

    image_size: S. saturation: the factor is uniform in [1 - saturation, 1 + saturation], but no larger than the page's
    most vivid pixel has room for: what would be cut off would turn in hue. Draws from torch's generator for the CPU,
    so a seeded process repeats itself.
    """

    def __init__(self, image_size: int, target: str, saturation: float) -> None:
        self._geometry = v2.Compose([v2.RandomCrop(image_size), v2.RandomHorizontalFlip()])
        self._target = target
        self._saturation = saturation

    def __call__(self, ink: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """ink (B, 1, R, R), target (B, C, R, R) as stored. Returns ink (B, 1, S, S), target (B, C, S, S) in [-1, 1]."""
        both = torch.cat([encode_ink(ink), encode_target(target, self._target)], dim=1)
        both = torch.stack([self._geometry(example) for example in both])
        ink, target = both[:, :1], both[:, 1:]
        factor = 1 + self._saturation * (2 * torch.rand(len(both), 1, 1, 1) - 1).to(both.device)
        gray = torch.zeros_like(target[:, :1])
        if self._target == "rgb":
            weights = torch.tensor(_LUMA, device=both.device).view(1, 3, 1, 1)
            gray = (target * weights).sum(1, keepdim=True)
        colour = target - gray
        factor = torch.minimum(factor, _room(gray, colour))
        return ink, (gray + factor * colour).clamp(-1, 1)


def _room(gray: Tensor, colour: Tensor) -> Tensor:
    """(B, 1, 1, 1) the largest factor, at least 1, by which `colour` may grow and `gray` + colour stay in [-1, 1]."""
    wall = torch.where(colour > 0, 1 - gray, 1 + gray)
    return (wall / colour.abs().clamp_min(1e-6)).amin(dim=(1, 2, 3), keepdim=True).clamp_min(1)


def encode_ink(ink: Tensor) -> Tensor:
    """Gray levels 0..255 to [-1, 1]."""
    return ink.float() / 127.5 - 1


def encode_target(target: Tensor, space: str) -> Tensor:
    """Stored truth (imaging.target.quantized_target) to [-1, 1]."""
    return target.float() / AB_RANGE if space == "ab" else target.float() / 127.5 - 1
