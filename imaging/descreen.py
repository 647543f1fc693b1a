"""Screens smoothed to the grays they stand for, for the network's eye; published ink keeps them.

H, W: pixels of the page.
Gray levels are uint8.

A page that is resized to the network's square with its screens on shows beats between the screens and the square's
pixels (moire). So screens are found first, by the spectrum of small windows, and smoothed over about the distance of
their dots. A page without screens is not changed, except for a window now and then.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from imaging.color import F32, U8

_WINDOW, _STEP = 32, 16  # pixels: a window's side, and from one window to the next
_LEAST_RADIUS = 3.0  # cycles to a window, the least: screens of more than 10 pixels are found at half size
_BATCH = 64  # windows whose spectra fit into the processor's cache
_CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8)
_FLAT = 3.0  # levels: windows with a smaller mean distance from the local mean are skipped
_SOFT = 0.7  # long waves' energy to the squared mean distance from the local mean: screens have less
_CONTRAST = 8.0  # levels: the least amplitude of a screen's wave
_SPREAD = 0.42  # sigma to a screen's pitch: leaves 3 % of its wave
_WIDTHS = (1.3, 1.7, 2.3, 3.1, 4.2, 5.6)  # pixels: the sigmas in use
_STRUCTURE = (16.0, 32.0)  # levels that ink stands out of a smoothed screen: none is kept up to 16, all from 32


@dataclass(frozen=True)
class _Spectrum:
    """What the spectra of N windows say; each field is (N,).

    contrast: amplitude of the strongest wave, in levels.
    pitch: length of that wave, in pixels.
    prominence: energy of that wave over that of the wave twice as long. Lines and borders have more of the longer wave,
        and screens have none.
    share: share of that wave in the energy of all short waves.
    broad: share of the longer waves in all energy.
    """

    contrast: F32
    pitch: F32
    prominence: F32
    share: F32
    broad: F32


def network_view(gray: U8, size: int) -> U8:
    """Return what a network sees of a page: its screens smoothed, resized to a square.

    gray: (H, W) levels.
    size: side of the square, in pixels.

    Returns (size, size) levels. Training uses this function; colouring uses `for_network` and the views of
    imaging.views.
    """
    return squeezed(for_network(gray), size)


def network_pair(gray: U8, color: U8, size: int) -> tuple[U8, U8]:
    """Return a page and its true colours at the network's size.

    gray: (H, W) levels.
    color: (h, w, 3) sRGB.
    size: side of the square, in pixels.

    Returns the view (size, size), as `network_view` does, and the colours (size, size, 3).
    """
    return network_view(gray, size), squeezed(color, size)


def squeezed(picture: U8, size: int) -> U8:
    """Resize a picture (H, W, ...) to a square (size, size, ...), as pix2pix does with every page."""
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def for_network(gray: U8) -> U8:
    """Return a page as networks are to see it, before it is resized to a square: its screens smoothed.

    gray: (H, W) levels.

    A scan whose shorter side has 2000 pixels or more is made smaller by a whole factor first.
    """
    times = max(1, min(gray.shape) // 1000)  # so that a large scan's screens are found as easily as a small one's
    if times > 1:
        gray = cv2.resize(gray, None, fx=1 / times, fy=1 / times, interpolation=cv2.INTER_AREA)
    return descreen(gray)


def descreen(gray: U8) -> U8:
    """Smooth the screens of a page to even gray; lines and borders are kept.

    gray: (H, W) levels.

    Returns (H, W) levels. Screens of 2 to 12 pixels from dot to dot are smoothed. Hatching as regular as a screen is
    smoothed with it. A page with a side of less than 64 pixels comes back as it is.
    """
    height, width = gray.shape
    if min(height, width) < 2 * _WINDOW:
        return gray
    pitch = find_screens(gray)
    if not pitch.any():
        return gray
    number = np.where(pitch > 0, 1 + np.searchsorted(_WIDTHS[:-1], pitch * _SPREAD), 0).astype(np.uint8)
    chosen = cv2.resize(number, (width, height), interpolation=cv2.INTER_NEAREST)
    out = gray.copy()
    for choice, sigma in enumerate(_WIDTHS, 1):
        for part in _parts(number == choice, gray.shape):
            _smooth(gray, out, chosen, choice, sigma, part)
    return out


def _parts(cells: np.ndarray, shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Return the rows and columns of the page that hold these cells, region by region."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(cells.view(np.uint8), connectivity=8)
    boxes = stats[1:count, :4] * _STEP
    return [(slice(y, min(y + h, shape[0])), slice(x, min(x + w, shape[1]))) for x, y, w, h in boxes.tolist()]


def _smooth(gray: U8, out: U8, chosen: U8, choice: int, sigma: float, part: tuple[slice, slice]) -> None:
    """Smooth the pixels of this part of `out` that `chosen` gives to `choice`.

    What still stands out once the screen is smoothed stays as it was.
    """
    margin = round(6 * sigma)
    wide = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in part)
    inner = tuple(slice(side.start - more.start, side.stop - more.start) for side, more in zip(part, wide, strict=True))
    source = gray[wide]
    even = cv2.GaussianBlur(source, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    around = cv2.blur(even, (round(6.8 * sigma),) * 2, borderType=cv2.BORDER_REFLECT)  # both blurs together: 2.2 sigmas
    kept = cv2.LUT(cv2.absdiff(even, around), _structure())
    mixed = cv2.add(cv2.multiply(source, kept, scale=1 / 255), cv2.multiply(even, 255 - kept, scale=1 / 255))
    cv2.copyTo(mixed[inner], (chosen[part] == choice).view(np.uint8), out[part])


@cache
def _structure() -> U8:
    """Return (256,) share of the ink to keep, 0 to 255, by how far a pixel stands out of its smoothed surroundings."""
    low, high = _STRUCTURE
    return np.round(np.clip((np.arange(256) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def find_screens(gray: U8) -> F32:
    """Find the pitch of the screen in each cell of 16 x 16 pixels.

    gray: (H, W) levels, 64 pixels or more on each side.

    Returns (ceil(H / 16), ceil(W / 16)) pixels from dot to dot, or from line to line; 0 where there is no screen.
    """
    height, width = gray.shape
    fine = _cells(gray)
    half = cv2.resize(gray, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA)
    coarse = 2 * np.repeat(np.repeat(_cells(half), 2, axis=0), 2, axis=1)[: fine.shape[0], : fine.shape[1]]
    return np.where(fine > 0, fine, coarse)


def _cells(gray: U8) -> F32:
    """Find the pitch of screens of 2 to 6.4 pixels, in cells of 16 x 16 pixels of the page at the size given."""
    rows, columns = (-(-side // _STEP) for side in gray.shape)
    below, right = rows * _STEP - gray.shape[0], columns * _STEP - gray.shape[1]
    page = cv2.copyMakeBorder(gray, 0, below, 0, right, cv2.BORDER_REFLECT)
    windows = np.lib.stride_tricks.sliding_window_view(page, (_WINDOW, _WINDOW))[::_STEP, ::_STEP]
    rough = cv2.absdiff(page, cv2.blur(page, (7, 7)))
    cells = cv2.resize(rough, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32)
    busy = cv2.blur(cells, (2, 2), anchor=(0, 0))[:-1, :-1] > _FLAT
    hopeful = busy & _short_waves(page, rough)
    sure, maybe = np.zeros(busy.shape, np.float32), np.zeros(busy.shape, np.float32)
    # First every other window, as on a chessboard. Of the rest, only those whose neighbours disagree are computed:
    # most windows lie well inside or well outside of a screen.
    white = np.add.outer(np.arange(rows - 1), np.arange(columns - 1)) % 2 == 0
    first = hopeful & white
    _look(windows, first, sure, maybe)
    some, all_four = cv2.dilate(maybe, _CROSS) > 0, cv2.erode(sure, _CROSS, borderValue=0) > 0
    second = hopeful & ~white & some & ~all_four
    _look(windows, second, sure, maybe)
    # A window that failed the first test may still be partly screen, where it lies beside one.
    beside = cv2.dilate(sure, np.ones((3, 3), np.uint8)) > 0
    _look(windows, busy & beside & ~first & ~second & ~all_four, sure, maybe)
    near = cv2.dilate(sure, np.ones((3, 3), np.uint8))  # decides about windows that are partly screen
    pitch = np.zeros((rows + 1, columns + 1), np.float32)  # by window, with a rim: each cell lies in four
    pitch[1:-1, 1:-1] = np.where(np.abs(maybe - near) < 0.2 * near, maybe, sure)
    return np.maximum.reduce([pitch[:-1, :-1], pitch[:-1, 1:], pitch[1:, :-1], pitch[1:, 1:]])


def _short_waves(page: U8, rough: U8) -> np.ndarray:
    """Return where a window may be a screen by itself.

    A screen has little energy in waves of more than about 13 pixels, compared with its short ones. Spectra are slow to
    compute, so lines, borders and soft grays are dropped here.

    page: (H, W) levels; both sides are multiples of 16 pixels.
    rough: (H, W) levels off the local mean.

    Returns (H / 16 - 1, W / 16 - 1) bool.
    """
    height, width = page.shape
    half = cv2.resize(page, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(half, (5, 5), 1.0, borderType=cv2.BORDER_REFLECT)[::2, ::2].astype(np.float32)
    fine = cv2.resize(rough, (width // 4, height // 4), interpolation=cv2.INTER_AREA).astype(np.float32)
    mean, square, short = (_over_windows(plane) for plane in (soft, soft * soft, fine))
    return square - mean * mean < _SOFT * (short * short + 1)


def _over_windows(quarter: F32) -> F32:
    """Return the means over the windows of a page at a quarter of its size.

    They are weighted by the square of the taper, as energies are.
    """
    row = np.hanning(_WINDOW // 4 + 2)[1:-1].astype(np.float32) ** 2
    row /= row.sum()
    mean = cv2.sepFilter2D(quarter, -1, row, row, anchor=(0, 0))
    step, last = _STEP // 4, 1 - _WINDOW // 4
    return mean[:last:step, :last:step]


def _look(windows: U8, chosen: np.ndarray, sure: F32, maybe: F32) -> None:
    """Write the pitch of the chosen windows' screens to `sure`, and that of possible parts of screens to `maybe`."""
    row, column = np.nonzero(chosen)
    for start in range(0, len(row), _BATCH):
        at = (row[start : start + _BATCH], column[start : start + _BATCH])
        spectrum = _spectrum(windows[at])
        screen = (spectrum.contrast > _CONTRAST) & (spectrum.pitch < _WINDOW / 5)
        strong = screen & (spectrum.prominence > 15) & (spectrum.share > 0.2) & (spectrum.broad < 0.2)
        weak = screen & (spectrum.prominence > 4) & (spectrum.share > 0.1)
        sure[at], maybe[at] = strong * spectrum.pitch, weak * spectrum.pitch


