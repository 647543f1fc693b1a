"""Chapters -> Parquet page shards.

python jobs/ingest.py --color URI [--gray URI] --out SHARDS
"""

from dataclasses import dataclass
from typing import Literal

from datasets.storage import open_storage
from jobs.parts.ingesting import already_done, clear, plan, publish_card, write_all
from jobs.parts.runtime.cluster import connect
from jobs.parts.runtime.options import command, option, require
from jobs.parts.runtime.outcome import Exit


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
    gray_from: Literal["lightness", "luma", "screentone", "mix"] = option(
        "Gray page of a page that has only colour. lightness: equal CIELAB L*; luma: the usual converters' BT.601 "
        "weights; screentone: drawn as manga is, lines, blacks and screens; mix: half of the pages screentone, half "
        "lightness.",
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


def main(config: IngestConfig) -> Exit:
    out = open_storage(config.out)
    chapters = plan(config.color, config.gray, config.gray_from, config.holdout, config.seed)
    if (finished := already_done(out, config, chapters)) is not None:
        return finished
    clear(out)
    connect()
    return publish_card(out, config, chapters, write_all(chapters, config.out))


cli = command(IngestConfig, main)

if __name__ == "__main__":
    cli()
