"""Chapter archives -> coloured chapter archives, and a report.

python jobs/colorize.py --model RUN/model --source URI --out URI
"""

from dataclasses import dataclass
from typing import Literal

from jobs.parts.cluster import connect
from jobs.parts.coloring import color_chapters
from jobs.parts.ledger import Ledger
from jobs.parts.options import command, option, require
from jobs.parts.outcome import Exit
from jobs.parts.planning import plan
from jobs.parts.recipe import Recipe
from jobs.parts.summary import conclude


@dataclass(frozen=True, kw_only=True)
class ColorizeConfig:
    """Colour whole chapters: archive in, archive out, the same path and names; a rerun does only what is missing."""

    model: str = option("Model folder that train.py published (RUN/model).", group="Model", metavar="URI")
    source: str = option("Chapters: a folder tree of CBZ, ZIP and image folders, or one of them.", group="Source",
                         metavar="URI")  # fmt: skip
    out: str = option("Folder of the coloured chapters; it belongs to one model and its settings.", group="Output",
                      metavar="URI")  # fmt: skip
    replace: bool = option("Take over an --out that other weights or settings made, chapter by chapter.",
                           group="Output", default=False)  # fmt: skip
    format: Literal["jpeg", "png", "webp"] = option(
        "Of coloured pages: JPEG quality 92 4:4:4, PNG, or WebP quality 92.", group="Output", default="jpeg"
    )
    batch_size: int = option("Pages the network sees at once.", group="Cluster", default=8)
    num_actors: int = option("Workers that hold the network; 0: one per GPU, or one per 4 CPUs.", group="Cluster",
                             default=0)  # fmt: skip
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto: GPUs where the cluster has any now; cuda asks an autoscaler for them too.", group="Cluster",
        default="auto")  # fmt: skip

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size", self.batch_size, "it must be at least 1 page")
        require(self.num_actors >= 0, "num_actors", self.num_actors, "give 0 for automatic, or a count")


def main(config: ColorizeConfig) -> Exit:
    recipe = Recipe.of(config)
    ledger = Ledger(config.out, recipe.fingerprint)
    work = plan(config.source, ledger, recipe, replace=config.replace)
    if work.todo:
        cluster = connect()
        work.record(color_chapters(work.todo, recipe, cluster))
    return conclude(work, ledger, recipe)


cli = command(ColorizeConfig, main)

if __name__ == "__main__":
    cli()
