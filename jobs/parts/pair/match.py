"""Finds the page of each colour picture: candidates by a search and by the order of pictures, then fits."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from imaging.matching import Fit
from jobs.parts.pair.assign import assign, expected_pages
from jobs.parts.pair.fits import FitTask, find_fits
from jobs.parts.pair.page_features import Found, Kept, find_group
from jobs.parts.pair.pictures import PictureGroup
from jobs.parts.pair.runners import Runner
from jobs.parts.pair.search import make_index, search_all
from jobs.parts.runtime.progress import Meter
from jobs.parts.source.failure import Failure

log = logging.getLogger("mangahue")
Fits = dict[int, list[tuple[int, Fit]]]
Candidates = dict[int, list[tuple[int, bool]]]  # of each picture the pages, and whether it is seen in a mirror

_TASK_PICTURES = 8


@dataclass(frozen=True)
class Edition:
    """The pictures of an edition that could be read, in order.

    groups: its pictures as they are read.
    numbers: of each picture its group, its number in the group, and its row in the group's file of features.
    kept: of each picture where its features are.
    sizes: (width, height) of each picture.
    failures: of the others.
    """

    groups: Sequence[PictureGroup]
    numbers: Sequence[tuple[int, int]]
    kept: Sequence[Kept]
    sizes: Sequence[tuple[int, int]]
    failures: Sequence[Failure]

    def name(self, picture: int) -> str:
        """The name of a picture: its chapter's and its own."""
        group, number = self.numbers[picture]
        return self.groups[group].name(number)


def look(runner: Runner, groups: Sequence[PictureGroup], out: str, verb: str) -> Edition:
    """Find the features of all pictures of an edition, or take up those that are there."""
    founds: list[Found] = []
    with Meter(verb, sum(len(group.members) for group in groups), unit="pages") as meter:
        for found in runner.map(partial(find_group, out=out), groups):
            meter.advance(len(groups[len(founds)].members), len(groups[len(founds)].members))
            founds.append(found)
    return Edition(
        groups,
        [(i, number) for i, found in enumerate(founds) for number in found.numbers],
        [(found.key, row) for found in founds for row in range(len(found.numbers))],
        [size for found in founds for size in found.sizes],
        [failure for found in founds for failure in found.failures],
    )


def match(runner: Runner, color: Edition, gray: Edition, out: str, sure: float) -> Fits:
    """Lay each picture on the pages that it may come from. Returns the fits that were found.

    sure: the confidence from which on a picture is not looked for any further. All others are looked for in the mirror
        too, and on the pages where the pictures around them let them be expected.
    """
    if not color.kept or not gray.kept:
        return {i: [] for i in range(len(color.kept))}
    index = make_index(runner, gray.kept, out)
    found = search_all(runner, index, color.kept)
    first: Candidates = {i: [(j, False) for j in pages] for i, pages in enumerate(found)}
    with Meter("pair", len(color.kept), unit="pages") as meter:
        fits = _fit(runner, color, gray, out, first, meter)
    placed = _placed(fits, color, gray, sure)
    left = [i for i in range(len(color.kept)) if i not in placed]
    log.info("%d of %d pictures have a sure page; the others are looked for further", len(placed), len(color.kept))
    in_mirror = search_all(runner, index, [color.kept[i] for i in left], mirrored=True)
    second: Candidates = {i: [(j, True) for j in pages] for i, pages in zip(left, in_mirror, strict=True)}
    order = sorted((i, j) for i, (j, _) in placed.items())
    mirrored = sum(mirror for _, mirror in placed.values()) > len(placed) / 2
    for i in left:
        tried = {*first[i], *second[i]}
        expected = ((j, mirrored) for j in expected_pages(i, order, len(gray.kept)))
        second[i] += [candidate for candidate in expected if candidate not in tried]
    with Meter("pair further", len(left), unit="pages") as meter:
        for i, more in _fit(runner, color, gray, out, second, meter).items():
            fits[i] += more
    return fits


def _placed(fits: Fits, color: Edition, gray: Edition, sure: float) -> dict[int, tuple[int, bool]]:
    matches, _ = assign(fits, color.sizes, gray.sizes, {})
    return {one.color: (one.gray, one.fit.mirrored) for one in matches if one.confidence >= sure}


def _fit(runner: Runner, color: Edition, gray: Edition, out: str, candidates: Candidates, meter: Meter) -> Fits:
    pictures = list(candidates)
    parts = [pictures[i : i + _TASK_PICTURES] for i in range(0, len(pictures), _TASK_PICTURES)]
    tasks = [
        FitTask(
            out,
            tuple((color.kept[i], tuple((gray.kept[j], mirrored) for j, mirrored in candidates[i])) for i in part),
        )
        for part in parts
    ]
    fits: Fits = {}
    for part, found in zip(parts, runner.map(find_fits, tasks), strict=True):
        for i, row in zip(part, found, strict=True):
            pages = (j for j, _ in candidates[i])
            fits[i] = [(j, one) for j, one in zip(pages, row, strict=True) if one is not None]
        meter.advance(len(part), len(part))
    return fits
