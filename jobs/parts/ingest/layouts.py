"""Data sets as pix2pix, CycleGAN and pix2pixHD lay them out: which pictures are which side, of which split, in pairs.

A and B are the two sides. Pictures that show both have A on the left (pix2pix). Otherwise each side has its folders:
train_A and train_B, whose pages are pairs (pix2pixHD), or trainA and trainB, whose pages are none (CycleGAN). The
splits are train, val and test.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from datasets.errors import BadUsageError
from jobs.parts.ingest.pairing import Edition, pair_editions

Direction = Literal["AtoB", "BtoA"]
_SPLITS = {"train": "train", "val": "holdout", "test": "holdout"}
_SIDE = re.compile(rf"({'|'.join(_SPLITS)})(_?)([AB])")


@dataclass(frozen=True)
class LaidOut:
    """A chapter of such a data set.

    color, gray: its editions; None where it has one side only.
    split: "train" or "holdout"; None where the layout does not say.
    """

    color: Edition | None
    gray: Edition | None
    split: str | None

    @property
    def rel(self) -> str:
        """Its name in the source."""
        edition = self.color or self.gray
        assert edition is not None  # a chapter has an edition
        return edition.rel


def side_folders(editions: Sequence[Edition]) -> set[str]:
    """The names of the folders among them that are one side of such a data set; empty unless both sides are there."""
    found = {match[0]: match[3] for edition in editions if (match := _side(edition))}
    return set(found) if len(set(found.values())) == 2 else set()


def by_layout(uri: str, editions: Sequence[Edition], direction: Direction) -> list[LaidOut]:
    """The chapters of such a data set.

    uri: where the editions were found.
    direction: AtoB where A is the gray page and B its colours, else BtoA.
    Raises BadUsageError where only some of the editions are in folders of a side, or where all are of one side.
    """
    sides = [_side(edition) for edition in editions]
    if not any(sides):
        return [_both_halves(edition, direction) for edition in editions]
    if not all(sides) or not side_folders(editions):
        names = ", ".join(sorted({str(edition.rel) for edition in editions})[:12])
        raise BadUsageError(
            f"--color {uri} with --aligned holds {names}: give a folder with pictures that show A beside B, or one "
            "with trainA and trainB, or train_A and train_B, and nothing else"
        )
    by_split: dict[tuple[str, str], dict[str, list[Edition]]] = defaultdict(lambda: {"A": [], "B": []})
    for edition, match in zip(editions, sides, strict=True):
        assert match is not None
        by_split[match[1], match[2]][match[3]].append(edition)
    chapters = []
    for (split, joint), of in by_split.items():
        gray, color = (of[side] for side in direction.split("to"))
        pairs = (
            pair_editions(color, gray) if joint else [*((one, None) for one in color), *((None, one) for one in gray)]
        )
        chapters += [LaidOut(one, other, _SPLITS[split]) for one, other in pairs]
    return chapters


def _both_halves(edition: Edition, direction: Direction) -> LaidOut:
    left, right = (replace(edition, half=half) for half in ("left", "right"))
    gray, color = (left, right) if direction == "AtoB" else (right, left)
    split = next((_SPLITS[part] for part in PurePosixPath(edition.rel).parts if part in _SPLITS), None)
    return LaidOut(color, gray, split)


def _side(edition: Edition) -> re.Match[str] | None:
    matches = (_SIDE.fullmatch(part) for part in PurePosixPath(edition.rel).parts)
    return next((match for match in matches if match), None)
