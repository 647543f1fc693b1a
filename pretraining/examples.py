"""Training examples, made of a pack while the network trains.

S: side of the square the network sees. G: pages of one story in a row; all pages of a batch are of groups of G.

A batch depends on its seed and number alone. No picture appears on two pages of a group: a page shown to another one
never tells that page its own colours.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from imaging.color import U8, to_lab
from imaging.target import AB_RANGE
from pretraining.composed import compose_page, crop_to, letter_over
from pretraining.gray import Printing, draw_printing, print_page
from pretraining.pack import GENERATED, Pack
from pretraining.sources import STORYBOOKS

# How often a group is of a series, so that the many storybooks do not teach one skin and one savanna alone.
SHARES = {STORYBOOKS: 0.56, "peppercarrot": 0.17, "peppercarrot-art": 0.09, "climate-frogs": 0.04, "page-blanche": 0.02,
          GENERATED: 0.12}  # fmt: skip
_COMPOSED = 0.45  # of the pages of single scenes
_WHOLE = 0.5  # of the pages are seen whole, squeezed to the square; of the others a part of its own shape
_LEAST_PART = 0.35  # of the largest
_LONGEST = 2.2  # S: gray is made of a page no larger than that
_FLIPPED = 0.5  # of the groups


@dataclass(frozen=True)
class Page:
    """A page of a batch: the numbers of its pictures, (S, S) levels and (S, S, 3) sRGB."""

    numbers: tuple[int, ...]
    gray: U8
    rgb: U8


class Sampler:
    """Chooses groups: a series by its share, then an artist by the root of their pictures, then a story."""

    def __init__(self, pack: Pack, group: int, without: Collection[str] = ()) -> None:
        """without: stories that are left out."""
        self.group = group
        stories: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for number, picture in enumerate(pack.pictures):
            if picture.story in without:
                continue
            stories[picture.series, picture.artist, picture.story].append(number)
        self._stories: dict[str, dict[str, list[list[int]]]] = {}
        for (series, artist, _), numbers in stories.items():
            if len(numbers) >= group:
                self._stories.setdefault(series, {}).setdefault(artist, []).append(numbers)

    def draw(self, rng: np.random.Generator) -> tuple[str, list[list[int]]]:
        """Return the series, and the pictures of each page: all of one story, each on one page only."""
        names = [name for name in SHARES if name in self._stories]
        shares = np.array([SHARES[name] for name in names])
        series = str(rng.choice(names, p=shares / shares.sum()))
        artists = self._stories[series]
        weights = np.array([sum(map(len, numbers)) for numbers in artists.values()]) ** 0.5
        chosen = list(artists)[int(rng.choice(len(artists), p=weights / weights.sum()))]
        stories = artists[chosen]
        numbers = rng.permutation(stories[int(rng.integers(len(stories)))])
        return series, [part.tolist() for part in np.array_split(numbers, self.group)]


def draw_group(pack: Pack, sampler: Sampler, side: int, rng: np.random.Generator) -> list[Page]:
    """Draw the pages of a group, printed in one way."""
    series, parts = sampler.draw(rng)
    printing = draw_printing(rng)
    flipped = bool(rng.random() < _FLIPPED)
    return [_draw_page(pack, series, numbers, printing, flipped, side, rng) for numbers in parts]


def draw_batch(
    pack: Pack, sampler: Sampler, size: int, sides: Sequence[int], seed: int, number: int
) -> dict[str, Tensor]:
    """Draw batch `number`: gray (B, 1, S, S) uint8, ab (B, 2, S, S) int8, and group (B,).

    size: how many squares of the first side have the pixels of the batch; B is of whole groups.
    sides: one of them is S.
    """
    rng = np.random.default_rng([seed, number])
    side = int(rng.choice(sides))
    size = sampler.group * max(1, round(size * (sides[0] / side) ** 2 / sampler.group))
    pages: list[Page] = []
    groups: list[int] = []
    while len(pages) < size:
        group = draw_group(pack, sampler, side, rng)
        groups += [len(pages)] * len(group)
        pages += group
    ab = np.stack([np.round(to_lab(page.rgb)[..., 1:]).astype(np.int8).transpose(2, 0, 1) for page in pages])
    gray = np.stack([page.gray for page in pages])[:, None]
    return {
        "gray": torch.from_numpy(gray),
        "ab": torch.from_numpy(ab),
        "group": torch.tensor(groups),
    }


def as_inputs(batch: dict[str, Tensor], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return ink (B, 1, S, S) and target (B, 2, S, S) in [-1, 1], and group (B,), on a device."""
    gray, ab = (batch[name].to(device, non_blocking=True).float() for name in ("gray", "ab"))
    return gray / 127.5 - 1, ab / AB_RANGE, batch["group"].to(device, non_blocking=True)


class Batches(torch.utils.data.Dataset[dict[str, Tensor]]):
    """The batches of a training by their number, for a DataLoader that makes them ahead in other processes.

    It is small when it is sent to one: each process reads the pack from its file. A large one keeps the processes from
    starting side by side: each is read to its end before the next one begins.
    """

    def __init__(
        self, pack: Path, *, size: int, sides: Sequence[int], group: int, seed: int, without: Collection[str] = ()
    ) -> None:
        self._path, self._size, self._sides, self._group, self._seed = pack, size, tuple(sides), group, seed
        self._without = frozenset(without)
        self._read: tuple[Pack, Sampler] | None = None

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        if self._read is None:
            pack = Pack(self._path)
            self._read = pack, Sampler(pack, self._group, self._without)
        return draw_batch(*self._read, self._size, self._sides, self._seed, number)


def _draw_page(
    pack: Pack,
    series: str,
    numbers: list[int],
    printing: Printing,
    flipped: bool,
    side: int,
    rng: np.random.Generator,
) -> Page:
    if series == STORYBOOKS and rng.random() < _COMPOSED:
        used = numbers[:6]
        page = compose_page([pack[number] for number in used], rng)
    else:
        used = numbers[:1]
        page = pack[used[0]]
        if series == STORYBOOKS and rng.random() < 0.3:
            page = letter_over(page, rng, rng.uniform(9, 16))
    if rng.random() >= _WHOLE:
        page = crop_to(page, float(np.exp(rng.normal(0, 0.12))), rng, least=_LEAST_PART)
    page = _at_most(page, round(_LONGEST * side))
    if flipped:
        page = np.ascontiguousarray(page[:, ::-1])
    gray = print_page(page, printing, rng)
    return Page(tuple(used), _square(gray, side), _square(page, side))


def _at_most(page: U8, longest: int) -> U8:
    scale = longest / max(page.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(page)
    small: U8 = cv2.resize(page, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return small


def _square(picture: U8, side: int) -> U8:
    smaller = min(picture.shape[:2]) >= side
    out: U8 = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return out
