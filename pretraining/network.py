"""The network that is trained, and the heads and losses that were compared for it.

All is exemplar's (models.exemplar) but what comes out of the last layer, and what the training makes of it.

B batch; S side of the square; h, w: S / 2; Q bins. Chroma and target in [-1, 1], ab in CIELAB units.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imaging.target import AB_RANGE
from models.bins import ColorBins, soft_cross_entropy
from models.exemplar import Exemplar, ExemplarConfig, ExemplarGenerator, Memory, draw_hints, draw_shown, recolored
from models.layers import PatchDiscriminator
from models.losses import lsgan_loss
from models.training import Training
from models.variant import Variant, VariantConfig
from models.zhang import rebalancing

_SMALL = 5.0  # ab units up to which an error counts by its square
_HINT_WEIGHT = 2.0  # more of the loss on a hinted spot
_NEIGHBOURS = 4  # bins of a soft label
_LEAST_SHOWN = 0.3  # of the other pages of a group, to a page that sees any
_REACH = int(AB_RANGE)
_CRITIC_WIDTH = 24


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(ExemplarConfig):
    """What a training tries.

    bins: whether the last layer chooses among bins, and says their sharpened mean; else it says the chroma.
    spacing: of the bins, ab units.
    temperature: of the sharpened mean.
    regression_weight: of the smooth L1 distance, in ab units, beside the cross-entropy of the bins.
    rare: rare colours weigh more, by Zhang's weights to this power; 0: all weigh the same.
    critic_weight: of a critic of the chroma (LSGAN, 70x70 patches) in the second half of the training; 0: none.
    alone: share of the pages that are shown no other page.
    hinted: share of the pages that are given hints.
    strangers: share of the pages with others to look at that are shown another story's instead: they tell nothing.
    frozen_stages: of the encoder, the stem with them, that keep their published weights. Their depthwise convolutions
        at large sizes are what training takes longest over on a CPU.
    """

    bins: bool = False
    spacing: float = 20.0
    temperature: float = 0.38
    regression_weight: float = 0.0
    rare: float = 0.0
    critic_weight: float = 0.0
    alone: float = 0.5
    hinted: float = 0.25
    strangers: float = 0.12
    frozen_stages: int = 3


class BinsHead(nn.Module):
    """Logits (B, Q, h, w) to chroma, and soft labels by a table over whole units of ab."""

    nearest: Tensor
    shares: Tensor

    def __init__(self, spacing: float, temperature: float) -> None:
        super().__init__()
        self.bins = ColorBins(spacing, _count_bins(spacing))
        self.temperature = temperature
        unit = torch.arange(-_REACH, _REACH + 1, dtype=torch.float32)
        grid = torch.stack(torch.meshgrid(unit, unit, indexing="ij"))[None]
        nearest, shares = self.bins.encode(grid, _NEIGHBOURS, spacing / 2)
        self.register_buffer("nearest", nearest[0].flatten(1).T.contiguous(), persistent=False)
        self.register_buffer("shares", shares[0].flatten(1).T.contiguous(), persistent=False)

    def __len__(self) -> int:
        return len(self.bins.centres)

    def chroma(self, logits: Tensor) -> Tensor:
        """(B, Q, h, w) -> (B, 2, h, w)."""
        return self.bins.decode(logits, self.temperature) / AB_RANGE

    def labels(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Soft labels of a target (B, 2, h, w): bins and their shares, both (B, k, h, w), the nearest first."""
        cell = (target * AB_RANGE).round().clamp(-_REACH, _REACH).long() + _REACH
        index = cell[:, 0] * (2 * _REACH + 1) + cell[:, 1]
        return self.nearest[index].permute(0, 3, 1, 2), self.shares[index].permute(0, 3, 1, 2)


def _count_bins(spacing: float) -> int:
    """How many bins cover the gamut: one for about every `spacing` squared of the 24,000 square units it has."""
    return max(_NEIGHBOURS, round(30_000 / spacing**2))


class Generator(ExemplarGenerator):
    """Exemplar's network; in training its answer is what its last layer says, at half the page's size.

    counts: (Q,) how often each bin was the nearest in the training, and one.
    """

    counts: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config.base_channels, config.place_features)
        if config.frozen_stages:
            for part in (self.encoder.stem, *self.encoder.stages[: config.frozen_stages]):
                part.requires_grad_(False)
        self.table = BinsHead(config.spacing, config.temperature)
        self.by_bins = config.bins
        if config.bins:
            self.paint = nn.Conv2d(self.paint.in_channels, len(self.table), 1)
            with torch.no_grad():
                self.paint.weight.mul_(0.3)
        self.register_buffer("counts", torch.ones(len(self.table), dtype=torch.int64))

    def chroma(self, answer: Tensor) -> Tensor:
        """Of what the last layer says."""
        return self.table.chroma(answer) if self.by_bins else answer

    def color(
        self,
        ink: Tensor,
        seen: list[Tensor],
        places: Tensor,
        memory: Memory,
        allowed: Tensor | None,
        hints: Tensor | None,
    ) -> Tensor:
        answer: Tensor = self.paint(self.decode(ink, seen, places, memory, allowed, hints))
        if self.training:
            return answer
        full = F.interpolate(self.chroma(answer), ink.shape[-2:], mode="bilinear", align_corners=False)
        return full.clamp(-1, 1)


