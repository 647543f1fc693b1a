"""What a pairing of many pages costs: seconds, memory and disk from 100 pages up.

python -m benchmarks.pair_growth --pages 100,300,1000,2000

Pages are drawn (datasets.synthetic), 300 x 420 pixels, in both editions, the gray one printed a little otherwise. Each
count is a run of jobs/pair.py with --runner local, in a process of its own. Seconds "of a core" are processor time of
the job and its sandboxes: beside other work they say more than seconds. Memory is what the job's own process holds at
most, and what all its processes hold together; pages of libraries that they share count for each.
"""

import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import click
import cv2
import numpy as np
import psutil

from datasets.page import encode
from datasets.synthetic import Series, draw_page

_WIDTH, _HEIGHT, _CHAPTER = 300, 420, 20
_STEPS = ("color", "gray", "index", "search", "pair", "write")  # as the job's log names them
_EVERY = 0.3  # seconds between two looks at a run


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


class Run:
    """A run of the job on a folder, watched to its end.

    seconds: from its start to its end.
    spent: seconds of a core, by step, and "all".
    memory: MB, most of the job's own process and of all its processes.
    log: what it said.
    """

    def __init__(self, folder: Path) -> None:
        self.spent: dict[str, float] = {}
        self.memory, self.log = (0.0, 0.0), ""
        command = [sys.executable, "jobs/pair.py", "--runner", "local", "--out", str(folder / "out")]
        command += ["--gray", str(folder / "gray"), "--color", str(folder / "color")]
        begun, so_far = time.perf_counter(), 0.0
        with (folder / "log").open("w") as log:
            job = psutil.Popen(command, stderr=log)
            while job.poll() is None:
                so_far = max(so_far, self._look(job))
                self._note(folder / "log", so_far)
                time.sleep(_EVERY)
        self._note(folder / "log", so_far)
        self.seconds = time.perf_counter() - begun
        self.spent["all"] = so_far
        if job.returncode:
            raise click.ClickException(self.log[-2000:])

    def _look(self, job: psutil.Process) -> float:
        """Note the memory. Returns the seconds of a core so far."""
        seconds, held = 0.0, []
        with suppress(psutil.NoSuchProcess):
            for process in (job, *job.children(recursive=True)):
                with process.oneshot():
                    times = process.cpu_times()
                    seconds += times.user + times.system
                    held.append(process.memory_info().rss / 2**20)
            self.memory = max(self.memory[0], held[0]), max(self.memory[1], sum(held))
        return seconds

    def _note(self, log: Path, so_far: float) -> None:
        """Give the seconds since the last step that ended to those that have ended meanwhile."""
        self.log = log.read_text()
        for step in _STEPS:
            if step not in self.spent and re.search(rf"\b{step}: (\d+)/\1 pages", self.log):
                self.spent[step] = so_far - sum(self.spent.values())


def draw(count: int, folder: Path) -> None:
    """Draw a number of pages into an empty folder."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(partial(write_page, folder=folder), range(count), chunksize=10))


def row_of(count: int, folder: Path) -> str:
    """The table's row for a number of pages that were drawn into a folder."""
    first = Run(folder)
    found = re.search(r"(\d+) pairs", first.log)
    disk = sum(path.stat().st_size for path in (folder / "out/_pairs").rglob("*") if path.is_file()) / 2**20
    again = Run(folder)
    values = [count, found.group(1) if found else "?", f"{first.seconds:.0f}", f"{first.spent['all']:.0f}"]
    looked = first.spent["color"] + first.spent["gray"]
    values += [f"{spent:.1f}" for spent in (looked, *(first.spent[step] for step in _STEPS[2:]))]
    values += [f"{mb:.0f}" for mb in (*first.memory, disk)]
    return "| " + " | ".join(map(str, [*values, f"{again.spent['all']:.0f}"])) + " |"


@click.command(context_settings={"show_default": True})
@click.option("--pages", default="100,300,1000,2000", help="Pages of each edition.")
def main(pages: str) -> None:
    """Print a table."""
    columns = "pages of each edition | pairs | seconds | of a core: all | look | index | search | fit | write | "
    columns += "MB of the job | MB of all | MB in _pairs | a rerun, of a core"
    click.echo(f"| {columns} |\n|" + " --- |" * 13)
    for count in map(int, pages.split(",")):
        with tempfile.TemporaryDirectory() as scratch:
            draw(count, Path(scratch))
            click.echo(row_of(count, Path(scratch)))


if __name__ == "__main__":
    main()
