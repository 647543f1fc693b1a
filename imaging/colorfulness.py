"""How colourful a page looks. Apart from the other metrics, which load torch: every coloured page is asked this."""

import numpy as np

from imaging.color import U8


def colorfulness(page: U8) -> float:
    """Hasler and Suesstrunk 2003: 0 for a gray page, about 60 for a lively one. page: (..., 3) sRGB, not empty."""
    red, green, blue = (page[..., i].astype(np.float32) for i in range(3))
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    centre = np.hypot(red_green.mean(), yellow_blue.mean())
    return float(spread + 0.3 * centre)
