"""The options of jobs/pair.py."""

from dataclasses import dataclass
from typing import Literal

from jobs.parts.runtime.options import option, require
from jobs.parts.runtime.runner import RUNNER_HELP, RunnerName


@dataclass(frozen=True, kw_only=True)
class PairConfig:
    """Find for each colour picture the black-and-white page that it comes from, lay it on the ink, and write shards."""

    gray: str = option(
        "Black-and-white chapters: a folder tree, an archive, or s3://...", group="Source", metavar="URI"
    )
    color: str = option(
        "Colour pictures: pages, spreads, or parts of pages, in chapters of any names.", group="Source", metavar="URI"
    )
    decisions: str | None = option(
        "What was decided in the review: the file that its page has saved.",
        group="Source",
        default=None,
        metavar="FILE",
    )
    out: str = option("Folder of the shards and of pairs.json.", group="Output", metavar="URI")
    review: str | None = option(
        "Folder for a page on which the pairs between --reject and --accept are decided, and those that the order of "
        "pages speaks for.",
        group="Output",
        default=None,
        metavar="URI",
    )
    replace: bool = option("Replace the shards that lie in --out.", group="Output", default=False)
    accept: float = option("Confidence from which on a pair is taken.", group="Pairs", default=0.9)
    reject: float = option("Confidence below which a picture has no partner.", group="Pairs", default=0.3)
    holdout: str = option(
        "Black-and-white chapters kept from training, with the colours that belong to them: names (ep10,ep19), or a "
        "fraction of all chapters (0.1).",
        group="Split",
        default="0.1",
        metavar="NAMES|FRACTION",
    )
    seed: int = option("Seed of the choice by fraction.", group="Split", default=0)
    runner: Literal[RunnerName] = option(RUNNER_HELP, group="Cluster", default="auto")

    def __post_init__(self) -> None:
        require(0 <= self.reject <= 1, "reject", self.reject, "give a confidence from 0 to 1")
        require(self.reject <= self.accept <= 1, "accept", self.accept, "give a confidence from --reject to 1")
        require(self.seed >= 0, "seed", self.seed, "give a whole number from 0 up")
