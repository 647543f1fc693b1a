"""How colourful a page looks.

This metric is apart from the others, which load torch: every coloured page is measured by it.
"""

import numpy as np

from imaging.color import U8


def colorfulness(page: U8) -> float:
    """Return the colourfulness of a page (Hasler and Suesstrunk 2003).

    page: (..., 3) sRGB, not empty.

    It is 0 for a gray page and about 60 for a lively one.
    """
    red, green, blue = (page[..., i].astype(np.float32) for i in range(3))
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    centre = np.hypot(red_green.mean(), yellow_blue.mean())
    return float(spread + 0.3 * centre)
