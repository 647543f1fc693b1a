"""exemplar: colours after coloured pages of the same series, after hints, and by what it has learnt.

A page looks at what it is given: coloured pages, among whose places it finds those like its own (attention over
features; He et al. 2018, arXiv 1807.06587; Zhang et al. 2019, arXiv 1906.09909) and whose colours by lightness modulate
the whole network; and spots that somebody coloured on the page itself (Zhang et al. 2017, arXiv 1705.02999). With
nothing given it colours by what it has learnt. The mean of all that a page may be is brown: so it chooses among bins of
colour (Zhang et al. 2016, arXiv 1603.08511), rare ones weighted up, and says their sharpened mean.

B pages to colour; R pages to look at; S side of the square. Ink (B, 1, S, S) and chroma (B, 2, S, S) in [-1, 1]. Hints
(B, 3, S, S): 1 where a colour is told, else 0; and the ab that is told, else 0.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imaging.target import AB_RANGE
from models.bins import check_classes, count_bins, rebalancing, soft_cross_entropy
from models.exemplar_given import draw_hints, draw_shown, mislead, recolored
from models.exemplar_library import Library
from models.exemplar_network import LEVELS, NEIGHBOURS, ByShown, ExemplarGenerator, Shown, bins_of
from models.training import Training
from models.variant import Coloring, Variant, VariantConfig

_SMALL = 5.0  # ab units up to which an error counts by its square

# What a page of a training is given.
_ALONE = 0.5  # share of the pages that are given no other page
_HINTED = 0.25  # that are given hints, 1 to 22 of them
_STRANGERS = 0.12  # of those given others: that are given another chapter's instead
_HINT_WEIGHT = 2.0  # more of the loss on a hinted spot


@dataclass(frozen=True, kw_only=True)
class ExemplarConfig(VariantConfig):
    """The widths of the network, its bins, and what its training weighs.

    base_channels: of the decoder at half the page's size.
    place_features: D.
    spacing: of the bins, ab units.
    temperature: of the sharpened mean of the bins.
    rare: rare colours weigh more, by Zhang's weights to this power; 0: all weigh the same.
    regression_weight: of the distance to the sharpened mean, ab units, beside the cross-entropy.
    """

    targets: ClassVar[tuple[str, ...]] = ("ab",)

    image_size: int = 384
    learning_rate: float = 5e-4
    base_channels: int = 48
    place_features: int = 32
    spacing: float = 20.0
    temperature: float = 0.38
    rare: float = 0.5
    regression_weight: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.place_features < 4:
            raise ValueError(f"place_features is {self.place_features}; three of them are set: it must be at least 4")
        if not 5 <= self.spacing <= 40:
            raise ValueError(f"spacing is {self.spacing}; bins are 5 to 40 ab units apart")
        if not 0 <= self.rare <= 1:
            raise ValueError(f"rare is {self.rare}; it is 0 (all colours weigh the same) to 1 (Zhang's weights)")
        check_classes(bins_of(self.spacing), self.temperature, spacing=self.spacing, neighbours=NEIGHBOURS)


class Exemplar(Variant):
    """Paired training on groups of pages of one chapter: each sees some of the others in colour."""

    name: ClassVar[str] = "exemplar"
    config_type: ClassVar[type[VariantConfig]] = ExemplarConfig
    pages_per_chapter: ClassVar[int] = 4
    follows: ClassVar[bool] = True
    bundled: ClassVar[str] = "efficientnet_lite0"

    def __init__(self, config: ExemplarConfig) -> None:
        generator = ExemplarGenerator(config.base_channels, config.place_features, config.spacing, config.temperature)
        super().__init__(config, generator, {"network": {"network": generator}})
        self._network, self._encoder = generator, generator.encoder
        nothing = torch.zeros(0, 1, config.image_size, config.image_size)
        self._library = Library(generator, nothing, nothing)

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
            seen_as = recolored(target, training.chapters)
            shown, misled = mislead(draw_shown(training.chapters, _ALONE), training.chapters, _STRANGERS)
            follows = shown.any(dim=1) & ~misled
            target = torch.where(follows[:, None, None, None], seen_as, target)  # nobody tells the others a turned hue
            hints = training.filled(draw_hints(target, _HINTED), 0.0)
            given = (seen_as, shown, hints)
        truth = F.avg_pool2d(target, 2)
        count_bins(self._network.counts, training.judged(self._network.labels(truth)[0][:, 0]))
        weights = self.rarity(truth)
        if hints is not None:
            weights = weights * (1 + _HINT_WEIGHT * F.avg_pool2d(hints[:, :1], 2)[:, 0])
        weights = training.filled(weights[:, None], 0.0)[:, 0]
        with training.gradients_of("network"):
            losses = self.losses(training.call("network", ink, *given), truth, weights)
            training.backward(losses["bins"] + self.config.regression_weight * losses["chroma"])
        training.advance("network")
        return losses

    def losses(self, logits: Tensor, truth: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """The cross-entropy of the bins, and the distance of their sharpened mean.

        logits: (B, Q, h, w).
        truth: chroma (B, 2, h, w) in [-1, 1].
        weights: (B, h, w) of the pixels.
        """
        bins, shares = self._network.labels(truth)
        off = (self._network.chroma(logits) - truth) * AB_RANGE
        distance = F.smooth_l1_loss(off, torch.zeros_like(off), beta=_SMALL, reduction="none").mean(1)
        return {
            "bins": soft_cross_entropy(logits, bins, shares, weights),
            "chroma": (distance * weights).mean(),
        }

    def rarity(self, truth: Tensor) -> Tensor:
        """(B, h, w): what a pixel of this chroma (B, 2, h, w) weighs; of mean 1 over all that was counted."""
        network = self._network
        if not self.config.rare:
            return torch.ones_like(truth[:, 0])
        share = network.counts / network.counts.sum()
        weight = rebalancing(network.counts, network.bins.centres) ** self.config.rare
        return (weight / (share * weight).sum())[network.labels(truth)[0][:, 0]]

    @torch.inference_mode()
    def look_at(self, ink: Tensor, target: Tensor) -> None:
        """Pages in colour, (R, 1, S, S) and (R, 2, S, S), that `predict` follows from now on; R of 0: none.

        Each page to colour is shown those that are like it, 12 at most; none, where none is.
        """
        self._library = self.memorized(ink, target)

    @torch.inference_mode()
    def memorized(self, ink: Tensor, target: Tensor) -> Library:
        return Library(self._ready_generator(), self._as_weights(ink), self._as_weights(target))

    @contextmanager
    def looking_at(self, memorized: Library) -> Iterator[None]:
        always = self._library
        self._library = always.beside(memorized)
        try:
            yield
        finally:
            self._library = always

    def coloring(self) -> Coloring:
        side = self.image_size
        places = ("pages", "places", self.config.place_features)
        return Coloring(ByShown(self._ready_generator()).eval(), {
            "ink": ("pages", 1, side, side), "hints": ("pages", 3, side, side),
            "keys": places, "values": places, "mask": places[:2], "sums": ("pages", LEVELS, 3),
        })  # fmt: skip

    @torch.inference_mode()
    def predict(self, ink: Tensor, hints: Tensor | None = None) -> Tensor:
        ink = self._as_weights(ink)
        hints = ink.new_zeros(len(ink), 3, *ink.shape[2:]) if hints is None else self._as_weights(hints)
        if not len(self._library) and (self._compiled or ink.is_cuda):
            return self._color_shown(ink, hints, Shown.nothing(ink, self.config.place_features))
        # Page by page: what 12 pages have to show to 8 at once would take gigabytes; and PyTorch on CPUs is quicker.
        pages = zip(ink.split(1), hints.split(1), strict=True)
        return torch.cat([self._color_shown(page, hint, self._library.shown(page)) for page, hint in pages])

    def _color_shown(self, ink: Tensor, hints: Tensor, shown: Shown) -> Tensor:
        return self._color(ink, hints, shown.keys, shown.values, shown.mask, shown.sums)

    @torch.inference_mode()
    def describe(self, ink: Tensor) -> Tensor:
        return self._ready_generator().describe(self._as_weights(ink))

    @property
    def least_likeness(self) -> float:
        return float(self._ready_generator().likeness.least)

    def _ready_generator(self) -> ExemplarGenerator:
        """The generator, in evaluation mode."""
        generator: Any = self.generator().eval()
        return generator
