"""Chooses the chapters that are kept from training."""

import random
from collections.abc import Sequence
from pathlib import PurePosixPath

from datasets.archive import plain
from datasets.errors import BadUsageError
from datasets.names import composed


def held_out(rels: Sequence[str], holdout: str, seed: int) -> set[str]:
    """The chapters kept from training.

    rels: names of all chapters.
    holdout: names separated by commas, or a fraction in [0, 1). A fraction above 0 holds out at least one chapter, and
        never all.
    seed: of the choice by fraction.
    Raises BadUsageError where a name fits no chapter.
    """
    fraction = _fraction(holdout)
    if fraction is not None:
        count = min(len(rels) - 1, max(1, round(fraction * len(rels)))) if fraction else 0
        return set(random.Random(seed).sample(sorted(rels), max(0, count)))
    chosen: set[str] = set()
    for name in filter(None, (part.strip() for part in holdout.split(","))):
        fitting = [
            rel for rel in rels if composed(rel) == composed(name) or plain(PurePosixPath(rel).name) == plain(name)
        ]
        if not fitting:
            some = ", ".join(sorted(PurePosixPath(rel).name for rel in rels)[:12])
            raise BadUsageError(f"--holdout names {name!r}, which is no chapter; there are {some}")
        chosen.update(fitting)
    return chosen


def _fraction(holdout: str) -> float | None:
    try:
        value = float(holdout)
    except ValueError:
        return None
    return value if 0 <= value < 1 else None
