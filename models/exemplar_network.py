"""The network of exemplar: an encoder, attention to the places of other pages, a decoder, and a choice among bins.

B pages to colour; R pages to look at; S side of the square; T places of a page, (S / 8)^2; D features of a place; Q
bins. Ink (B, 1, S, S) and chroma (B, 2, S, S) in [-1, 1]. Hints (B, 3, S, S): 1 where a colour is told, else 0; and the
ab that is told, else 0.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imaging.target import AB_RANGE
from models.bins import ColorBins, LabelTable
from models.color import lightness
from models.efficientnet import CHANNELS, EfficientNetLite0
from models.exemplar_likeness import Likeness, measures

STRIDE = 8  # of the image to a place
LEVELS = 16  # of the table of colours by lightness
_NEVER = -1e4  # logit of a place that may not be looked at
NEIGHBOURS = 4  # bins of a soft label


@dataclass(frozen=True)
class Memory:
    """What R pages have to tell.

    keys: (R, T, D), the features of their places.
    values: (R, T, D), what the places tell, the first two values their ab.
    sums: (R, levels, 3) of ab, and shares of the page, by lightness.
    """

    keys: Tensor
    values: Tensor
    sums: Tensor

    def shown(self, index: Tensor, weights: Tensor) -> "Shown":
        """Show to each of B pages up to m of these.

        index: (B, m) their numbers.
        weights: (B, m) how much each counts; what fills up counts 0.
        """
        keys, values = (part[index].flatten(1, 2) for part in (self.keys, self.values))
        logits = torch.where(weights > 0, weights.clamp_min(1e-30).log(), _NEVER)
        mask = logits.repeat_interleave(self.keys.shape[1], dim=1)
        return Shown(keys, values, mask, (self.sums[index] * weights[..., None, None]).sum(dim=1))


@dataclass(frozen=True)
class Shown:
    """What each of B pages is shown: M places, and colours by lightness.

    keys, values: (B, M, D), as of a memory.
    mask: (B, M), added to the logits: how much a place counts.
    sums: (B, levels, 3), over the pages shown.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor
    sums: Tensor

    @classmethod
    def nothing(cls, ink: Tensor, features: int) -> "Shown":
        """Nothing, to pages `ink`; features: D."""
        pages = len(ink)
        empty = ink.new_zeros(pages, 0, features)
        return cls(empty, empty, ink.new_zeros(pages, 0), ink.new_zeros(pages, LEVELS, 3))


