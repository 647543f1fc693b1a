"""All of it on a generated series: ingest, train, colour a held-out chapter, evaluate.

python jobs/demo.py [--out DIR]
"""

from dataclasses import dataclass
from pathlib import Path

from datasets.synthetic import Series, write_series
from jobs.parts.demonstration import judge, run
from jobs.parts.runtime.options import command, option, require
from jobs.parts.runtime.outcome import Exit


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Draw a comic series, train a small pix2pix on it, colour a chapter it has not seen, and measure the result."""

    out: str = option("Folder of all that the demo makes.", group="Output", default="out/demo", metavar="DIR")
    minutes: float = option("Training time, minutes.", group="Training", default=7.5)
    num_workers: int = option("DDP workers.", group="Training", default=2)
    seed: int = option("Seed of the series and of the training.", group="Series", default=0)

    def __post_init__(self) -> None:
        require(self.minutes > 0, "minutes", self.minutes, "give a time above 0")
        require(self.num_workers >= 1, "num_workers", self.num_workers, "give at least 1")


def main(config: DemoConfig) -> Exit:
    out = Path(config.out).absolute()
    series, heldout = Series(seed=config.seed, chapters=9, pages=8), "ch09"
    write_series(series, out / "series")
    run("ingest", color=out / "series/color", gray=out / "series/ink", out=out / "shards", holdout=heldout)
    run(
        "train",
        data=out / "shards",
        run=out / "run",
        variant="pix2pix",
        base_channels=16,
        batch_size=4,
        learning_rate=5e-4,
        saturation_jitter=0,
        max_minutes=config.minutes,
        eval_every=100,
        num_workers=config.num_workers,
        seed=config.seed,
    )
    run("colorize", model=out / "run/model", source=out / f"series/ink/{heldout}.cbz", out=out / "coloured")
    run("evaluate", model=out / "run/model", data=out / "shards", out=out / "report")
    return judge(out / "report")


cli = command(DemoConfig, main)

if __name__ == "__main__":
    cli()
