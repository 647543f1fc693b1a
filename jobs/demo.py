"""Colour a chapter of a generated series at once, train on the series' other chapters, and measure both.

python jobs/demo.py [--out DIR]
"""

from pathlib import Path

from datasets.synthetic import Series, write_series
from jobs.parts.demo.config import DemoConfig
from jobs.parts.demo.run import judge, run
from jobs.parts.model.folder import BUNDLED
from jobs.parts.runtime.options import command
from jobs.parts.runtime.outcome import Exit


def main(config: DemoConfig) -> Exit:
    out = Path(config.out).absolute()
    series, heldout = Series(seed=config.seed, chapters=7, pages=8), "ch07"
    write_series(series, out / "series")
    chapter = out / f"series/ink/{heldout}.cbz"
    run("colorize", source=chapter, out=out / "at-once")
    run("ingest", color=out / "series/color", gray=out / "series/ink", out=out / "shards", holdout=heldout)
    run(
        "train",
        data=out / "shards",
        run=out / "trained",
        variant="exemplar",
        image_size=256,  # smaller than the weights were trained on: steps that take a second on two CPUs
        batch_size=4,
        saturation_jitter=0,
        max_steps=config.steps,
        eval_every=config.steps,
        num_workers=config.num_workers,
        seed=config.seed,
    )
    run("colorize", model=out / "trained/model", source=chapter, out=out / "after-training")
    run("evaluate", model=(BUNDLED, out / "trained/model"), data=out / "shards", out=out / "report")
    return judge(out / "report", "trained")


cli = command(DemoConfig, main)

if __name__ == "__main__":
    cli()
