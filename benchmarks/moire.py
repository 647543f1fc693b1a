"""Moire: colour that follows a page's screen dots instead of what is drawn.

h, w: pixels of a chroma map. H, W: pixels of the page.
"""

import cv2
import numpy as np

from imaging.color import F32, U8
from imaging.descreen import descreen

_WINDOW, _STEP = 16, 8  # pixels of the map
_LEAST_RADIUS = 1.5  # cycles per window: a wave longer than 10 pixels of the map is no beat
_PEAK = 0.25  # share of a window's strongest beat above which a wave counts as a beat
_LEAST_BEAT, _MOST_DRAWN = 1.0, 4.0  # levels rms of a window's beats, and of lines and borders beside them


def moire(chroma: F32, gray: U8) -> float:
    """How much of a page's chroma is moire: rms, in CIELAB units; 0 on a page without screens.

    chroma: (h, w, 2) ab as predicted.
    gray: (H, W) the page at full size, with its screens.

    The page is scaled down with its screens and without them (`descreen`); the difference is the beats. In windows of
    16 x 16 pixels of the map, the waves of the beats are picked out. Moire is the energy of chroma at just these waves,
    less the mean energy of chroma at other waves of the same length. So smooth colour and noise count nothing, and the
    phase does not matter.
    Windows are left out where the beats have less than one level, and where lines or borders are, since colours may
    change there. The true colours of drawn pages give 0 to 2, because they have detail as fine as the beats.
    """
    if min(chroma.shape[:2]) < _WINDOW:
        return 0.0
    with_screens, without = (
        cv2.resize(page, chroma.shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        for page in (gray, descreen(gray))
    )
    beats = _energies(with_screens - without)
    drawn = _energies(without).sum(axis=(1, 2))
    seen = (beats.sum(axis=(1, 2)) > _LEAST_BEAT**2) & (drawn < _MOST_DRAWN**2)
    if not seen.any():
        return 0.0
    beats = beats[seen]
    color = sum(_energies(np.ascontiguousarray(chroma[..., channel]))[seen] for channel in range(2))
    peaks = beats > _PEAK * beats.max(axis=(1, 2), keepdims=True)
    excess = np.zeros(len(beats))
    radius = np.round(_radius()).astype(int)
    for ring in range(1, radius.max() + 1):  # waves of about one length
        on, off = peaks & (radius == ring), ~peaks & (radius == ring)
        usual = (color * off).sum(axis=(1, 2)) / np.maximum(off.sum(axis=(1, 2)), 1)
        excess += ((color - usual[:, None, None]) * on).sum(axis=(1, 2))
    return float(np.sqrt(max(excess.mean(), 0.0)))


def _radius() -> F32:
    bins = np.fft.fftfreq(_WINDOW, 1 / _WINDOW)
    return np.hypot(bins[:, None], bins).astype(np.float32)


def _energies(picture: F32) -> F32:
    """(N, 16, 16) mean square of each wave in windows of a picture; 0 for waves that are too long for beats."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, (_WINDOW, _WINDOW))[::_STEP, ::_STEP]
    taper = np.outer(np.hanning(_WINDOW), np.hanning(_WINDOW))
    level = windows.reshape(-1, _WINDOW, _WINDOW).astype(np.float64)
    level -= level.mean(axis=(1, 2), keepdims=True)
    wave = np.fft.fft2(level * taper)
    energy = np.abs(wave) ** 2 / (_WINDOW**2 * (taper**2).sum())
    return np.where(_radius() >= _LEAST_RADIUS, energy, 0).astype(np.float32)
