"""What a pairing of many pages costs: seconds and memory from 100 pages up.

python -m benchmarks.pair_growth --pages 100,500,2000

Pages are drawn (datasets.synthetic), 400 x 560 pixels, in both editions, the gray one printed a little otherwise. Each
count is a run of jobs/pair.py with --runner local, in a process of its own. Memory is the most that the process itself
has held, without its sandboxes, which hold a picture or two each.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import click
import cv2
import numpy as np

from datasets.page import encode
from datasets.synthetic import Series, draw_page

_WIDTH, _HEIGHT, _CHAPTER = 400, 560, 20


def write_page(number: int, folder: Path) -> None:
    """Draw a page into color/ and gray/ below a folder."""
    series = Series(seed=7, chapters=999, pages=_CHAPTER, width=_WIDTH, height=_HEIGHT)
    drawn = draw_page(series, 1 + number // _CHAPTER, 1 + number % _CHAPTER)
    angle = np.random.default_rng(number).uniform(-2, 2)
    matrix = cv2.getRotationMatrix2D((_WIDTH / 2, _HEIGHT / 2), angle, 0.95)
    gray = cv2.warpAffine(drawn.ink, matrix, (_WIDTH, _HEIGHT), flags=cv2.INTER_AREA, borderValue=255)
    for side, pixels in (("color", drawn.color), ("gray", np.repeat(gray[..., None], 3, axis=2))):
        path = folder / side / f"ch{number // _CHAPTER:03d}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(pixels, "jpeg"))


def run(folder: Path) -> tuple[float, float, str]:
    """(seconds, most MB of the process, its log) of one run of the job."""
    command = [sys.executable, "jobs/pair.py", "--runner", "local", "--out", str(folder / "out")]
    command += ["--gray", str(folder / "gray"), "--color", str(folder / "color")]
    begun = time.perf_counter()
    with (folder / "log").open("w") as log:
        job = subprocess.Popen(command, stderr=log)
        _, status, used = os.wait4(job.pid, 0)
    job.returncode = os.waitstatus_to_exitcode(status)
    text = (folder / "log").read_text()
    if job.returncode:
        raise click.ClickException(text[-2000:])
    return time.perf_counter() - begun, used.ru_maxrss / 1024, text


@click.command(context_settings={"show_default": True})
@click.option("--pages", default="100,500,2000", help="Pages of each edition.")
def main(pages: str) -> None:
    """Print a table."""
    click.echo("| pages of each edition | seconds | pages/s | MB | pairs | seconds of a rerun |\n|" + " --- |" * 6)
    for count in map(int, pages.split(",")):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            with ProcessPoolExecutor(2, get_context("spawn")) as pool:
                list(pool.map(partial(write_page, folder=folder), range(count), chunksize=10))
            seconds, memory, text = run(folder)
            found = re.search(r"(\d+) pairs", text)
            again, _, _ = run(folder)
            pairs = found.group(1) if found else "?"
            click.echo(f"| {count} | {seconds:.0f} | {count / seconds:.2f} | {memory:.0f} | {pairs} | {again:.0f} |")


if __name__ == "__main__":
    main()