def mislead(shown: Tensor, group: int, share: float) -> tuple[Tensor, Tensor]:
    """Show another story's pages to some of the pages that are shown any.

    shown: (B, B) which pages see which others, of groups of `group` pages in a row.

    Returns `shown`, and (B,) which pages see strangers.
    """
    misled = (torch.rand(len(shown)) < share).to(shown.device) & shown.any(dim=1)
    return torch.where(misled[:, None], shown.roll(group, dims=1), shown), misled


class Network(Exemplar):
    """Paired training on groups of pages of one story: half of the pages see some of the others in colour."""

    name: ClassVar[str] = "network"
    config_type: ClassVar[type[VariantConfig]] = NetworkConfig

    def __init__(self, config: NetworkConfig) -> None:
        generator = Generator(config)
        groups: dict[str, dict[str, nn.Module]] = {"network": {"network": generator}}
        if config.critic_weight:
            groups["critic"] = {"critic": PatchDiscriminator(3, _CRITIC_WIDTH)}
        Variant.__init__(self, config, generator, groups)
        self._network = generator
        self._encoder = generator.encoder
        self._memory = None

    def optimizer(self, group: str, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        if group == "critic":
            return torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999), fused=True)
        return super().optimizer(group, parameters)

    def step(self, training: Training, ink: Tensor, target: Tensor) -> dict[str, Tensor]:
        assert training.chapters is not None
        shown = draw_shown(training.chapters, self.config.alone)
        seen_as = recolored(target, training.chapters)
        shown, misled = mislead(shown, self.pages_per_chapter, self.config.strangers)
        told = shown.any(dim=1) & ~misled
        truth = torch.where(told[:, None, None, None], seen_as, target)  # nobody tells the others a turned hue
        hints = draw_hints(truth, self.config.hinted)
        small, small_ink = F.avg_pool2d(truth, 2), F.avg_pool2d(ink, 2)
        weights = self._weights(small) * (1 + _HINT_WEIGHT * F.avg_pool2d(hints[:, :1], 2)[:, 0])
        judged = bool(self.config.critic_weight) and training.progress >= 0.5
        losses: dict[str, Tensor] = {}
        with training.gradients_of("network"):
            answer = training.call("network", ink, seen_as, shown, hints)
            loss = self._loss(answer, small, weights, losses)
            chroma = self._network.chroma(answer) if judged else answer
            if judged:
                with training.frozen("critic"):
                    fooled = lsgan_loss(training.call("critic", torch.cat([small_ink, chroma], 1)), real=True)
                loss = loss + self.config.critic_weight * fooled
                losses["fooled"] = fooled
            training.backward(loss)
        training.advance("network")
        if judged:
            losses["critic"] = self._judge(training, small_ink, chroma.detach(), small)
        return losses

    def _loss(self, answer: Tensor, truth: Tensor, weights: Tensor, losses: dict[str, Tensor]) -> Tensor:
        """The sum of the losses of an answer; each is put into `losses` by its name.

        truth: (B, 2, h, w).
        weights: (B, h, w).
        """
        config, network = self.config, self._network
        parts = []
        if config.bins:
            losses["bins"] = soft_cross_entropy(answer, *network.table.labels(truth), weights)
            parts.append(losses["bins"])
        if not config.bins or config.regression_weight:
            off = (network.chroma(answer).float() - truth) * AB_RANGE
            distance = F.smooth_l1_loss(off, torch.zeros_like(off), beta=_SMALL, reduction="none").mean(1)
            losses["chroma"] = (distance * weights).mean()
            parts.append((config.regression_weight if config.bins else 1.0) * losses["chroma"])
        return torch.stack(parts).sum()

    def _weights(self, truth: Tensor) -> Tensor:
        """(B, h, w) of mean about 1: what a pixel of this colour (B, 2, h, w) weighs."""
        network = self._network
        if not self.config.rare:
            return torch.ones_like(truth[:, 0])
        nearest = network.table.labels(truth)[0][:, 0]
        network.counts += torch.bincount(nearest.flatten(), minlength=len(network.counts))
        share = network.counts / network.counts.sum()
        weight = rebalancing(network.counts, network.table.bins.centres) ** self.config.rare
        return (weight / (share * weight).sum())[nearest]

    def _judge(self, training: Training, ink: Tensor, chroma: Tensor, truth: Tensor) -> Tensor:
        """A step of the critic, on chroma as coloured and on the truth (B, 2, h, w). Returns its loss."""
        with training.gradients_of("critic"):
            fake = lsgan_loss(training.call("critic", torch.cat([ink, chroma], 1)), real=False)
            real = lsgan_loss(training.call("critic", torch.cat([ink, truth], 1)), real=True)
            loss = (fake + real) / 2
            training.backward(loss)
        training.advance("critic")
        return loss
