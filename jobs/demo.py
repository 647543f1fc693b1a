"""Run all jobs on a generated series: ingest, train, colour a held-out chapter, evaluate.

python jobs/demo.py [--out DIR]
"""

from pathlib import Path

from datasets.synthetic import Series, write_series
from jobs.parts.demo.config import DemoConfig
from jobs.parts.demo.run import judge, run
from jobs.parts.runtime.options import command
from jobs.parts.runtime.outcome import Exit


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
        max_steps=config.steps,
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
