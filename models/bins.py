"""Colour as a choice among bins: a grid over the ab plane, soft labels on it, and the way back to one colour.

B batch; H, W pixels; Q bins; k neighbours. ab in CIELAB units, about [-110, 110]. Formulas: Zhang et al. 2016 (arXiv
1603.08511), section 2.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from imaging.color import F32, to_lab
from imaging.target import AB_RANGE

_LEVEL_STEP = 5  # of the sample of the sRGB cube: 52 levels a channel, 140,608 colours
_REACH = int(AB_RANGE)
_UNIFORM_SHARE = 0.5  # lambda of eq. 4: how much of an even distribution the weights take the colours to have
_SMOOTHING = 5.0  # sigma of the Gaussian over the bins' shares, ab units
_CHUNK = 32768  # pixels whose distances to all bins are held at once: 41 MB for 313 bins


def check_classes(bins: int, temperature: float, *, spacing: float, neighbours: int) -> None:
    """Raises ValueError, naming the option, unless bins and temperature are possible."""
    points = len(_grid(spacing))
    if not neighbours <= bins <= points:
        raise ValueError(
            f"bins is {bins}; it is {neighbours} to {points}, the points of the grid of spacing {spacing:g}"
        )
    if not 0.01 <= temperature <= 1:
        raise ValueError(f"temperature is {temperature}; it is 0.01 (the likeliest bin) to 1 (the mean)")


def gamut_bins(spacing: float, count: int) -> Tensor:
    """The `count` points of a grid over ab that the colours of sRGB need most: (count, 2), sorted by a, then b.

    The grid: multiples of `spacing` within 110. First those that the most colours of the sRGB cube are nearest to; then
    the others, the nearest to the gamut first. Zhang et al. have 313 of spacing 10, where the cube itself reaches about
    260: their list has a rim around the gamut. The One Piece write-up has 112 of spacing 12.5, where it reaches 175:
    that list leaves out the rarest. Their numbers are kept, as the shapes of their networks hang on them; the
    points are our own choice.
    """
    return torch.from_numpy(np.unique(_gamut_points(spacing)[:count], axis=0))


@cache
def _gamut_points(spacing: float) -> F32:
    """All points of the grid, those first that the gamut needs most: (N, 2)."""
    levels = np.arange(0, 256, _LEVEL_STEP, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    ab = to_lab(cube.reshape(1, -1, 3))[0, :, 1:]
    reach = int(AB_RANGE // spacing)
    cells = np.clip(np.floor(ab / spacing + 0.5).astype(int), -reach, reach)
    grid = _grid(spacing)
    colors = _histogram(cells, reach).reshape(-1)
    gamut = np.argwhere(_histogram(np.round(ab).astype(int), int(AB_RANGE)) > 0) - AB_RANGE  # to within a unit
    distance = np.array([np.square(gamut - point).sum(axis=1).min() for point in grid])
    return grid[np.lexsort((grid[:, 1], grid[:, 0], distance, -colors))]


def _histogram(cells: NDArray[np.int_], reach: int) -> NDArray[np.int_]:
    """How often each pair of numbers from -reach to reach occurs. cells: (N, 2). Returns a square of 2 reach + 1."""
    side = 2 * reach + 1
    row, column = (cells + reach).T
    return np.bincount(row * side + column, minlength=side**2).reshape(side, side)


def _grid(spacing: float) -> F32:
    """(N, 2), sorted by a, then b."""
    reach = int(AB_RANGE // spacing)
    axis = np.arange(-reach, reach + 1, dtype=np.float32) * np.float32(spacing)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


class ColorBins(nn.Module):
    """The bins of one grid; their centres (Q, 2) are a buffer, so that they are published with the network."""

    centres: Tensor

    def __init__(self, spacing: float, count: int) -> None:
        super().__init__()
        self.register_buffer("centres", gamut_bins(spacing, count))

    @torch.no_grad()
    def encode(self, ab: Tensor, neighbours: int, sigma: float) -> tuple[Tensor, Tensor]:
        """Soft labels: the nearest bins of each pixel, weighted by a Gaussian of their distance.

        ab: (B, 2, H, W).
        neighbours: k.
        sigma: of the Gaussian, ab units.

        Returns indices and weights, both (B, k, H, W), the nearest bin first; the weights of a pixel sum to 1.
        """
        batch, _, height, width = ab.shape
        points = ab.float().permute(0, 2, 3, 1).reshape(-1, 2)
        centres = self.centres.float()
        nearest = [_nearest(chunk, centres, neighbours) for chunk in points.split(_CHUNK)]
        distance, indices = (torch.cat(parts) for parts in zip(*nearest, strict=True))
        weights = torch.softmax(-distance.square() / (2 * sigma**2), dim=1)  # a normalized Gaussian, never 0 / 0
        shape = (batch, height, width, neighbours)
        return indices.view(shape).permute(0, 3, 1, 2), weights.view(shape).permute(0, 3, 1, 2)

    def decode(self, logits: Tensor, temperature: float) -> Tensor:
        """The annealed mean (eq. 5): of the bins, weighted by exp(log z / T), normalized; z the softmax of `logits`.

        logits: (B, Q, H, W).
        temperature: T; towards 0 it is the likeliest bin, 1 is the mean.

        Returns (B, 2, H, W) ab.
        """
        with torch.autocast(logits.device.type, enabled=False):  # bfloat16 knows ab to half a unit only
            shares = torch.softmax(logits.float() / temperature, dim=1)
            return torch.einsum("bqhw,qc->bchw", shares, self.centres.float())

    def decode_target(self, logits: Tensor, temperature: float, size: Sequence[int]) -> Tensor:
        """`decode`, stretched bilinearly to `size` and encoded as a target: (B, 2, *size) in [-1, 1]."""
        ab = self.decode(logits, temperature)
        if ab.shape[-2:] != tuple(size):
            ab = F.interpolate(ab, size=tuple(size), mode="bilinear", align_corners=False)
        return (ab / AB_RANGE).clamp(-1, 1)


class LabelTable(nn.Module):
    """`ColorBins.encode` of all whole units of ab, looked up: some hundred times as fast. It holds no state."""

    nearest: Tensor
    shares: Tensor

    def __init__(self, bins: ColorBins, neighbours: int, sigma: float) -> None:
        super().__init__()
        unit = torch.arange(-_REACH, _REACH + 1, dtype=torch.float32)
        grid = torch.stack(torch.meshgrid(unit, unit, indexing="ij"))[None]
        nearest, shares = bins.encode(grid, neighbours, sigma)
        self.register_buffer("nearest", nearest[0].flatten(1).T.contiguous(), persistent=False)
        self.register_buffer("shares", shares[0].flatten(1).T.contiguous(), persistent=False)

    def forward(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Soft labels of a target (B, 2, H, W) in [-1, 1]: indices and weights as of `ColorBins.encode`."""
        cell = (target * AB_RANGE).round().clamp(-_REACH, _REACH).long() + _REACH
        index = cell[:, 0] * (2 * _REACH + 1) + cell[:, 1]
        return self.nearest[index].permute(0, 3, 1, 2), self.shares[index].permute(0, 3, 1, 2)


