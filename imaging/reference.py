"""Chroma taken from coloured pages of a series, without any training.

h, w: pixels of a chroma map.

A reference is built once, from a few coloured pages of the chapter, and takes less than a kilobyte.

    reference = build_reference([ReferencePage(gray, chroma, predicted)])
    chroma = transfer(reference, other_gray, other_predicted)

Where a network has predicted the coloured pages too, its error on them is known. That error is fitted as a function of
the ink's lightness and of the predicted chroma, and is taken off other pages. Beside it the reference keeps a plain
table of chroma by lightness. Matching of textures, of patches and of a network's own features was tried, and gave no
more than these two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imaging.color import F32, U8, lightness_of_level

_LEVELS = 32  # gray levels of the table
_SOFT = 1.5  # sigma over which neighbouring levels are mixed, in levels of the table
_RARE = 1e-4  # share of the pixels below which a level takes its neighbours' colour
_KNOTS = 6  # tent functions over lightness that the error is fitted with
_UNIT = 50.0  # ab that predicted chroma is divided by, so that it is about 1
_RIDGE = 0.025  # relative to the number of pixels: holds the error's coefficients near 0

# Chosen on ep06, ep08, ep12, ep13, ep15, ep18 and ep20; the optimum is flat.
TAKEN_BACK = 0.3  # share of the network's error
TABLE_SHARE = 0.2  # share of the table in the result


@dataclass(frozen=True)
class ReferencePage:
    """A coloured page.

    gray: (h, w) ink levels.
    chroma: (h, w, 2) ab as it should be.
    predicted: (h, w, 2) ab that the network predicts for it; None without a network.
    """

    gray: U8
    chroma: F32
    predicted: F32 | None = None


@dataclass(frozen=True)
class Reference:
    """What the coloured pages of a chapter say about its colours.

    table: (32, 2) ab by gray level, dark to light.
    error: (8, 2) coefficients of the network's error, truth less prediction; None without a network.
    """

    table: F32
    error: F32 | None


def build_reference(pages: Sequence[ReferencePage]) -> Reference:
    """Build a reference from coloured pages.

    Raises ValueError without pages, and where only some of them have a prediction.
    """
    if not pages:
        raise ValueError("a reference needs at least one coloured page")
    known = [page.predicted is not None for page in pages]
    if any(known) and not all(known):
        raise ValueError("give the network's prediction for all coloured pages, or for none")
    return Reference(_table(pages), _error(pages) if all(known) else None)


def transfer(
    reference: Reference,
    gray: U8,
    predicted: F32 | None = None,
    *,
    taken_back: float = TAKEN_BACK,
    table_share: float = TABLE_SHARE,
) -> F32:
    """Return the chroma (h, w, 2) of a page after the reference.

    reference: what `build_reference` made of the coloured pages.
    gray: (h, w) ink levels.
    predicted: (h, w, 2) ab, predicted by the network that the reference was built with; None for the table alone.
    taken_back: share of the network's known error that is corrected.
    table_share: share of the reference's table in the result; the rest is the corrected prediction.

    Raises ValueError where a prediction is given and the reference was built without one.
    """
    by_table: F32 = reference.table[gray // (256 // _LEVELS)]
    if predicted is None:
        return by_table
    if reference.error is None:
        raise ValueError("the reference was made without a network's prediction: it knows no error of it")
    off = (_basis(gray, predicted) @ reference.error).reshape(predicted.shape)
    corrected = predicted + np.float32(taken_back) * off
    return (corrected + np.float32(table_share) * (by_table - corrected)).astype(np.float32)


def _table(pages: Sequence[ReferencePage]) -> F32:
    """Return (32, 2) mean ab by gray level; a rare level takes the colour of its neighbours."""
    level = np.concatenate([page.gray.ravel() for page in pages]) // (256 // _LEVELS)
    chroma = np.concatenate([page.chroma.reshape(-1, 2) for page in pages])
    share = np.bincount(level, minlength=_LEVELS) / len(level)
    sums = np.stack([np.bincount(level, column, _LEVELS) / len(level) for column in chroma.T], axis=1)
    near = np.exp(-((np.subtract.outer(np.arange(_LEVELS), np.arange(_LEVELS)) / _SOFT) ** 2) / 2)
    table = (near @ sums) / np.maximum(near @ share, 1e-12)[:, None]
    seen = np.flatnonzero(share >= min(_RARE, share.max()))
    return np.stack([np.interp(np.arange(_LEVELS), seen, table[seen, c]) for c in (0, 1)], axis=1).astype(np.float32)


def _error(pages: Sequence[ReferencePage]) -> F32:
    """Return the (8, 2) coefficients of a ridge regression of truth less prediction."""
    square, product, pixels = np.zeros((_KNOTS + 2,) * 2), np.zeros((_KNOTS + 2, 2)), 0
    for page in pages:
        assert page.predicted is not None
        basis = _basis(page.gray, page.predicted).astype(np.float64)
        square += basis.T @ basis
        product += basis.T @ (page.chroma - page.predicted).reshape(-1, 2)
        pixels += len(basis)
    return np.linalg.solve(square / pixels + _RIDGE * np.eye(len(square)), product / pixels).astype(np.float32)


def _basis(gray: U8, predicted: F32) -> F32:
    """Return (h * w, 8): tent functions of lightness, which add up to 1, and the predicted chroma."""
    knots = np.arange(_KNOTS, dtype=np.float32)
    tents = np.maximum(0, 1 - np.abs(lightness_of_level()[:, None] * np.float32((_KNOTS - 1) / 100) - knots))
    return np.concatenate([tents[gray.ravel()], predicted.reshape(-1, 2) / np.float32(_UNIT)], axis=1)
