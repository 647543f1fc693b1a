"""exemplar: colours after coloured pages of the same series, and after hints.

A page looks at what it is given: coloured pages, among whose places it finds those like its own (attention over
features; He et al. 2018, arXiv 1807.06587; Zhang et al. 2019, arXiv 1906.09909) and whose colours by lightness modulate
the whole network; and spots that somebody coloured on the page itself (Zhang et al. 2017, arXiv 1705.02999). With
nothing given it colours by what it has learnt.

B pages to colour; R pages to look at; S side of the square; T places of a page, (S / 8)^2; D features of a place.
Ink (B, 1, S, S) and chroma (B, 2, S, S) in [-1, 1]. Hints (B, 3, S, S): 1 where a colour is told, else 0; and the ab
that is told, else 0.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imaging.target import AB_RANGE
from models.color import lightness
from models.efficientnet import CHANNELS, EfficientNetLite0
from models.training import Training
from models.variant import Coloring, Variant, VariantConfig

_STRIDE = 8  # of the image to a place
_LEVELS = 16  # of the table of colours by lightness
_NEVER = -1e4  # logit of a place that may not be looked at
_SMALL = 5.0  # ab units up to which an error counts by its square

# What a page of a training is given.
_ALONE = 0.1  # share of the pages that are given no other page
_HINTED = 0.4  # that are given hints, 1 to 22 of them
_TURNED = 0.3  # share of the chapters whose hues are turned, so that only what is given tells them
_LEAST_SHOWN = 0.3  # of a chapter's pages in the batch
_RADII = (1 / 256, 8 / 256)  # of hints, of S
_HINT_WEIGHT = 2.0  # more of the loss on a hinted spot


@dataclass(frozen=True, kw_only=True)
class ExemplarConfig(VariantConfig):
    """The widths of the network.

    base_channels: of the decoder at half the page's size.
    place_features: D.
    """

    targets: ClassVar[tuple[str, ...]] = ("ab",)

    learning_rate: float = 5e-4
    base_channels: int = 32
    place_features: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.place_features < 4:
            raise ValueError(f"place_features is {self.place_features}; three of them are set: it must be at least 4")


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

    @classmethod
    def nothing(cls, ink: Tensor, features: int) -> "Memory":
        """Of no page, for pages like `ink`."""
        empty = ink.new_zeros(0, (ink.shape[-1] // _STRIDE) ** 2, features)
        return cls(empty, empty, ink.new_zeros(0, _LEVELS, 3))


class ExemplarGenerator(nn.Module):
    """An encoder that pages to colour and pages to look at share; attention between them; a decoder."""

    def __init__(self, base_channels: int = 32, place_features: int = 32) -> None:
        super().__init__()
        c, d = base_channels, place_features
        self.features = d
        self.encoder = EfficientNetLite0()
        self.places = nn.Sequential(
            nn.Conv2d(sum(CHANNELS[2:]) + 2, 2 * d, 1), nn.LeakyReLU(0.1), nn.Conv2d(2 * d, d, 1)
        )
        self.values = nn.Sequential(nn.Linear(3 + d, 2 * d), nn.LeakyReLU(0.1), nn.Linear(2 * d, d - 3))
        self.log_sharpness = nn.Parameter(torch.tensor([2.5]))
        self.code = nn.Sequential(nn.Linear(3 * _LEVELS, 4 * c), nn.LeakyReLU(0.1), nn.Linear(4 * c, 4 * c))
        self.ups = nn.ModuleList()
        inputs = 0
        for features, width, given in zip(CHANNELS[::-1], (4, 3, 3, 2, 1), (0, 0, d + 3, 0, 2 + 3), strict=True):
            self.ups.append(_Up(inputs + features + given, width * c, 4 * c))
            inputs = width * c
        self.paint = nn.Conv2d(c + 2 + 3, 2, 3, padding=1)
        with torch.no_grad():
            self.paint.weight.mul_(0.1)

    def forward(
        self, ink: Tensor, ab: Tensor | None = None, allowed: Tensor | None = None, hints: Tensor | None = None
    ) -> Tensor:
        """Chroma (B, 2, S, S) of pages that look at one another, or at none.

        ab: (B, 2, S, S) of the pages, as the others see it.
        allowed: (B, B) whether a page may look at another one.
        hints: (B, 3, S, S).
        """
        seen, places = self.encode(ink)
        memory = Memory.nothing(ink, self.features) if ab is None else self.memorize(places, ink, ab)
        return self.color(ink, seen, places, memory, allowed, hints)

    def encode(self, ink: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features of pages at five strides, and those of their places, of length 1: (B, T, D)."""
        seen = [features / 4 for features in self.encoder(ink.expand(-1, 3, -1, -1))]  # of order 1
        size = seen[2].shape[-2:]
        mean = F.avg_pool2d(ink, _STRIDE)
        spread = (F.avg_pool2d(ink**2, _STRIDE) - mean**2).clamp_min(1e-6).sqrt()
        coarse = [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in seen[3:]]
        places = self.places(torch.cat([seen[2], *coarse, 2 * mean, 2 * spread], dim=1))
        return seen, F.normalize(_rows(places).float(), dim=-1)

    def memorize(self, places: Tensor, ink: Tensor, ab: Tensor) -> Memory:
        """What pages in colour have to tell.

        In training by half of their places, others each time: no place is always there to be found.
        """
        small = _rows(F.avg_pool2d(torch.cat([ab, ink], dim=1).float(), _STRIDE))
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
        memory: Memory,
        allowed: Tensor | None,
        hints: Tensor | None,
    ) -> Tensor:
        """Chroma (B, 2, S, S).

        seen, places: of `encode`.
        allowed: (B, R) which pages of the memory a page may look at; None: all.
        hints: (B, 3, S, S); None: none.
        """
        ab = self.paint(self.decode(ink, seen, places, memory, allowed, hints))
        full = F.interpolate(ab, ink.shape[-2:], mode="bilinear", align_corners=False)
        return full if self.training else full.clamp(-1, 1)

    def decode(
        self,
        ink: Tensor,
        seen: list[Tensor],
        places: Tensor,
        memory: Memory,
        allowed: Tensor | None,
        hints: Tensor | None,
    ) -> Tensor:
        """The features that chroma is made of, at half the page's size: (B, C, S / 2, S / 2). Arguments of `color`."""
        if hints is None:
            hints = torch.zeros_like(ink).expand(-1, 3, -1, -1)
        table, code = self._palette(memory, allowed, ink.shape[0])
        by_table = _look_up(table, F.avg_pool2d(ink, 2))
        near, far = _pooled(hints, 2), _pooled(hints, _STRIDE)
        given = {2: [self._find(ink, places, memory, allowed, far), far], 4: [by_table, near]}
        x = None
        for number, (up, features) in enumerate(zip(self.ups, seen[::-1], strict=True)):
            under: list[Tensor] = [] if x is None else [F.interpolate(x, features.shape[-2:], mode="nearest")]
            x = up(torch.cat([features, *given.get(number, []), *under], dim=1), code)
        assert x is not None
        return torch.cat([x, by_table, near], dim=1)

    def _palette(self, memory: Memory, allowed: Tensor | None, batch: int) -> tuple[Tensor, Tensor]:
        """Mean ab by lightness of the pages that each page may look at, (B, levels, 2), and the code made of it."""
        if allowed is None:
            allowed = torch.ones(batch, memory.sums.shape[0], dtype=torch.bool, device=memory.sums.device)
        sums = torch.einsum("br,rlc->blc", allowed.to(memory.sums.dtype), memory.sums)
        share = sums[..., 2:]
        table = torch.where(share > 0, sums[..., :2] / share.clamp_min(1e-6), 0)
        code = self.code(torch.cat([table, share / share.sum(1, keepdim=True).clamp_min(1e-6)], dim=-1).flatten(1))
        return table, code

    def _find(self, ink: Tensor, places: Tensor, memory: Memory, allowed: Tensor | None, hints: Tensor) -> Tensor:
        """(B, D, S / 8, S / 8): what the places that look alike tell; the last feature, how much is found at all.

        A page's own hinted places are among those it looks at, and so is a place like none, which tells nothing.
        """
        batch, count, _ = places.shape
        hint_squares = _rows(hints)
        own = self._values_at(hint_squares[..., 1:], _rows(F.avg_pool2d(ink, _STRIDE)), places)
        none = torch.zeros_like(places[:, :1])
        if allowed is None:
            others = [part.flatten(0, 1).expand(batch, -1, -1) for part in (memory.keys, memory.values)]
            logits = others[0].new_zeros(others[0].shape[:2])
        else:
            index = _first(allowed)
            others = [part[index].flatten(1, 2) for part in (memory.keys, memory.values)]
            logits = torch.where(allowed.gather(1, index), 0.0, _NEVER).repeat_interleave(memory.keys.shape[1], dim=1)
        keys = torch.cat([others[0], places, none], dim=1)
        values = torch.cat([others[1], own, none], dim=1)
        mask = torch.cat([logits, hint_squares[..., 0].clamp_min(1e-4).log(), none[..., 0]], dim=1)
        with torch.autocast(ink.device.type, enabled=False):
            found = F.scaled_dot_product_attention(
                (places * self.log_sharpness.exp())[:, None],
                keys.float()[:, None],
                values.float()[:, None],
                mask.float()[:, None, None].expand(-1, 1, count, -1),
                scale=1.0,
            )
        side = ink.shape[-1] // _STRIDE
        return found[:, 0].transpose(1, 2).reshape(batch, -1, side, side)

    def _values_at(self, ab: Tensor, gray: Tensor, places: Tensor) -> Tensor:
        """(..., D): the ab of places, what else may be of use there, and 1."""
        more = self.values(torch.cat([ab, gray, places.detach()], dim=-1))
        return torch.cat([ab, more, torch.ones_like(gray)], dim=-1)


