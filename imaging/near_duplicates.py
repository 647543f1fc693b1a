"""Pages that are the same but for their size, compression, levels, or small print.

H, W: pixels.

Two pages are near-duplicates where their perceptual hashes differ in few bits, and where small pictures of both differ
by few levels as well, since a page that is nearly blank has a hash of chance. Pages in colour have about the same
colours too. docs/quality.md has measurements.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imaging.color import U8

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

_WAVES = 8  # of each side of the hash
_GRAY, _COLOR = 16, 8  # pixels of a side of the small pictures
_HASH_BYTES = _WAVES * _WAVES // 8
_BITS = 6  # in which the hashes of near-duplicates may differ
_BANDS = (10, 9, 9, 9, 9, 9, 9)  # bits of the parts of a hash, of which near-duplicates share one: six bits spoil six
_LEVELS = 8.0  # mean distance of the small gray pictures, their own means apart
_BRIGHTER = 24.0  # distance of these means
_COLOR_LEVELS = 16.0  # mean distance of the small colour pictures
_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


@dataclass(frozen=True)
class Look:
    """What a page looks like from afar, in some hundred bytes.

    hash: which of the longest waves of the gray levels are above their median, 64 bits (the "pHash").
    gray: (16, 16) levels.
    color: (8, 8, 3) sRGB; empty for a page without colours.
    """

    hash: bytes
    gray: bytes
    color: bytes

    def to_bytes(self) -> bytes:
        """Return it as bytes, for `from_bytes`."""
        return self.hash + self.gray + self.color

    @classmethod
    def from_bytes(cls, data: bytes) -> "Look":
        """Return what `to_bytes` was called on."""
        gray = _HASH_BYTES + _GRAY * _GRAY
        return cls(data[:_HASH_BYTES], data[_HASH_BYTES:gray], data[gray:])


def look_of(gray: U8, color: U8 | None) -> Look:
    """Return the look of a page.

    gray: (H, W) levels.
    color: (h, w, 3) sRGB, or None.
    """
    waves = cv2.dct(_small(gray, 4 * _WAVES).astype(np.float32))[:_WAVES, :_WAVES].ravel()
    above = np.packbits(waves > np.median(waves[1:]))
    return Look(
        above.tobytes(), _small(gray, _GRAY).tobytes(), b"" if color is None else _small(color, _COLOR).tobytes()
    )


def _small(page: U8, side: int) -> U8:
    return cv2.resize(page, (side, side), interpolation=cv2.INTER_AREA)


def near_duplicates(looks: Sequence[Look]) -> I64:
    """Return the pairs of near-duplicates, (N, 2) indices, the smaller one first, sorted.

    looks: of which no two are equal, since a thousand blank pages would make half a million pairs.
    """
    found = [np.empty((0, 2), np.int64)]
    hashes = np.frombuffer(b"".join(look.hash for look in looks), ">u8").astype(np.uint64)
    gray = np.frombuffer(b"".join(look.gray for look in looks), np.uint8).reshape(len(looks), _GRAY**2)
    gray = gray.astype(np.float32)
    level = gray.mean(axis=1)
    gray -= level[:, None]
    for one, other in _candidates(hashes):
        near = _ONES[(hashes[one] ^ hashes[other]).view(np.uint8).reshape(-1, 8)].sum(axis=1) <= _BITS
        near[near] = np.abs(level[one[near]] - level[other[near]]) <= _BRIGHTER
        near[near] = np.abs(gray[one[near]] - gray[other[near]]).mean(axis=1) <= _LEVELS
        pairs = np.sort(np.stack([one[near], other[near]], axis=1), axis=1)
        alike = [pair for pair in pairs.tolist() if _same_colors(looks[pair[0]].color, looks[pair[1]].color)]
        found.append(np.array(alike, np.int64).reshape(-1, 2))
    return np.unique(np.concatenate(found), axis=0)


def _candidates(hashes: U64) -> Iterator[tuple[I64, I64]]:
    """Yield pairs whose hashes share a band, at most one for each hash at a time."""
    shift = 0
    for bits in _BANDS:
        key = (hashes >> np.uint64(shift)) & np.uint64((1 << bits) - 1)
        shift += bits
        order = np.argsort(key, kind="stable")
        key = key[order]
        for step in range(1, len(order)):
            same = key[step:] == key[:-step]
            if not same.any():
                break
            yield order[:-step][same], order[step:][same]


def _same_colors(one: bytes, other: bytes) -> bool:
    if not one or not other:
        return True
    levels = [np.frombuffer(color, np.uint8).astype(np.float32) for color in (one, other)]
    return float(np.abs(levels[0] - levels[1]).mean()) <= _COLOR_LEVELS
