"""Gives each colour picture its page, once for each part of it, and says how sure that is."""

import math
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imaging.confidence import confidence
from imaging.matching import Fit, corners, moved
from imaging.registration import LEAST_SIDE, common_box

Box = tuple[int, int, int, int]
Size = tuple[int, int]

_SAME = 0.5  # of the smaller of two areas: from here on they are one
_APART = 0.2  # of the smaller of two parts of a picture: up to here each may have a page of its own
_WIDE = 3  # pages before and after the one that is expected


@dataclass(frozen=True)
class Match:
    """A colour picture, or a part of it, on its page.

    color, gray: numbers of the picture and of the page.
    box: the common area on the page: left, top, right, bottom.
    confidence: in [0, 1]; 1 where it was decided in a review.
    second: the edge overlap of the next page that the part may come from; 0 for none.
    decided: whether a person said so.
    """

    color: int
    gray: int
    fit: Fit
    box: Box
    confidence: float
    second: float
    decided: bool = False


@dataclass(frozen=True)
class _Laid:
    color: int
    gray: int
    fit: Fit
    box: Box  # on the page
    part: Box  # of the picture
    decided: bool

    @property
    def strength(self) -> float:
        return math.log(1 + self.fit.inliers) * max(self.fit.overlap, 0.0)


def assign(
    fits: Mapping[int, Sequence[tuple[int, Fit]]],
    color_sizes: Sequence[Size],
    gray_sizes: Sequence[Size],
    decisions: Mapping[tuple[int, int], bool],
) -> tuple[list[Match], dict[int, str]]:
    """Return the matches, the surest first, and why each picture that has none has none.

    fits: of each picture, on the pages that it may come from.
    color_sizes, gray_sizes: (W, H) of each picture and page.
    decisions: whether a picture and a page are a pair, where a person has said so.

    Of two pictures that lie on one area of a page, the one that fits better has it.
    """
    laid: list[_Laid] = []
    for color, found in fits.items():
        for gray, fit in found:
            if decisions.get((color, gray), True):
                box = common_box(color_sizes[color], gray_sizes[gray], fit.homography)
                part = _part(color_sizes[color], gray_sizes[gray], fit)
                if min(box[2] - box[0], box[3] - box[1]) < LEAST_SIDE:
                    continue
                laid.append(_Laid(color, gray, fit, box, part, decisions.get((color, gray), False)))
    laid.sort(key=lambda one: (not one.decided, -one.strength, one.color, one.gray))
    of_color: dict[int, list[_Laid]] = {}
    of_gray: dict[int, list[_Laid]] = {}
    why: dict[int, str] = {}
    for one in laid:
        if any(_shared(one.part, other.part) > _APART for other in of_color.get(one.color, ())):
            continue
        if any(_same(one.box, other.box) for other in of_gray.get(one.gray, ())):
            why.setdefault(one.color, "another picture fits its page better")
            continue
        of_color.setdefault(one.color, []).append(one)
        of_gray.setdefault(one.gray, []).append(one)
    rivals: dict[int, list[_Laid]] = {}
    for one in laid:
        rivals.setdefault(one.color, []).append(one)
    matches = [_match(one, rivals[one.color]) for kept in of_color.values() for one in kept]
    for color in fits:
        if color not in of_color:
            why.setdefault(color, "no page has lines in common with it")
    return sorted(matches, key=lambda match: -match.confidence), {i: why[i] for i in fits if i not in of_color}


def expected_pages(color: int, placed: Sequence[tuple[int, int]], pages: int) -> list[int]:
    """Return the pages on which a picture is to be expected by the order of those around it.

    placed: (picture, page) of sure matches, in the order of pictures.
    pages: how many there are.
    """
    at = bisect(placed, (color,))
    centres = [gray + color - other for other, gray in placed[max(0, at - 1) : at + 1]]
    return sorted(
        {page for centre in centres for page in range(centre - _WIDE, centre + _WIDE + 1) if 0 <= page < pages}
    )


def _match(one: _Laid, rivals: Sequence[_Laid]) -> Match:
    second = max(
        (other.fit.overlap for other in rivals if other.gray != one.gray and _shared(one.part, other.part) > _SAME),
        default=0.0,
    )
    sure = 1.0 if one.decided else confidence(one.fit, second)
    return Match(one.color, one.gray, one.fit, one.box, sure, second, one.decided)


def _part(color: Size, gray: Size, fit: Fit) -> Box:
    """Return the part of a picture that lies on the page: left, top, right, bottom, in its own pixels."""
    quad = moved(corners(gray), np.linalg.inv(fit.homography).astype(np.float64))
    low, high = quad.min(axis=0).clip(0, color), quad.max(axis=0).clip(0, color)
    return round(low[0]), round(low[1]), round(high[0]), round(high[1])


def _area(box: Box) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def _common(one: Box, other: Box) -> int:
    return _area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))


def _shared(one: Box, other: Box) -> float:
    """Return the area in common as a share of the smaller one."""
    return _common(one, other) / max(1, min(_area(one), _area(other)))


def _same(one: Box, other: Box) -> bool:
    """Return whether two areas are about one: a part may be cut out of a page that has a picture of its own."""
    common = _common(one, other)
    return common > _SAME * (_area(one) + _area(other) - common)
