"""The options of jobs/ingest.py."""

from dataclasses import dataclass
from typing import Literal

from datasets.page import GrayFrom
from jobs.parts.runtime.options import option, require


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """Read chapters (CBZ, ZIP, folders of images, at any depth) and write page shards for training."""

    color: str | None = option(
        "Colour chapters: a folder tree, an archive, or s3://...", group="Source", default=None, metavar="URI"
    )
    gray: str | None = option(
        "Black-and-white chapters; paired with colour pages by relative path, or by file names [chapter]_[page].",
        group="Source",
        default=None,
        metavar="URI",
    )
    out: str = option("Folder of the shards.", group="Output", metavar="URI")
    replace: bool = option("Replace the shards that lie in --out.", group="Output", default=False)
    gray_from: Literal[GrayFrom] = option(
        "How the gray page is made where there is only a colour page. lightness: equal CIELAB L*; luma: the BT.601 "
        "weights of the usual converters; screentone: drawn as manga is, lines, blacks and screens; mix: half of the "
        "pages screentone, half lightness.",
        group="Pages",
        default="lightness",
    )
    holdout: str = option(
        "Chapters kept from training: names (ep10,ep19), or a fraction of all chapters (0.1).",
        group="Split",
        default="0.1",
        metavar="NAMES|FRACTION",
    )
    seed: int = option("Seed of the choice by fraction.", group="Split", default=0)

    def __post_init__(self) -> None:
        require(bool(self.color or self.gray), "color", self.color, "give --color, --gray, or both")
        require(self.seed >= 0, "seed", self.seed, "give a whole number from 0 up")
