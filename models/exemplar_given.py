"""What a page of an exemplar training is given: other pages to look at, turned hues, hints. All chance is the CPU's.

B pages of a batch; S side of the square. Chroma (B, 2, S, S) in [-1, 1]. Hints (B, 3, S, S) as the network takes them.
"""

import math

import torch
from torch import Tensor

_TURNED = 0.3  # share of the chapters whose hues are turned, so that only what is given tells them
_LEAST_SHOWN = 0.3  # of a chapter's pages in the batch
_RADII = (1 / 256, 8 / 256)  # of hints, of S


def draw_shown(chapters: Tensor, alone: float) -> Tensor:
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


def draw_hints(target: Tensor, share: float) -> Tensor:
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


def mislead(shown: Tensor, chapters: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Show pages of another chapter to some of the pages that are shown any: such pages tell nothing.

    shown: (B, B) which pages see which others.
    chapters: (B,) equal numbers for pages of one chapter.

    Returns `shown`, and (B,) which pages see strangers.
    """
    others = chapters.unique()
    if len(others) < 2:
        return shown, torch.zeros(len(shown), dtype=torch.bool, device=shown.device)
    misled = (torch.rand(len(shown)) < share).to(shown.device) & shown.any(dim=1)
    following = others[(torch.searchsorted(others, chapters) + 1) % len(others)]
    strangers = following[:, None] == chapters
    return torch.where(misled[:, None], strangers, shown), misled
