"""Fits an exemplar to coloured pages of one series, as far as a page that it was not fitted to gains by it.

R pages in colour; S side of the square. Ink (R, 1, S, S) and chroma (R, 2, S, S) in [-1, 1].

The decoder alone learns: the encoder knows how to see, and a few pages would spoil it. Half of what it has learnt is
often better than all (Wortsman et al. 2022, arXiv 2109.01903): so weights before and after are mixed, and pages held
out say how.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.exemplar import Exemplar

SHARES = (0.0, 0.25, 0.5, 0.75)  # of what was learnt
_HELD_OUT = 4  # one page of so many
_SQUARES = 3  # of a step
_SIDE = 2 / 3  # of a square, of S
_LEAST_PART = 0.5  # of a page's side, that a square shows
_LIGHT = (0.1, 0.08)  # most by which ink is contrasted and shifted
_RATE = 2e-4
_WARM = 5  # steps until the rate is full; it falls to nothing at the end
_ALONE = 0.3  # share of the squares that see no other page


def adapt(
    variant: Exemplar,
    ink: Tensor,
    target: Tensor,
    steps: int,
    seed: int = 0,
    each: Callable[[], object] = lambda: None,
) -> tuple[dict[str, Tensor], float]:
    """Fit a network to pages. The network itself stays as it was.

    each: called after each step; there are `steps`, and as many again where a page held out gains.

    Raises ValueError for fewer than two pages: one is held out.
    Returns the tensors that changed, by name, and the share of what was learnt that they hold: none and 0 where no page
    held out is any better.
    """
    if len(ink) < 2:
        raise ValueError(f"{len(ink)} pages to adapt to: at least two are needed, as one is held out")
    generator = variant.trained_generator()
    before = _copied(generator.state_dict())
    numbers = torch.arange(len(ink))
    held = numbers % _HELD_OUT == min(_HELD_OUT, len(ink)) - 1
    try:
        learnt = _learn(variant, ink[~held], target[~held], steps, seed, each)
        errors = {}
        for share in SHARES:
            generator.load_state_dict({**before, **_mixed(before, learnt, share)})
            errors[share] = _error(variant, (ink[~held], target[~held]), (ink[held], target[held]))
        best = min(SHARES, key=lambda share: errors[share])
        if not best:
            return {}, 0.0
        generator.load_state_dict(before)
        return _mixed(before, _learn(variant, ink, target, steps, seed, each), best), best
    finally:
        generator.load_state_dict(before)
        variant.look_at(ink[:0], target[:0])


def _learn(
    variant: Exemplar, ink: Tensor, target: Tensor, steps: int, seed: int, each: Callable[[], object]
) -> dict[str, Tensor]:
    """The decoder's weights after `steps` steps, by name. All chance is the CPU's, and the seed's."""
    network: Any = variant.trained_generator()
    learning = {name: value for name, value in network.named_parameters() if name.startswith(("ups.", "paint."))}
    optimizer = torch.optim.AdamW(learning.values(), lr=_RATE, betas=(0.9, 0.99), weight_decay=1e-2)
    network.requires_grad_(False).train()
    for value in learning.values():
        value.requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = _RATE * min(1.0, (step + 1) / _WARM) * (1 - step / steps)
            pages = torch.arange(_SQUARES) % len(ink) if len(ink) < _SQUARES else torch.randperm(len(ink))[:_SQUARES]
            views = [_view(ink[page], target[page]) for page in pages.tolist()]
            seen, truth = (torch.stack([view[part] for view in views]) for part in (0, 1))
            others = (pages[:, None] != pages) & (torch.rand(len(pages), 1) >= _ALONE)
            logits = network(seen, truth, others.to(seen.device))
            truth = F.avg_pool2d(truth, 2)
            losses = variant.losses(logits, truth, variant.rarity(truth))
            optimizer.zero_grad()
            (losses["bins"] + variant.config.regression_weight * losses["chroma"]).backward()
            optimizer.step()
            each()
    network.requires_grad_(True).eval()
    return _copied({name: value.detach() for name, value in learning.items()})


def _view(ink: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """A part of a page, at a size of its own, perhaps mirrored, lighter or darker: (1, s, s) and (2, s, s)."""
    whole = ink.shape[-1]
    side = max(32, int(whole * _SIDE) // 32 * 32)
    share, y, x, flip, contrast, shift = torch.rand(6).tolist()
    part = round(whole * (_LEAST_PART + (1 - _LEAST_PART) * share))
    top, left = round(y * (whole - part)), round(x * (whole - part))
    both = torch.cat([ink, target])[None, :, top : top + part, left : left + part]
    small = F.interpolate(both, (side, side), mode="bilinear", antialias=True)[0]
    if flip < 0.5:
        small = small.flip(-1)
    light = small[:1] * (1 + _LIGHT[0] * (2 * contrast - 1)) + _LIGHT[1] * (2 * shift - 1)
    return light.clamp(-1, 1), small[1:]


def _error(variant: Exemplar, shown: tuple[Tensor, Tensor], asked: tuple[Tensor, Tensor]) -> float:
    """The mean distance in chroma of pages that are coloured with others in sight."""
    variant.look_at(*shown)
    pages = zip(asked[0].split(1), asked[1].split(1), strict=True)
    return sum(float((variant.predict(ink).to(target) - target).norm(dim=1).mean()) for ink, target in pages)


def _mixed(before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    return {name: before[name] + share * (value - before[name]) for name, value in after.items()}


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}
