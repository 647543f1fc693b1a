"""How a colouring job grows: measures runs of many small pages, and computes from them what large runs need.

    python -m benchmarks.scale [--run 5x20 --run 50x20 --run 500x20 --run 2000x1 --run 1x5000]

A run is CHAPTERSxPAGES. Each library is generated (small pages, an untrained network of the smallest size). It is
coloured on a local cluster, from a real S3 server and back to it. Then the job runs again with nothing to do. Printed
as a table for docs/benchmarks.md: wall time, planning, memory of the driver and of the largest worker, requests to the
bucket.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import psutil

from datasets.storage import open_storage
from jobs.parts.runtime import ROOT
from tests.archives import zipped
from tests.fault_proxy import Fault, FaultProxy, Request
from tests.faults.harness import saved
from tests.s3_server import SeaweedFS
from tests.untrained import publish_untrained

MIB = 2**20


@dataclass
class Run:
    """The figures of one library.

    chapters: of the library.
    pages: per chapter.
    start: seconds from the end of planning to the first chapter.
    seconds: from then to the end of the job.
    plan: seconds of planning at first.
    replan: seconds of planning when all is done.
    driver: most memory of the driver, MiB.
    worker: most memory of another process, MiB.
    requests: to the bucket, by method.
    """

    chapters: int
    pages: int
    start: float
    seconds: float
    plan: float
    replan: float
    driver: float
    worker: float
    requests: Counter[str]

    @property
    def all_pages(self) -> int:
        return self.chapters * self.pages


def write_library(out: str, chapters: int, pages: int) -> None:
    """Write chapters of pages of 96 x 64. All pages of a chapter are equal, since their content is not measured."""
    storage = open_storage(out)
    rng = np.random.default_rng(0)
    for number in range(chapters):
        page = saved(np.kron(rng.integers(0, 256, (12, 8), np.uint8), np.ones((8, 8), np.uint8)))
        members = {f"{number:05d}.png": page for number in range(pages)}
        storage.put(f"series {number % 20:02d}/chapter {number:05d}.cbz", zipped(members))


def run_job(command: list[str], log: Path) -> tuple[float, float, float, dict[str, float]]:
    """Run a job to its end. Raises RuntimeError where it fails.

    Returns wall seconds, most MiB of the driver, most MiB of another process, and moments of the log in seconds from
    the start.
    """
    environment = {**os.environ, "RAY_ADDRESS": "local", "RAY_enable_metrics_collection": "0"}
    environment |= {"MANGAHUE_LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"}
    begun, most = time.time(), [0.0, 0.0]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        driver = psutil.Process(process.pid)
        while process.poll() is None:
            asked = time.time()
            try:
                most[0] = max(most[0], driver.memory_full_info().uss)
                for child in driver.children(recursive=True):
                    most[1] = max(most[1], child.memory_full_info().uss)
            except psutil.Error:
                pass
            time.sleep(max(0.2, 9 * (time.time() - asked)))  # a tenth of a core at most goes into asking
    seconds = time.time() - begun
    if process.returncode:
        raise RuntimeError(log.read_text()[-3000:])
    return seconds, most[0] / MIB, most[1] / MIB, _moments(log.read_text(), begun)


def _moments(text: str, begun: float) -> dict[str, float]:
    """When the job logged its config, its plan and its first progress, in seconds from `begun`."""
    found = {}
    for line in text.splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            at = time.mktime(time.strptime(entry["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone - begun
            at += float(f"0.{entry['time'][20:23]}")
            for name, mark in (("config", "config "), ("planned", "done already"), ("first", "colorize: ")):
                if mark in entry["message"]:
                    found.setdefault(name, at)
    return found


def measure(chapters: int, pages: int, server: SeaweedFS, scratch: Path, runner: str = "ray") -> Run:
    """Write a library, colour it twice, and return the figures."""
    name = f"{chapters}x{pages}"
    source, out = f"{server.uri}/{name}/in", f"{server.uri}/{name}/{runner}"
    write_library(source, chapters, pages)
    model = scratch / "model"
    if not model.exists():
        publish_untrained(model, base_channels=4, image_size=32)
    seen: Counter[str] = Counter()

    def note(request: Request) -> Fault:
        listing = request.method == "GET" and "list-type=" in request.path
        seen["LIST" if listing else request.method] += 1
        return "none"

    assert server.port is not None
    command = [sys.executable, "jobs/colorize.py", "--model", str(model), "--source", source, "--out", out]
    command += ["--runner", runner]
    with FaultProxy(server.port, note) as proxy:
        os.environ["AWS_ENDPOINT_URL_S3"] = proxy.endpoint
        seconds, driver, worker, moments = run_job(command, scratch / "log")
        requests = Counter(seen)
        _, _, _, again = run_job(command, scratch / "log")
    os.environ["AWS_ENDPOINT_URL_S3"] = server.endpoint
    manifests = [entry.key for entry in open_storage(out).list("_mangahue/chapters/")]
    assert len(manifests) == chapters
    start = min(moments.get("first", seconds), seconds) - moments["planned"]
    plans = [moment["planned"] - moment["config"] for moment in (moments, again)]
    return Run(
        chapters, pages, start, seconds - moments["planned"] - start, plans[0], plans[1], driver, worker, requests
    )


@dataclass(frozen=True)
class Model:
    """What a run takes, fitted to measured runs. It is linear in chapters and pages, except for the start.

    start: seconds.
    work: seconds of one core, (per chapter, per page).
    memory: MiB of the driver, (at the start, per chapter).
    requests: to the bucket, (per chapter, per page).
    """

    start: float
    work: tuple[float, float]
    memory: tuple[float, float]
    requests: tuple[float, float]

    @classmethod
    def fit(cls, runs: list[Run], cores: int) -> "Model":
        """Fit by least squares. The start is the shortest that was seen."""
        start = min(run.start for run in runs)
        parts = [(run.chapters, run.all_pages) for run in runs]
        work = _fitted(parts, [(run.start + run.seconds - start) * cores for run in runs])
        memory = _fitted([(1, run.chapters) for run in runs], [run.driver for run in runs])
        return cls(start, work, memory, _fitted(parts, [sum(run.requests.values()) for run in runs]))

    def seconds(self, chapters: float, pages: float, cores: float) -> float:
        """Wall time of a run whose speed the cores limit."""
        return self.start + (chapters * self.work[0] + pages * self.work[1]) / cores


def _fitted(parts: list[tuple[int, int]], values: list[float]) -> tuple[float, float]:
    one, other = np.linalg.lstsq(np.array(parts, float), np.array(values, float), rcond=None)[0]
    return float(one), float(other)


def ask(model: Model, pages: int, a_chapter: int, cores: float, page: float) -> str:
    """What a run of full-size pages needs, as a line of text.

    pages: of the run.
    a_chapter: pages per chapter.
    cores: of the cluster.
    page: seconds of one core that such a page takes.
    """
    chapters = pages / a_chapter
    seconds = model.start + (chapters * model.work[0] + pages * page) / cores
    requests = chapters * model.requests[0] + pages * model.requests[1]
    memory = model.memory[0] + chapters * model.memory[1]
    return (
        f"{pages:,} pages in {chapters:,.0f} chapters on {cores:g} cores: {seconds / 3600:.2f} h, "
        f"{requests / seconds:,.0f} requests a second, driver {memory / 1024:.1f} GiB, "
        f"{chapters / seconds:.0f} chapters and {pages / seconds:,.0f} pages a second"
    )


@click.command(context_settings={"show_default": True})
@click.option("--run", "runs", multiple=True, default=("5x20", "50x20", "500x20", "2000x1", "1x5000"))
@click.option("--page-seconds", default=0.3, help="Seconds of one core that a full-size page takes (make bench).")
@click.option("--out", default="build/scale.json", type=click.Path(path_type=Path))
def main(runs: tuple[str, ...], page_seconds: float, out: Path) -> None:
    """Measure libraries of these sizes, fit the model, and print what large runs need."""
    wanted = []
    for text in runs:
        if not (match := re.fullmatch(r"(\d+)x(\d+)", text)):
            raise click.BadParameter(f"{text!r}; give CHAPTERSxPAGES such as 50x20", param_hint="--run")
        wanted.append((int(match[1]), int(match[2])))
    done = []
    click.echo("| chapters x pages | plan, s | nothing to do, s | start, s | then, s | driver, MiB | worker, MiB | "
               "requests a chapter |")  # fmt: skip
    click.echo("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="mh-scale-") as scratch, SeaweedFS() as server:
        os.environ.update(server.environment())
        for chapters, pages in wanted:
            run = measure(chapters, pages, server, Path(scratch))
            done.append(run)
            asked = ", ".join(f"{count / chapters:.1f} {name}" for name, count in sorted(run.requests.items()))
            click.echo(
                f"| {chapters} x {pages} | {run.plan:.1f} | {run.replan:.1f} | {run.start:.0f} | {run.seconds:.0f} | "
                f"{run.driver:.0f} | {run.worker:.0f} | {asked} |"
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([vars(run) for run in done], indent=1))
    cores = len(os.sched_getaffinity(0))
    model = Model.fit(done, cores)
    click.echo(f"\n{model}\n")
    for run in done:
        by_model = model.seconds(run.chapters, run.all_pages, cores)
        click.echo(f"{run.chapters} x {run.pages}: {run.start + run.seconds:.0f} s, {by_model:.0f} s by the model")
    for cores_there in (800, 3200):
        click.echo(ask(model, 10_000_000, 20, cores_there, page_seconds))


if __name__ == "__main__":
    main()