def soft_cross_entropy(logits: Tensor, indices: Tensor, weights: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of the softmax over the bins (eq. 2), the mean over the pixels: a scalar, float32.

    logits: (B, Q, H, W).
    indices, weights: (B, k, H, W) of `ColorBins.encode`.
    pixel_weights: (B, H, W); a pixel of weight 0 costs nothing, and is counted in the mean all the same.

    ln Q where the logits are equal.
    """
    likelihood = F.log_softmax(logits.float(), dim=1).gather(1, indices)
    cost = -(weights * likelihood).sum(dim=1)
    if pixel_weights is not None:
        cost = cost * pixel_weights
    return cost.mean()


def rebalancing(counts: Tensor, centres: Tensor) -> Tensor:
    """The weight of a pixel by its bin (eq. 4): w ~ 1 / ((1 - lambda) p + lambda / Q), and sum p w = 1.

    counts: (Q,) pixels of each bin.
    centres: (Q, 2) ab of the bins.

    p is the bins' shares, smoothed by a Gaussian. Returns (Q,) w.
    """
    apart = torch.cdist(centres.double(), centres.double())
    kernel = torch.exp(-apart.square() / (2 * _SMOOTHING**2))
    smooth = (kernel @ counts.double()) / kernel.sum(dim=1)  # an average: even counts stay even at the rim of the gamut
    share = smooth / smooth.sum()
    weight = 1 / ((1 - _UNIFORM_SHARE) * share + _UNIFORM_SHARE / len(counts))
    return (weight / (share * weight).sum()).float()


def count_bins(counts: Tensor, nearest: Tensor) -> None:
    """Add a batch's pixels to `counts` (Q,), those of all workers.

    nearest: the number of each pixel's bin, of any shape.
    """
    found = torch.bincount(nearest.flatten(), minlength=len(counts))
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(found)
    counts += found


def _nearest(points: Tensor, centres: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances and numbers of the `count` nearest of `centres` (Q, 2) to `points` (N, 2): both (N, count)."""
    # Not by way of a matrix product: that one rounds, and on a GPU rounds coarsely.
    distance = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")
    found = distance.topk(count, dim=1, largest=False)
    return found.values, found.indices
