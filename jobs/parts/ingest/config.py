"""The options of jobs/ingest.py."""

from dataclasses import dataclass
from typing import Literal

from datasets.page import GrayFrom
from jobs.parts.ingest.layouts import Direction
from jobs.parts.runtime.options import option, require

HOLDOUT = "0.1"


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
    aligned: Literal[Direction] | None = option(
        "--color is a data set of pix2pix, CycleGAN or pix2pixHD: pictures that show A beside B, or folders trainA and "
        "trainB (no pairs), or train_A and train_B (pairs). AtoB: A is the gray page, and B its colours; BtoA: the "
        "reverse.",
        group="Source",
        default=None,
    )
    out: str = option("Folder of the shards.", group="Output", metavar="URI")
    replace: bool = option("Replace the shards that lie in --out.", group="Output", default=False)
    gray_from: Literal[GrayFrom] = option(
        "How the gray page is made where there is only a colour page. lightness: equal CIELAB L*; luma: the BT.601 "
        "weights of the usual converters; screentone: drawn as manga is, lines, blacks and screens; mix: half of the "
        "pages screentone, half lightness; none: it is not, and only a training without pairs takes the page.",
        group="Pages",
        default="lightness",
    )
    holdout: str | None = option(
        "Chapters kept from training: names (ep10,ep19), or a fraction of all chapters. "
        f"[default: {HOLDOUT}; with --aligned what is in test and val, if anything is]",
        group="Split",
        default=None,
        metavar="NAMES|FRACTION",
    )
    seed: int = option("Seed of the choice by fraction.", group="Split", default=0)

    def __post_init__(self) -> None:
        require(bool(self.color or self.gray), "color", self.color, "give --color, --gray, or both")
        both = "--color holds both editions then, so leave --gray out"
        require(not self.aligned or bool(self.color and not self.gray), "aligned", self.aligned, both)
        require(self.seed >= 0, "seed", self.seed, "give a whole number from 0 up")
