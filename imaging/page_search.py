"""Finds, among thousands of pages, the few that a picture may come from: by local features that agree on a position.

N: features of a picture.
T: terms of a vocabulary.
M: features of all pages of an index.
P: pages of an index.

A term stands for local features that look alike (Sivic and Zisserman 2003), and a signature of 128 bits tells those of
one term apart (Jegou, Douze and Schmid 2008). Each feature of a picture that meets one of a page says at what scale and
where on that page the picture would lie. The pages on which most agree come first. A feature counts once for a page,
and less where it meets many: dots of screens look alike everywhere (burstiness, Jegou, Douze and Schmid 2009).
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.color import F32, U8
from imaging.local_features import Features

I64 = NDArray[np.int64]

SAMPLE = 64  # features of a page that a vocabulary is made from, at most
_MOST_TERMS = 16_384
_SAMPLED = 12  # features of the sample to a term
_ROUNDS = 3
_BATCH = 2048  # descriptors compared with a vocabulary at once
_NEAREST = 5  # terms of a feature that is searched for: it may lie at a border
_BITS = 28  # of 128 by which signatures of one thing differ, at most
_SCALE_STEP, _SCALES = 0.5, 12  # octaves to a bin, and bins
_STEP, _POSITIONS = 0.2, 7  # of the page's width or height to a bin, and bins; the first lies left of the page or above


def make_vocabulary(sample: U8, seed: int = 0) -> F32:
    """Return the centres (T, 128) of a vocabulary, by k-means from random centres.

    sample: (M, 128) descriptors of pages that will be searched.
    """
    count = max(1, min(_MOST_TERMS, len(sample) // _SAMPLED))
    chosen = np.random.default_rng(seed).choice(len(sample), min(count, len(sample)), replace=False)
    centres = sample[chosen].astype(np.float32) if len(sample) else np.zeros((1, 128), np.float32)
    for _ in range(_ROUNDS):
        nearest = find_terms(sample, centres, 1)[:, 0]
        order = np.argsort(nearest, kind="stable")
        held, starts = np.unique(nearest[order], return_index=True)
        if len(held):
            sums = np.add.reduceat(sample[order].astype(np.float32), starts, axis=0)
            centres[held] = sums / np.diff(np.append(starts, len(sample)))[:, None]
    return centres


def find_terms(descriptors: U8, vocabulary: F32, nearest: int) -> I64:
    """Return (N, nearest), the terms nearest to each descriptor in no order; fewer where there are fewer terms.

    vocabulary: (T, 128) from `make_vocabulary`.
    """
    nearest = min(nearest, len(vocabulary))
    found = np.zeros((len(descriptors), nearest), np.int64)
    half = 0.5 * (vocabulary**2).sum(axis=1)
    for start in range(0, len(descriptors), _BATCH):
        rows = slice(start, start + _BATCH)
        away = half - descriptors[rows].astype(np.float32) @ vocabulary.T
        if nearest == 1:
            found[rows, 0] = away.argmin(axis=1)
        else:
            found[rows] = np.argpartition(away, nearest - 1, axis=1)[:, :nearest]
    return found


@dataclass(frozen=True)
class PageIndex:
    """Pages to be found, or a part of them, as lists of features by term.

    first: the number of the first page; the others follow it.
    starts: (T + 1,), where the list of each term begins.
    pages: (M,) int32, the page of each feature, counted from the first.
    positions: (M, 2) float32, in [0, 1] of its width and height.
    scales: (M,) float32, log2 of pixels.
    signatures: (M, 2) uint64.
    sizes: (P, 2) float32, (W, H) of each page.
    """

    first: int
    starts: I64
    pages: NDArray[np.int32]
    positions: F32
    scales: F32
    signatures: NDArray[np.uint64]
    sizes: F32

    @classmethod
    def of(cls, pages: Iterable[Features], vocabulary: F32, first: int = 0) -> "PageIndex":
        """Make an index of pages; it takes about 35 bytes for each of their features.

        pages: read once, in order.
        vocabulary: (T, 128) from `make_vocabulary`, the same for all parts and for the search.
        """
        centre = vocabulary.mean(axis=0)
        rows: dict[str, list[NDArray]] = {"terms": [], "pages": [], "positions": [], "scales": [], "signatures": []}
        sizes = []
        for number, page in enumerate(pages):
            sizes.append(page.size)
            rows["terms"].append(find_terms(page.descriptors, vocabulary, 1)[:, 0].astype(np.uint16))
            rows["pages"].append(np.full(len(page.points), number, np.int32))
            rows["positions"].append(page.points / np.array(page.size, np.float32))
            rows["scales"].append(np.log2(np.maximum(page.scales, 1e-3)))
            rows["signatures"].append(sign(page.descriptors, centre))
        lists = {name: np.concatenate(parts) for name, parts in rows.items()}
        terms = lists.pop("terms")
        order = np.argsort(terms, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(terms, minlength=len(vocabulary)))])
        sorted_lists: dict[str, Any] = {name: values[order] for name, values in lists.items()}
        return cls(first, starts, **sorted_lists, sizes=np.array(sizes, np.float32))

    def to_bytes(self) -> bytes:
        """The index as a NumPy archive."""
        out = io.BytesIO()
        np.savez(out, **vars(self))
        return out.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "PageIndex":
        """The index that `to_bytes` has written."""
        with np.load(io.BytesIO(data)) as arrays:
            return cls(**{**arrays, "first": int(arrays["first"])})


def search(parts: Iterable[PageIndex], vocabulary: F32, pictures: Sequence[Features], most: int) -> list[I64]:
    """Return the pages that each picture may come from, the likeliest first, `most` at most.

    parts: all pages, in order; read once, one part at a time. However pages are parted, the result is the same.
    vocabulary: of the index.

    Only pages that share a feature with a picture are among its own.
    """
    asked = [_Asked(picture, vocabulary) for picture in pictures]
    for part in parts:
        for one in asked:
            one.meet(part)
    return [one.likeliest(most) for one in asked]


class _Asked:
    """A picture whose page is searched for, and the features of pages that it has met so far."""

    def __init__(self, picture: Features, vocabulary: F32) -> None:
        self._picture = picture
        self._terms = find_terms(picture.descriptors, vocabulary, _NEAREST)
        self._signatures = sign(picture.descriptors, vocabulary.mean(axis=0))
        self._meetings = np.zeros(len(picture.points), np.int64)  # of each feature, with all pages
        self._voting: list[I64] = []  # bin and feature that votes for it, each once: bin x features + feature
        self._met: list[I64] = []  # how many features of its page were met in each bin

    def meet(self, part: PageIndex) -> None:
        """Take up what the picture meets on these pages, which come after those before."""
        rows, asked = self._alike(part)
        bins, kept = self._bins(part, rows, asked)
        rows, asked, bins = rows[kept], asked[kept], bins[kept]
        count = len(self._meetings)
        self._meetings += np.bincount(asked, minlength=count)
        self._voting.append(np.unique(bins * count + asked))
        self._met.append(np.unique(np.unique(bins * len(part.pages) + rows) // len(part.pages), return_counts=True)[1])

    def likeliest(self, most: int) -> I64:
        """Return the pages with most votes in one bin, the likeliest first."""
        voting = np.concatenate([np.zeros(0, np.int64), *self._voting])
        if not len(voting):
            return voting
        count = len(self._meetings)
        held, starts, features = np.unique(voting // count, return_index=True, return_counts=True)
        rarity = 1 / np.sqrt(np.maximum(self._meetings, 1))
        votes = np.add.reduceat(rarity[voting % count], starts)
        met = np.concatenate(self._met)
        votes *= np.minimum(1, met / features)  # many features that all meet one thing are no better than that one
        pages = held // (_SCALES * _POSITIONS**2)
        found, starts = np.unique(pages, return_index=True)
        best = np.maximum.reduceat(votes, starts)
        return found[np.argsort(-best, kind="stable")[:most]]

    def _alike(self, part: PageIndex) -> tuple[I64, I64]:
        """Return the part's features that look like one of the picture's, and which of the picture's that is."""
        flat = self._terms.ravel()
        lengths = part.starts[flat + 1] - part.starts[flat]
        rows = np.repeat(part.starts[flat] - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
        asked = np.repeat(np.arange(len(flat)) // self._terms.shape[1], lengths)
        differ = np.zeros(1, np.uint8)
        for half in range(2):  # what differs too much in one half needs no look at the other
            differ = differ + np.bitwise_count(part.signatures[rows, half] ^ self._signatures[asked, half])
            alike = np.flatnonzero(differ < _BITS)
            rows, asked, differ = rows[alike], asked[alike], differ[alike]
        return rows, asked

    def _bins(self, part: PageIndex, rows: I64, asked: I64) -> tuple[I64, NDArray[np.bool_]]:
        """Return for each meeting the bin of page, scale and position that it speaks for, and whether there is one."""
        picture, pages = self._picture, part.pages[rows]
        octaves = np.floor((part.scales[rows] - np.log2(np.maximum(picture.scales, 1e-3))[asked]) / _SCALE_STEP)
        scale = 2 ** ((octaves + 0.5) * _SCALE_STEP)
        from_centre = picture.points[asked] - np.array(picture.size, np.float32) / 2
        centre = part.positions[rows] - from_centre * scale[:, None] / part.sizes[pages]
        position = np.floor(centre / _STEP).astype(np.int64) + 1
        octave = octaves.astype(np.int64) + _SCALES // 2
        kept = (octave >= 0) & (octave < _SCALES) & (position >= 0).all(axis=1) & (position < _POSITIONS).all(axis=1)
        numbers = pages.astype(np.int64) + part.first
        bins = ((numbers * _SCALES + octave) * _POSITIONS + position[:, 1]) * _POSITIONS + position[:, 0]
        return bins, kept


def sign(descriptors: U8, centre: F32) -> NDArray[np.uint64]:
    """Return signatures (N, 2): on which side of 128 planes through `centre` a descriptor lies."""
    sides = (descriptors.astype(np.float32) - centre) @ _planes() > 0
    return np.packbits(sides, axis=1).view(np.uint64)


@cache
def _planes() -> F32:
    return np.linalg.qr(np.random.default_rng(0).standard_normal((128, 128)))[0].astype(np.float32)