def _spectrum(windows: U8) -> _Spectrum:
    """Return what the spectra of windows (N, 32, 32), gray levels, say."""
    taper, radius, half = _tables()
    count = len(windows)
    level = windows.astype(np.float32)
    level -= np.einsum("nij,ij->n", level, taper / taper.sum())[:, None, None]
    level *= taper
    energy = _energy(level)
    around, across = _lobe()
    lobe = np.matmul(np.matmul(around, energy), across)
    lobe, energy, short = lobe.reshape(count, -1), energy.reshape(count, -1), radius >= _LEAST_RADIUS
    at = np.where(short, lobe, 0).argmax(axis=1)
    peak = lobe[np.arange(count), at] + np.float32(1e-3)
    total = energy.sum(axis=1) + np.float32(1e-3)
    waves = np.einsum("nk,k->n", energy, (radius >= _LEAST_RADIUS - 0.5).astype(np.float32)) + np.float32(1e-3)
    return _Spectrum(
        contrast=2 * np.sqrt(peak / (_WINDOW**2 * (taper**2).sum())),
        pitch=_WINDOW / np.maximum(radius[at], 1),
        prominence=peak / (lobe[np.arange(count), half[at]] + np.float32(1e-3)),
        share=peak / waves,
        broad=1 - waves / total,
    )


