"""How alike two pages are to exemplar.

A page is described by the encoder's features: their means and spreads over the page at strides 8 and 16, seen at half
its size, along axes on which pages of one story lie close and stories apart (linear discriminant analysis, Fisher 1936;
`pretraining.likeness` finds them). Two pages are alike as the cosine of their descriptions says.

B pages; S side of the square. Ink (B, 1, S, S) in [-1, 1].
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.efficientnet import CHANNELS, EfficientNetLite0

AXES = 32
_HALVED = 64  # pixels: a smaller page is seen as it is, since the encoder takes none below 32
_TAKEN = slice(2, 4)  # strides 8 and 16
MEASURES = 2 * (CHANNELS[2] + CHANNELS[3])


class Likeness(nn.Module):
    """How alike two pages are.

    mean: (MEASURES,) of the measures over many pages.
    axes: (MEASURES, AXES).
    least: () the likeness from which on a page is shown.

    Until these are known all pages are alike.
    """

    mean: Tensor
    axes: Tensor
    least: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(MEASURES))
        self.register_buffer("axes", torch.zeros(MEASURES, AXES))
        self.register_buffer("least", torch.zeros(()))

    def forward(self, measures: Tensor) -> Tensor:
        """Descriptions (B, AXES) of length 1, or 0, of `measures` (B, MEASURES)."""
        return F.normalize((measures - self.mean.float()) @ self.axes.float(), dim=1)


def measures(encoder: EfficientNetLite0, ink: Tensor) -> Tensor:
    """(B, MEASURES): means and spreads of the features of pages. Page by page: the same in any batch."""
    return torch.cat([_measures(encoder, page) for page in ink.split(1)])


def _measures(encoder: EfficientNetLite0, page: Tensor) -> Tensor:
    small = F.avg_pool2d(page, 2) if page.shape[-1] >= _HALVED else page
    seen = encoder(small.expand(-1, 3, -1, -1))[_TAKEN]
    return torch.cat([part for x in seen for part in _moments(x.flatten(2).float())], dim=1)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(2), x.std(2)