class _ByMemory(nn.Module):
    """The generator as a function of tensors alone: pages that all look at what is in the memory."""

    def __init__(self, generator: ExemplarGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, ink: Tensor, hints: Tensor, keys: Tensor, values: Tensor, sums: Tensor) -> Tensor:
        seen, places = self.generator.encode(ink)
        return self.generator.color(ink, seen, places, Memory(keys, values, sums), None, hints)


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
    sums = pixels.new_zeros(ink.shape[0], _LEVELS, 3)
    return sums.scatter_add(1, index, pixels * (1 - share)).scatter_add(1, index + 1, pixels * share)


def _look_up(table: Tensor, ink: Tensor) -> Tensor:
    """What a table (B, levels, 2) has for ink (B, 1, h, w): (B, 2, h, w)."""
    position, low = _levels(ink)
    index = low.long().flatten(1)[..., None].expand(-1, -1, 2)
    lower, upper = (table.gather(1, i).transpose(1, 2).reshape(-1, 2, *ink.shape[-2:]) for i in (index, index + 1))
    return lower + (position - low) * (upper - lower)


def _levels(ink: Tensor) -> tuple[Tensor, Tensor]:
    """Where ink lies on the scale of levels, and the level below, one of the first `levels` - 1. Both as ink."""
    position = lightness(ink) / 100 * (_LEVELS - 1)
    return position, position.detach().floor().clamp(0, _LEVELS - 2)