def _energy(level: F32) -> F32:
    """Return (N, 32, 17), the square of |np.fft.rfft2(level)|.

    NumPy's own function takes several times as long for so many small pictures.
    """
    down, across = _waves()
    columns = _WINDOW // 2 + 1
    # Window by window: a larger product would be shared out among threads, which cost more than they gain here.
    wave = np.matmul(down, np.matmul(level, across))
    by_cosine, by_sine = wave[:, :_WINDOW], wave[:, _WINDOW:]
    real = by_cosine[:, :, :columns] - by_sine[:, :, columns:]
    imaginary = by_cosine[:, :, columns:] + by_sine[:, :, :columns]
    real *= real
    imaginary *= imaginary
    return real + imaginary


@cache
def _waves() -> tuple[F32, F32]:
    """Return cosines over sines (64, 32) down a window, and cosines beside sines (32, 34) across it."""
    turn = 2 * np.pi / _WINDOW * np.outer(np.arange(_WINDOW), np.arange(_WINDOW))
    wave, half = np.exp(-1j * turn), np.exp(-1j * turn)[:, : _WINDOW // 2 + 1]
    down = np.concatenate([wave.real, wave.imag], axis=0).astype(np.float32)
    return down, np.concatenate([half.real, half.imag], axis=1).astype(np.float32)


@cache
def _lobe() -> tuple[F32, F32]:
    """Return matrices that sum three rows (32, 32), which wrap, and three columns (17, 17).

    The taper makes a wave as wide as that. The last column, of pitch 2, is left out.
    """
    rows, columns = (np.abs(np.subtract.outer(np.arange(n), np.arange(n))) for n in (_WINDOW, _WINDOW // 2 + 1))
    near = columns <= 1
    near[:, -1] = False
    return (np.minimum(rows, _WINDOW - rows) <= 1).astype(np.float32), near.astype(np.float32)


@cache
def _tables() -> tuple[F32, F32, np.ndarray]:
    """Return the window's taper (Hann), and two tables over the bins of its spectrum, flattened.

    The first table is each bin's radius in cycles, the second the bin at half that radius.
    """
    taper = np.hanning(_WINDOW).astype(np.float32)
    up, right = np.fft.fftfreq(_WINDOW, 1 / _WINDOW)[:, None], np.arange(_WINDOW // 2 + 1)[None]
    half = (np.round(up / 2).astype(int) % _WINDOW) * right.size + np.round(right / 2).astype(int)
    return np.outer(taper, taper), np.hypot(up, right).astype(np.float32).ravel(), half.ravel()
