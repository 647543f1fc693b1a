"""From stored examples to the batches that a network trains on: geometry, then numbers in [-1, 1].

B: pages of a batch.
C: target channels.
R: size that a page is resized to.
S: side of the crop.
"""

from functools import cache

import torch
from torch import Tensor
from torchvision.transforms import v2

from datasets.encoding import encode_ink, encode_target
from imaging.colorimetry import LUMA
from imaging.target import CHANNELS, PAPER

AUGMENTS = ("pix2pix", "berserk", "none")
_STORED = {"pix2pix": 286 / 256, "berserk": 2.0, "none": 1.0}  # R / S; crops of a tenth of a page need more


def resize_for(image_size: int, augment: str) -> int:
    """Return R for S: the size that pages are resized to before they are cropped.

    image_size: S.
    augment: of AUGMENTS; pix2pix takes 286 for 256, as published.
    """
    return round(image_size * _STORED[augment])


class Augment:
    """Random geometry of each example, the same for ink and colour, and a change of its saturation, never of its hue.

    It draws from torch's generator for the CPU, so a seeded process repeats itself. The kinds are:

    pix2pix: crop and left-right flip (Isola et al. 2017). The factor of saturation is uniform in [1 - saturation, 1 +
        saturation], but no larger than the page's most vivid pixel has room for: a colour that is cut off would turn in
        hue.
    berserk: as its write-up has it. Half of the pages are less saturated by a factor in [0, 1], and a fifth is turned
        by 10 to 50 degrees. There are flips (0.4 left-right, 0.2 top-bottom) and crops of 0.08 to 1 of the area.
    none: the whole page.
    """

    def __init__(self, image_size: int, target: str, saturation: float, kind: str = "pix2pix") -> None:
        """Set up the geometry of a kind.

        image_size: S.
        target: the target space, a key of imaging.target.CHANNELS.
        saturation: how far the factor of saturation may be from 1; used by pix2pix alone.
        kind: of AUGMENTS.
        """
        self._kind, self._size, self._target = kind, image_size, target
        self._saturation = saturation if kind == "pix2pix" else 0.0
        self._fade = 0.5 if kind == "berserk" else 0.0
        self._paper = (PAPER[target],) * CHANNELS[target]

    def __call__(
        self, ink: Tensor, target: Tensor, masked: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Augment ink and colour alike.

        ink: (B, 1, R, R) as stored.
        target: (B, C, R, R) as stored.
        masked: (B, 1, R, R) as stored, above 0 where a page is not judged; None where all pages are, everywhere.

        Returns ink (B, 1, S, S) and target (B, C, S, S), both in [-1, 1]; and (B, 1, S, S) bool, or None, where a page
        is not judged: what the target shows there is paper.
        """
        both = torch.cat([encode_ink(ink), encode_target(target, self._target)], dim=1)
        turned, masked = self._turn(both, (1.0, *self._paper), masked)
        return turned[:, :1], self._saturate(turned[:, 1:], masked), masked

    def ink(self, ink: Tensor, masked: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Augment ink alone (B, 1, R, R), where the colours of a batch are those of other pages."""
        return self._turn(encode_ink(ink), (1.0,), masked)

    def color(self, target: Tensor, masked: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Augment colour alone (B, C, R, R)."""
        turned, masked = self._turn(encode_target(target, self._target), self._paper, masked)
        return self._saturate(turned, masked), masked

    def _turn(self, pages: Tensor, fill: tuple[float, ...], masked: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if masked is not None:
            turned, _ = self._turn(torch.cat([pages, (masked > 0).to(pages)], dim=1), (*fill, 0.0), None)
            return turned[:, :-1], turned[:, -1:] > 0
        turn = _geometry(self._kind, self._size, fill)
        return torch.stack([turn(example) for example in pages]), None

    def _saturate(self, target: Tensor, masked: Tensor | None) -> Tensor:
        if masked is not None:  # a vivid pixel there would limit the factor
            target = target.masked_fill(masked, PAPER[self._target])
        factor = 1 + self._saturation * (2 * torch.rand(len(target), 1, 1, 1) - 1)
        if self._fade:
            faded = torch.rand(len(target), 1, 1, 1) < self._fade
            factor = torch.where(faded, torch.rand(len(target), 1, 1, 1), factor)
        gray = torch.zeros_like(target[:, :1])
        if self._target == "rgb":
            weights = torch.tensor(LUMA, device=target.device).view(1, 3, 1, 1)
            gray = (target * weights).sum(1, keepdim=True)
        colour = target - gray
        factor = torch.minimum(factor.to(target.device), _room(gray, colour))
        return (gray + factor * colour).clamp(-1, 1)


@cache
def _geometry(kind: str, image_size: int, fill: tuple[float, ...]) -> v2.Transform:
    """Return the geometry of a kind. fill: for each channel, what lies around a turned page."""
    if kind == "pix2pix":
        return v2.Compose([v2.RandomCrop(image_size), v2.RandomHorizontalFlip()])
    if kind == "none":
        return v2.Identity()
    bilinear = v2.InterpolationMode.BILINEAR
    return v2.Compose(
        [
            v2.RandomApply([v2.RandomRotation((10, 50), interpolation=bilinear, fill=list(fill))], p=0.2),
            v2.RandomHorizontalFlip(0.4),
            v2.RandomVerticalFlip(0.2),
            v2.RandomResizedCrop(image_size, scale=(0.08, 1.0), interpolation=bilinear, antialias=True),
        ]
    )


def _room(gray: Tensor, colour: Tensor) -> Tensor:
    """Return (B, 1, 1, 1) the largest factor by which `colour` may grow, at least 1.

    With it `gray` + colour stays in [-1, 1].
    """
    wall = torch.where(colour > 0, 1 - gray, 1 + gray)
    return (wall / colour.abs().clamp_min(1e-6)).amin(dim=(1, 2, 3), keepdim=True).clamp_min(1)
