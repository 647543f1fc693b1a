"""How a colouring job grows from 100 to 1,000 and 5,000 pages, without Ray and with it: time and memory, as a plot.

    python -m benchmarks.growth [--out build/growth]

Each library is generated (chapters of 20 small pages, an untrained network of the smallest size), and is coloured from
a real S3 server and back to it, as in benchmarks.scale. Printed as a table for docs/benchmarks.md, and written as JSON
with a plot. Then it says whether time is linear and memory flat.
"""

import json
import os
import tempfile
from pathlib import Path

import click
import numpy as np

from benchmarks.plots import plot
from benchmarks.scale import Run, measure
from jobs.parts.report.charts import Point, draw_curve
from tests.s3_server import SeaweedFS

RUNNERS = ("local", "ray")
A_CHAPTER = 20  # pages
LINEAR = 0.05  # how far a run may be off the line, over the largest run's time; growth by the square is 0.08 off
FLAT = 1.1  # the memory of the largest run, over that of the smallest


def straight_line(runs: list[Run]) -> tuple[float, float, float]:
    """The line that fits time over pages best.

    Returns seconds at the start, seconds a page, and how far the farthest run is from the line, over the largest run's
    seconds.
    """
    pages, took = [run.all_pages for run in runs], [seconds(run) for run in runs]
    page, start = np.polyfit(pages, took, 1)
    return float(start), float(page), float(np.abs(start + page * np.array(pages) - took).max() / max(took))


def seconds(run: Run) -> float:
    """Of a job from the end of planning, its start included."""
    return run.start + run.seconds


def verdict(runner: str, runs: list[Run]) -> list[str]:
    """Lines that say whether time is linear, and the memory of the driver and of the largest worker flat.

    runs: three sizes.
    """
    start, page, off = straight_line(runs)
    few, *_, many = sorted(runs, key=lambda run: run.all_pages)
    lines = [
        f"{runner}: time is {'linear' if off <= LINEAR else 'NOT linear'}: {start:.1f} s and {1000 * page:.1f} ms a "
        f"page; the farthest run is {off:.1%} of the largest one's time off that line (up to {LINEAR:.0%} is linear)"
    ]
    for name in ("driver", "worker"):
        least, most = getattr(few, name), getattr(many, name)
        lines.append(
            f"{runner}: memory of the {name} is {'flat' if most <= FLAT * least else 'NOT flat'}: {least:.0f} MiB for "
            f"{few.all_pages:,} pages, {most:.0f} for {many.all_pages:,} (up to {FLAT} times is flat)"
        )
    return lines


def draw(runs: dict[str, list[Run]]) -> str:
    """An SVG of seconds, of the driver's memory and of the largest worker's over pages, a curve for each runner."""
    panels = []
    for name, of_run in (
        ("seconds", seconds),
        ("driver, MiB", lambda run: run.driver),
        ("largest worker, MiB", lambda run: run.worker),
    ):
        curves: dict[str, list[Point]] = {
            runner: [(run.all_pages, of_run(run)) for run in of_runner] for runner, of_runner in runs.items()
        }
        points = [point for curve in curves.values() for point in curve]
        axes = (0.0, max(x for x, _ in points)), (0.0, 1.3 * max(y for _, y in points))  # the names stand on top
        panels.append(
            [
                draw_curve(f"{name} over pages: {runner}", curve, axes[0], y_range=axes[1])
                for runner, curve in curves.items()
            ]
        )
    return plot(panels)


@click.command(context_settings={"show_default": True})
@click.option("--pages", nargs=3, type=int, default=(100, 1000, 5000), help="Pages of the three libraries, rising.")
@click.option("--out", default="build/growth", type=click.Path(path_type=Path), help="Folder of growth.json and .svg.")
def main(pages: tuple[int, int, int], out: Path) -> None:
    """Measure three libraries on each runner, and say whether time is linear and memory flat."""
    runs: dict[str, list[Run]] = {runner: [] for runner in RUNNERS}
    click.echo(
        "| runner | pages | start, s | then, s | driver, MiB | worker, MiB |\n| --- | --- | --- | --- | --- | --- |"
    )
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mh-growth-") as scratch, SeaweedFS() as server:
        os.environ.update(server.environment())
        for runner in RUNNERS:
            for count in pages:
                run = measure(count // A_CHAPTER, A_CHAPTER, server, Path(scratch), runner)
                runs[runner].append(run)
                click.echo(
                    f"| {runner} | {run.all_pages:,} | {run.start:.1f} | {run.seconds:.1f} | {run.driver:.0f} | "
                    f"{run.worker:.0f} |"
                )
                figures = {runner: [vars(run) for run in of_runner] for runner, of_runner in runs.items()}
                (out / "growth.json").write_text(json.dumps(figures, indent=1))
    (out / "growth.svg").write_text(draw(runs))
    click.echo("\n" + "\n".join(line for runner in RUNNERS for line in verdict(runner, runs[runner])))
    click.echo(f"{out / 'growth.svg'}")


if __name__ == "__main__":
    main()