class Exemplar(Variant):
    """Paired training on groups of pages of one chapter: each sees some of the others in colour."""

    name: ClassVar[str] = "exemplar"
    config_type: ClassVar[type[VariantConfig]] = ExemplarConfig
    pages_per_chapter: ClassVar[int] = 4
    follows: ClassVar[bool] = True
    bundled: ClassVar[str] = "efficientnet_lite0"

    def __init__(self, config: ExemplarConfig) -> None:
        generator = ExemplarGenerator(config.base_channels, config.place_features)
        super().__init__(config, generator, {"network": {"network": generator}})
        self._encoder = generator.encoder
        self._memory: Memory | None = None

    def load_pretrained(self, state: Mapping[str, Tensor] | None) -> None:
        if state is not None:
            self._encoder.load(state)

    def optimizer(self, group: str, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The encoder, which knows how to see, learns at a third of the rate."""
        encoder = {id(parameter) for parameter in self._encoder.parameters()}
        of_encoder: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for parameter in parameters:
            of_encoder[id(parameter) in encoder].append(parameter)
        rate = self.config.learning_rate
        return torch.optim.AdamW(
            [{"params": of_encoder[False], "lr": rate}, {"params": of_encoder[True], "lr": rate / 3}],
            betas=(0.9, 0.99),
            weight_decay=1e-2,
            fused=True,
        )

    def step(self, training: Training, ink: Tensor, target: Tensor) -> dict[str, Tensor]:
        given: tuple[Tensor, ...] = ()
        hints = None
        if training.chapters is not None:
            target = recolored(target, training.chapters)
            hints = draw_hints(target)
            given = (target, draw_shown(training.chapters), hints)
        with training.gradients_of("network"):
            predicted = training.call("network", ink, *given)
            off = (predicted.float() - target) * AB_RANGE
            per_pixel = F.smooth_l1_loss(off, torch.zeros_like(off), beta=_SMALL, reduction="none").mean(
                1, keepdim=True
            )
            hinted = 0.0 if hints is None else hints[:, :1]
            loss = ((1 + _HINT_WEIGHT * hinted) * per_pixel).mean()
            training.backward(loss)
        training.advance("network")
        return {"chroma": loss}

    @torch.inference_mode()
    def look_at(self, ink: Tensor, target: Tensor) -> None:
        """Pages in colour, (R, 1, S, S) and (R, 2, S, S), that `predict` follows from now on; R of 0: none."""
        generator = self._ready_generator()
        ink, target = self._as_weights(ink), self._as_weights(target)
        parts = [
            generator.memorize(generator.encode(page)[1], page, ab)
            for page, ab in zip(ink.split(1), target.split(1), strict=True)
        ]
        joined = [torch.cat([getattr(part, name) for part in parts]) for name in ("keys", "values", "sums")]
        self._memory = Memory(*joined)

    def coloring(self) -> Coloring:
        side = self.image_size
        places = ("references", (side // _STRIDE) ** 2, self.config.place_features)
        return Coloring(_ByMemory(self._ready_generator()).eval(), {
            "ink": ("pages", 1, side, side), "hints": ("pages", 3, side, side),
            "keys": places, "values": places, "sums": ("references", _LEVELS, 3),
        })  # fmt: skip

    @torch.inference_mode()
    def predict(self, ink: Tensor, hints: Tensor | None = None) -> Tensor:
        ink = self._as_weights(ink)
        memory = self._memory or Memory.nothing(ink, self.config.place_features)
        hints = ink.new_zeros(len(ink), 3, *ink.shape[2:]) if hints is None else self._as_weights(hints)
        return self._color(ink, hints, memory.keys, memory.values, memory.sums)

    def _ready_generator(self) -> ExemplarGenerator:
        """The generator, in evaluation mode."""
        generator: Any = self.generator().eval()
        return generator


def draw_shown(chapters: Tensor, alone: float = _ALONE) -> Tensor:
    """(B, B): which pages see which others of their chapter. The share `alone` sees none."""
    count = len(chapters)
    same = (chapters[:, None] == chapters) & ~torch.eye(count, dtype=torch.bool, device=chapters.device)
    chance = torch.rand(count, 1).clamp_min(_LEAST_SHOWN) * (torch.rand(count, 1) >= alone)
    return same & (torch.rand(count, count) < chance).to(chapters.device)


def recolored(target: Tensor, chapters: Tensor) -> Tensor:
    """Chroma with the hues of some chapters turned, of half of those mirrored too: the same for all pages of one."""
    out = target
    for chapter in chapters.unique():
        if torch.rand(()) >= _TURNED:
            continue
        angle = 2 * math.pi * float(torch.rand(()))
        mirror = -1.0 if torch.rand(()) < 0.5 else 1.0
        turn = target.new_tensor(
            [[math.cos(angle), -mirror * math.sin(angle)], [math.sin(angle), mirror * math.cos(angle)]]
        )
        turned = torch.einsum("ij,bjhw->bihw", turn, target).clamp(-1, 1)
        out = torch.where((chapters == chapter)[:, None, None, None], turned, out)
    return out


def draw_hints(target: Tensor, share: float = _HINTED) -> Tensor:
    """Hints (B, 3, S, S) for that share of the pages: spots at random places, each of its mean ab there."""
    batch, _, side, _ = target.shape
    hints = target.new_zeros(batch, 3, side, side)
    across = torch.arange(side, device=target.device)
    for page in range(batch):
        if torch.rand(()) >= share:
            continue
        for _ in range(int(2 ** (4.5 * float(torch.rand(()))))):
            y, x = (float(torch.rand(())) * side for _ in range(2))
            radius = side * (_RADII[0] + (_RADII[1] - _RADII[0]) * float(torch.rand(())))
            hint = (across[:, None] - y) ** 2 + (across - x) ** 2 <= radius**2
            if hint.any():
                hints[page, 0][hint] = 1
                hints[page, 1:, hint] = target[page, :, hint].mean(dim=1, keepdim=True)
    return hints