class ExemplarGenerator(nn.Module):
    """An encoder that pages to colour and pages to look at share; attention between them; a decoder."""

    counts: Tensor

    def __init__(self, base_channels: int, place_features: int, spacing: float, temperature: float) -> None:
        """spacing, temperature: of the bins, and of their sharpened mean.

        counts: (Q,) how often each bin was the nearest in the training, and one.
        """
        super().__init__()
        c, d = base_channels, place_features
        self.features = d
        self.encoder = EfficientNetLite0()
        self.likeness = Likeness()
        self.places = nn.Sequential(
            nn.Conv2d(sum(CHANNELS[2:]) + 2, 2 * d, 1), nn.LeakyReLU(0.1), nn.Conv2d(2 * d, d, 1)
        )
        self.values = nn.Sequential(nn.Linear(3 + d, 2 * d), nn.LeakyReLU(0.1), nn.Linear(2 * d, d - 3))
        self.log_sharpness = nn.Parameter(torch.tensor([2.5]))
        self.code = nn.Sequential(nn.Linear(3 * LEVELS, 4 * c), nn.LeakyReLU(0.1), nn.Linear(4 * c, 4 * c))
        self.ups = nn.ModuleList()
        inputs = 0
        for features, width, given in zip(CHANNELS[::-1], (4, 3, 3, 2, 1), (0, 0, d + 3, 0, 2 + 3), strict=True):
            self.ups.append(_Up(inputs + features + given, width * c, 4 * c))
            inputs = width * c
        self.bins = ColorBins(spacing, bins_of(spacing))
        self.labels = LabelTable(self.bins, NEIGHBOURS, spacing / 2)
        self.temperature = temperature
        self.register_buffer("counts", torch.ones(len(self.bins.centres), dtype=torch.int64))
        self.paint = nn.Conv2d(c + 2 + 3, len(self.bins.centres), 1)
        with torch.no_grad():
            self.paint.weight.mul_(0.3)

    def forward(
        self, ink: Tensor, ab: Tensor | None = None, allowed: Tensor | None = None, hints: Tensor | None = None
    ) -> Tensor:
        """`color` of pages that look at one another, or at none.

        ab: (B, 2, S, S) of the pages, as the others see it.
        allowed: (B, B) whether a page may look at another one; given with `ab`.
        hints: (B, 3, S, S).
        """
        seen, places = self.encode(ink)
        shown = Shown.nothing(ink, self.features)
        if ab is not None and allowed is not None:
            index = _first(allowed)
            shown = self.memorize(places, ink, ab).shown(index, allowed.gather(1, index).to(ab.dtype))
        return self.color(ink, seen, places, shown, hints)

    def encode(self, ink: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features of pages at five strides, and those of their places, of length 1: (B, T, D)."""
        seen = [features / 4 for features in self.encoder(ink.expand(-1, 3, -1, -1))]  # of order 1
        size = seen[2].shape[-2:]
        mean = F.avg_pool2d(ink, STRIDE)
        spread = (F.avg_pool2d(ink**2, STRIDE) - mean**2).clamp_min(1e-6).sqrt()
        coarse = [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in seen[3:]]
        places = self.places(torch.cat([seen[2], *coarse, 2 * mean, 2 * spread], dim=1))
        return seen, F.normalize(_rows(places).float(), dim=-1)

    def describe(self, ink: Tensor) -> Tensor:
        """Descriptions (B, AXES) of pages: how alike two are, their cosine says."""
        described: Tensor = self.likeness(measures(self.encoder, ink))
        return described

    def memorize(self, places: Tensor, ink: Tensor, ab: Tensor) -> Memory:
        """What pages in colour have to tell.

        In training by half of their places, others each time: no place is always there to be found.
        """
        small = _rows(F.avg_pool2d(torch.cat([ab, ink], dim=1).float(), STRIDE))
        values = self._values_at(small[..., :2], small[..., 2:], places)
        if self.training:
            # Drawn on the CPU, as all else that a step draws: the same on every device.
            kept = torch.randperm(places.shape[1])[: places.shape[1] // 2].to(places.device)
            places, values = places[:, kept], values[:, kept]
        return Memory(places, values, _sums(ink, ab))

    def color(
        self,
        ink: Tensor,
        seen: list[Tensor],
        places: Tensor,
        shown: Shown,
        hints: Tensor | None,
    ) -> Tensor:
        """Chroma (B, 2, S, S); in training the logits of the bins at half the page's size, (B, Q, S / 2, S / 2).

        seen, places: of `encode`.
        hints: (B, 3, S, S); None: none.
        """
        if hints is None:
            hints = torch.zeros_like(ink).expand(-1, 3, -1, -1)
        table, code = self._palette(shown.sums)
        by_table = _look_up(table, F.avg_pool2d(ink, 2))
        near, far = _pooled(hints, 2), _pooled(hints, STRIDE)
        given = {2: [self._find(ink, places, shown, far), far], 4: [by_table, near]}
        x = None
        for number, (up, features) in enumerate(zip(self.ups, seen[::-1], strict=True)):
            under: list[Tensor] = [] if x is None else [F.interpolate(x, features.shape[-2:], mode="nearest")]
            x = up(torch.cat([features, *given.get(number, []), *under], dim=1), code)
        assert x is not None
        logits: Tensor = self.paint(torch.cat([x, by_table, near], dim=1))
        return logits if self.training else self.bins.decode_target(logits, self.temperature, ink.shape[-2:])

    def chroma(self, logits: Tensor) -> Tensor:
        """The sharpened mean of the bins in [-1, 1]: (B, Q, h, w) -> (B, 2, h, w)."""
        return self.bins.decode(logits, self.temperature) / AB_RANGE

    def _palette(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Mean ab by lightness of what each page is shown, (B, levels, 2), and the code made of it."""
        share = sums[..., 2:]
        table = torch.where(share > 0, sums[..., :2] / share.clamp_min(1e-6), 0)
        code = self.code(torch.cat([table, share / share.sum(1, keepdim=True).clamp_min(1e-6)], dim=-1).flatten(1))
        return table, code

    def _find(self, ink: Tensor, places: Tensor, shown: Shown, hints: Tensor) -> Tensor:
        """(B, D, S / 8, S / 8): what the places that look alike tell; the last feature, how much is found at all.

        A page's own hinted places are among those it looks at, and so is a place like none, which tells nothing.
        """
        batch, count, _ = places.shape
        hint_squares = _rows(hints)
        own = self._values_at(hint_squares[..., 1:], _rows(F.avg_pool2d(ink, STRIDE)), places)
        none = torch.zeros_like(places[:, :1])
        keys = torch.cat([shown.keys, places, none], dim=1)
        values = torch.cat([shown.values, own, none], dim=1)
        mask = torch.cat([shown.mask, hint_squares[..., 0].clamp_min(1e-4).log(), none[..., 0]], dim=1)
        with torch.autocast(ink.device.type, enabled=False):
            found = F.scaled_dot_product_attention(
                (places * self.log_sharpness.exp())[:, None],
                keys.float()[:, None],
                values.float()[:, None],
                mask.float()[:, None, None].expand(-1, 1, count, -1),
                scale=1.0,
            )
        side = ink.shape[-1] // STRIDE
        return found[:, 0].transpose(1, 2).reshape(batch, -1, side, side)

    def _values_at(self, ab: Tensor, gray: Tensor, places: Tensor) -> Tensor:
        """(..., D): the ab of places, what else may be of use there, and 1."""
        more = self.values(torch.cat([ab, gray, places.detach()], dim=-1))
        return torch.cat([ab, more, torch.ones_like(gray)], dim=-1)


class ByShown(nn.Module):
    """The generator as a function of tensors alone: pages, and what each is shown."""

    def __init__(self, generator: ExemplarGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, ink: Tensor, hints: Tensor, keys: Tensor, values: Tensor, mask: Tensor, sums: Tensor) -> Tensor:
        seen, places = self.generator.encode(ink)
        return self.generator.color(ink, seen, places, Shown(keys, values, mask, sums), hints)


class _Up(nn.Module):
    """Convolutions, the middle one's features scaled and shifted by the code (Perez et al. 2018, arXiv 1709.07871)."""

    def __init__(self, inputs: int, outputs: int, code: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.third = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm = nn.GroupNorm(1, outputs)
        self.film = nn.Linear(code, 2 * outputs)
        with torch.no_grad():
            self.film.weight.mul_(0.1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        x = self.first(x)
        scale, shift = self.film(code)[..., None, None].chunk(2, dim=1)
        y = self.norm(F.leaky_relu(self.second(F.leaky_relu(x, 0.1)), 0.1)) * (1 + scale) + shift
        out: Tensor = x + self.third(F.leaky_relu(y, 0.1))
        return out


def _first(allowed: Tensor) -> Tensor:
    """(B, m): for each page the numbers of those it may look at, filled up with others to the most that a page may."""
    most = int(allowed.sum(dim=1).amax()) if allowed.numel() else 0
    return allowed.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]


def _rows(images: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h * w, C)."""
    return images.flatten(2).transpose(1, 2)


def _pooled(hints: Tensor, stride: int) -> Tensor:
    """Hints at a lower resolution: the share of each cell that is told, and the mean ab of that share."""
    means = F.avg_pool2d(hints, stride)
    return torch.cat([means[:, :1], means[:, 1:] / means[:, :1].clamp_min(1e-3)], dim=1)


def _sums(ink: Tensor, ab: Tensor) -> Tensor:
    """(R, levels, 3): ab and pixels by lightness, each pixel between its two levels; sums over the page's pixels."""
    position, low = _levels(ink)
    share = (position - low).flatten(1)[..., None]
    pixels = torch.cat([_rows(ab.float()), torch.ones_like(share)], dim=-1) / share.shape[1]
    index = low.long().flatten(1)[..., None].expand(-1, -1, 3)
    sums = pixels.new_zeros(ink.shape[0], LEVELS, 3)
    return sums.scatter_add(1, index, pixels * (1 - share)).scatter_add(1, index + 1, pixels * share)


def _look_up(table: Tensor, ink: Tensor) -> Tensor:
    """What a table (B, levels, 2) has for ink (B, 1, h, w): (B, 2, h, w)."""
    position, low = _levels(ink)
    index = low.long().flatten(1)[..., None].expand(-1, -1, 2)
    lower, upper = (table.gather(1, i).transpose(1, 2).reshape(-1, 2, *ink.shape[-2:]) for i in (index, index + 1))
    return lower + (position - low) * (upper - lower)


def _levels(ink: Tensor) -> tuple[Tensor, Tensor]:
    """Where ink lies on the scale of levels, and the level below, one of the first `levels` - 1. Both as ink."""
    position = lightness(ink) / 100 * (LEVELS - 1)
    return position, position.detach().floor().clamp(0, LEVELS - 2)


def bins_of(spacing: float) -> int:
    """How many bins cover the gamut: one for about every `spacing` squared of the 24,000 square units it has."""
    return max(NEIGHBOURS, round(30_000 / spacing**2))
