"""How sure it is that a colour picture comes from a gray page.

The logistic function of what a fit tells, with coefficients fitted by

python -m benchmarks.pairs --fit --pages DATA/peppercarrot --art DATA/peppercarrot-art --seeds 0
"""

import math

from imaging.matching import Fit

NAMES = ("constant", "log of inliers", "share of inliers", "overlap of edges", "evenness", "margin")
COEFFICIENTS = (-13.13, 1.51, 1.22, 3.64, 18.51, 6.22)
_ENOUGH = 20  # inliers: more tell no more, since pages that share a panel share many
_SUREST = math.log(90)  # the most that is claimed: 90 / 91, by the rule of succession: 89 pairs of the fit, all right
_CLEAR = 0.3  # of edge overlap: a larger margin to the second candidate tells no more


def evidence(found: Fit, second: float) -> tuple[float, ...]:
    """Return what the confidence is made of, in the order of NAMES.

    second: the edge overlap of the next page that the same part of the picture may come from; 0 for none.
    """
    margin = max(-_CLEAR, min(_CLEAR, found.overlap - max(second, 0.0)))
    return (
        1.0,
        math.log(1 + min(found.inliers, _ENOUGH)),
        found.inliers / max(found.tentative, 1),
        found.overlap,
        found.evenness,
        margin,
    )


def confidence(found: Fit, second: float = 0.0) -> float:
    """Return in [0, 1] how sure a fit is: of fits with confidence 0.9, nine of ten are right.

    second: as in `evidence`.
    """
    total = sum(weight * value for weight, value in zip(COEFFICIENTS, evidence(found, second), strict=True))
    return 1 / (1 + math.exp(-max(-_SUREST, min(_SUREST, total))))
