"""A drawn page with text, and chroma to lay over it."""

from functools import cache

import numpy as np

from datasets.synthetic import Series, draw_page
from imaging.text import find_text


@cache
def lettered_ink() -> np.ndarray:
    """Return the ink of a generated page on which text is found."""
    series = Series(seed=1, chapters=1, pages=8, width=480, height=672)
    inks = (draw_page(series, 1, page).ink for page in range(1, 9))
    return next(ink for ink in inks if find_text(ink).mean() > 0.01)


def rainbow(size: int = 32) -> np.ndarray:
    """Return chroma of all hues, as strong as in comics."""
    angle = np.linspace(0, 2 * np.pi, size * size).reshape(size, size)
    return np.stack([40 * np.cos(angle), 40 * np.sin(angle)], axis=-1).astype(np.float16)
