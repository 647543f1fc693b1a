"""Speed, each part beside its baseline: a first chapter, the stages alone, a job on each runner, the network alone, a
step, a training.

    python -m benchmarks.bench [--out build/bench] [--only start|stages|colorize|network|step|train] [--source URI]
                               [--data URI] [--repeat N]

Each part is printed, and written as JSON and as a short page, as soon as it is done. Core-seconds are the processor
time of all threads of a process. Models are untrained, which makes them no faster.
"""

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import cv2
import numpy as np
import torch

import models
from benchmarks.network import as_table, time_network
from benchmarks.step import time_step
from datasets.archive import find_chapters, write_zip
from datasets.chapters import open_chapter
from datasets.encoding import encode_ink, encode_target
from datasets.page import decode_plain, encode, gray_of
from datasets.shards import ShardSet, training_example
from datasets.synthetic import Series, draw_page
from imaging.color import is_color_page, join_chroma
from imaging.descreen import for_network
from imaging.gate import judge
from imaging.lines import refined_rows
from imaging.text import find_text, neutral
from imaging.views import plan_views
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import ChapterTask
from jobs.parts.demo.run import run
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.model.inference import predict_chroma
from jobs.parts.runtime.cores import available_cores
from jobs.parts.runtime.outcome import configure_log
from jobs.parts.runtime.sandbox import Sandbox, set_sandbox
from tests.untrained import publish_untrained

CHAPTERS, PAGES = 9, 10
SIZE = (992, 1400)
BATCH = 8
STEPS = ("smooth screens", "lines", "words", "gate")  # the steps for quality, beside the network
PARTS = ("start", "stages", "colorize", "network", "step", "train")
T = TypeVar("T")


class Stopwatch:
    """Wall and core seconds by stage; a stage within another counts for itself alone."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cores: dict[str, float] = {}
        self._within = [0.0, 0.0]  # wall and core seconds of stages that ended within the present one

    def __call__(self, stage: str, work: Callable[[], T]) -> T:
        outside, self._within = self._within, [0.0, 0.0]
        wall, cores = time.perf_counter(), time.process_time()
        result = work()
        wall, cores = time.perf_counter() - wall, time.process_time() - cores
        self.wall[stage] = self.wall.get(stage, 0) + wall - self._within[0]
        self.cores[stage] = self.cores.get(stage, 0) + cores - self._within[1]
        self._within = [outside[0] + wall, outside[1] + cores]
        return result


def time_start(source: str, folder: Path, repeat: int) -> dict[str, Any]:
    """Time the first chapter of a user: one of 10 pages, from command to report, with pix2pix of the published size."""
    model = folder / "published"
    publish_untrained(model)
    chapter = next(iter(find_chapters(source))).uri
    took: dict[str, list[float]] = {"local": [], "ray": []}
    for number in range(repeat):
        for runner, seconds in took.items():
            begun = time.monotonic()
            run("colorize", model=model, source=chapter, out=folder / f"start-{runner}-{number}", runner=runner)
            seconds.append(time.monotonic() - begun)
    return {f"{runner}_s": statistics.median(seconds) for runner, seconds in took.items()}


def time_stages(source: str, variant: models.Variant, out: Path) -> dict[str, Any]:
    """Time every stage on every page, one after another in this process.

    source: URI of gray chapters.
    variant: the network.
    out: folder for the coloured chapters.
    Returns means per page; "steps" is the processor time with the steps of STEPS over that without them.
    """
    cv2.setNumThreads(1)  # as in a sandbox
    watch = Stopwatch()
    ledger = Ledger(str(out), "0" * 64)
    variant.generator().to(memory_format=torch.channels_last)
    square = (variant.image_size,) * 2
    stages = Stages(ledger, PageSettings(), variant.image_size)
    predict = Predictor(variant, BATCH)
    predict_chroma(variant, np.zeros((BATCH, *square), np.uint8))  # the first call is slower: it also makes plans
    pages = 0
    for ref in find_chapters(source):
        chunks = watch("open", lambda ref=ref: list(stages.open(ChapterTask(ref, ref.rel, False))))  # type: ignore[misc]
        for chunk in chunks:
            chapter = open_chapter(ref)
            for work in chunk.pages:
                work.data = watch("read", lambda c=chapter, w=work: c.read(w.member))  # type: ignore[misc]
                if work.member.index is None:
                    continue
                pages += 1
                page = watch("decode", lambda w=work: decode_plain(w.data))  # type: ignore[misc]
                if page.ndim == 2 or not watch("is it in colour", lambda p=page: is_color_page(p)):  # type: ignore[misc]
                    work.action = "coloured"
                    gray = watch("prepare", lambda p=page: gray_of(p))  # type: ignore[misc]
                    gray = watch("smooth screens", lambda g=gray: for_network(g))  # type: ignore[misc]
                    (view,) = watch("prepare", lambda g=gray: plan_views(g, "page", variant.image_size))  # type: ignore[misc]
                    work.grays, work.crops, work.shape = view.gray[None], (view.crop,), gray.shape
            watch("predict", lambda s=chunk: predict(s))  # type: ignore[misc]
            for work in chunk.pages:
                if work.chroma is None:
                    continue
                page = watch("decode", lambda w=work: decode_plain(w.data))  # type: ignore[misc]
                chroma = work.chroma.astype(np.float32)
                gray = watch("join", lambda p=page: gray_of(p))  # type: ignore[misc]
                refined = watch("lines", lambda g=gray, c=chroma: refined_rows(g, c))  # type: ignore[misc]
                text = watch("words", lambda g=gray: find_text(g))  # type: ignore[misc]
                # Rows are made as they are joined; the time for them is told by step all the same.
                laid = neutral(lambda rows, r=refined: watch("lines", lambda: r(rows)), text)  # type: ignore[misc]
                timed = lambda rows, n=laid: watch("words", lambda: n(rows))  # type: ignore[misc]  # noqa: E731
                joined = watch("join", lambda g=gray, c=timed: join_chroma(g, c))  # type: ignore[misc]
                watch("gate", lambda g=gray, j=joined, w=text: judge(g, j, w))  # type: ignore[misc]
                work.data = watch("encode", lambda j=joined: encode(j, "jpeg"))  # type: ignore[misc]
                work.action, work.chroma = "kept", None  # so that `postprocess` only packs, checks and puts
            watch("publish", lambda s=chunk: stages.postprocess(s))  # type: ignore[misc]
    return {
        "pages": pages,
        "wall_ms_per_page": {stage: 1000 * value / pages for stage, value in watch.wall.items()},
        "core_ms_per_page": {stage: 1000 * value / pages for stage, value in watch.cores.items()},
        "core_seconds_per_page": sum(watch.cores.values()) / pages,
        "steps": sum(watch.cores.values()) / sum(value for name, value in watch.cores.items() if name not in STEPS),
    }


class InThisProcess(Sandbox):
    """Does the work of a sandbox in this process, so that its processor time is seen."""

    def call(self, function: Callable[..., T], *arguments: Any, seconds: float) -> T:
        return function(*arguments)


def plain_loop(source: str, variant: models.Variant, out: Path) -> float:
    """Core-seconds a page of a job's own stages, chapter by chapter, in one thread of one process."""
    cv2.setNumThreads(1)
    set_sandbox(InThisProcess())
    stages = Stages(Ledger(str(out), "0" * 64), PageSettings(), variant.image_size)
    predict, pages = Predictor(variant, BATCH), 0
    begun = time.process_time()
    for ref in find_chapters(source):
        for chunk in stages.open(ChapterTask(ref, ref.rel, 0)):
            pages += len(chunk.pages)
            stages.postprocess(predict(stages.prepare(chunk)))
    took = time.process_time() - begun
    set_sandbox(None)
    return took / pages


def time_colorize(source: str, folder: Path, repeat: int) -> dict[str, Any]:
    """Time a job with a network that costs next to nothing, on each runner, each time after the stages alone.

    Pages a second are those between the first manifest and the last. "share" is what the stages alone take of
    processor time for these pages, over wall time times cores.
    """
    variant = publish_untrained(folder / "tiny", base_channels=4, image_size=32)
    cores = available_cores()
    rates: dict[str, list[float]] = {"local": [], "ray": []}
    shares: dict[str, list[float]] = {"local": [], "ray": []}
    torch.set_num_threads(1)
    for number in range(repeat):
        alone = plain_loop(source, variant, folder / f"alone-{number}")
        for runner in rates:
            out = folder / f"{runner}-{number}"
            run("colorize", model=folder / "tiny", source=source, out=out, runner=runner)
            rates[runner].append(pages_per_second(out))
            shares[runner].append(rates[runner][-1] * alone / cores)
    torch.set_num_threads(cores)
    return {
        runner: {"pages_per_second": statistics.median(rates[runner]), "share": statistics.median(shares[runner])}
        for runner in rates
    }


def pages_per_second(out: Path) -> float:
    """The rate of a job after its start: between its first and its last manifest."""
    manifests = sorted((out / "_mangahue/chapters").rglob("*.json"), key=lambda path: path.stat().st_mtime)
    counts = [sum(page["index"] is not None for page in json.loads(path.read_text())["pages"]) for path in manifests]
    first, last = (manifests[i].stat().st_mtime for i in (0, -1))
    return sum(counts[1:]) / (last - first)


def time_training(data: str, folder: Path, steps: int) -> dict[str, Any]:
    """Time steps of exemplar through train.py, and in a plain loop over examples that are in memory.

    data: URI of the shards.
    """
    run("train", variant="exemplar", batch_size=BATCH, data=data, run=folder / "run", max_steps=steps,
            eval_every=steps)  # fmt: skip
    points = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
    first, *_, last = [point for point in points if point["kind"] == "train"]
    job = (last["step"] - first["step"]) / (last["seconds"] - first["seconds"])
    plain = plain_steps_per_second(ShardSet.open(data), min(steps, 60))
    return {"steps_per_second": job, "plain_steps_per_second": plain, "share": job / plain}


def plain_steps_per_second(shards: ShardSet, steps: int) -> float:
    """The rate of exemplar's steps where nothing else is done."""
    variant = models.build("exemplar", {})
    rows = [vars(page) for page in shards.sample("train", 8 * BATCH)]
    made = [training_example(row, kind="pairs", size=variant.image_size, target=variant.target) for row in rows]
    examples = [example for one in made for example in one]
    training = models.Training(variant, lambda network: network)
    begun = time.monotonic()
    for step in range(steps):
        chosen = [examples[(step * BATCH + number) % len(examples)] for number in range(BATCH)]
        ink, target = (torch.from_numpy(np.stack([example[name] for example in chosen])) for name in ("ink", "target"))
        chapters = torch.arange(BATCH) // variant.pages_per_chapter
        training.step(encode_ink(ink), encode_target(target, variant.target), chapters=chapters)
        if step == 0:
            begun = time.monotonic()  # the first step makes plans too
    return (steps - 1) / (time.monotonic() - begun)


def ingested(source: str, folder: Path) -> str:
    """Shards of the chapters of `source`, in colour."""
    run("ingest", color=source, out=folder)
    return str(folder)


def write_pages(folder: Path) -> None:
    """Write gray and coloured chapters of generated JPEG pages."""
    series = Series(chapters=CHAPTERS, pages=PAGES, width=SIZE[0], height=SIZE[1])
    for chapter in range(1, CHAPTERS + 1):
        drawn = [draw_page(series, chapter, page) for page in range(1, PAGES + 1)]
        for edition, pictures in (("ink", [page.ink for page in drawn]), ("color", [page.color for page in drawn])):
            (folder / edition).mkdir(parents=True, exist_ok=True)
            members = ((f"{number:03}.jpg", encode(picture, "jpeg")) for number, picture in enumerate(pictures, 1))
            write_zip(members, folder / edition / f"ch{chapter:02}.cbz")


def as_page(result: dict[str, Any]) -> str:
    """The figures that there are, as a short page of Markdown."""
    parts = [f"# Figures\n\n{result['cores']} cores, {result['machine']}, torch {result['torch']}."]
    if start := result.get("start"):
        parts.append(
            f"A chapter of {PAGES} pages, from command to report: {start['local_s']:.1f} s without Ray, "
            f"{start['ray_s']:.1f} s on a local cluster."
        )
    if stage := result.get("stages"):
        rows = [
            f"| {name} | {stage['wall_ms_per_page'][name]:.1f} | {value:.1f} |"
            for name, value in stage["core_ms_per_page"].items()
        ]
        whole = f"| sum | {sum(stage['wall_ms_per_page'].values()):.1f} | {1000 * stage['core_seconds_per_page']:.1f} |"
        head = ["| stage, alone in one process | wall, ms a page | processor, ms a page |", "| --- | --- | --- |"]
        parts.append("\n".join([*head, *rows, whole]))
    if job := result.get("colorize"):
        rows = [f"| {name} | {job[name]['pages_per_second']:.2f} | {job[name]['share']:.2f} |" for name in job]
        head = ["| runner | pages/s after start | the stages' own share of wall x cores |", "| --- | --- | --- |"]
        parts.append("\n".join([*head, *rows]))
    if step := result.get("step"):
        rows = [f"| {name} | {seconds:.3f} |" for name, seconds in step.items()]
        parts.append("\n".join(["| a step alone: pix2pix one page, exemplar eight | s |", "| --- | --- |", *rows]))
    if training := result.get("train"):
        parts.append(
            f"Training (exemplar, batch {BATCH}): {training['steps_per_second']:.2f} steps/s, "
            f"{training['share']:.2f} of the {training['plain_steps_per_second']:.2f} of a plain loop."
        )
    if network := result.get("network"):
        parts.append(as_table(network))
    return "\n\n".join(parts) + "\n"


@click.command(context_settings={"show_default": True})
@click.option("--out", default="build/bench", help="Folder of bench.json and bench.md.")
@click.option("--only", multiple=True, type=click.Choice(PARTS), help="Measure this part; repeat for several.")
@click.option("--source", default="", help="Gray chapters to colour instead of generated ones.")
@click.option("--data", default="", help="Shards to train on instead of those of generated pages.")
@click.option("--repeat", default=1, help="How often start and colorize are measured; medians are told.")
@click.option("--steps", default=30, help="Training steps.")
def main(out: str, only: tuple[str, ...], source: str, data: str, repeat: int, steps: int) -> None:
    """Measure how fast mangahue is on this machine."""
    configure_log()
    os.environ["RAY_ADDRESS"] = "local"  # a job on Ray starts a cluster of its own
    result: dict[str, Any] = {
        "cores": available_cores(),
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    Path(out).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mangahue-bench-") as scratch:
        folder = Path(scratch)
        write_pages(folder / "series")
        source = source or str(folder / "series/ink")
        measures: dict[str, Callable[[], dict[str, Any]]] = {
            "start": lambda: time_start(source, folder, repeat),
            "stages": lambda: time_stages(source, publish_untrained(folder / "whole"), folder / "stages"),
            "colorize": lambda: time_colorize(source, folder, repeat),
            "network": time_network,
            "step": lambda: time_step(5 * repeat),
            "train": lambda: time_training(
                data or ingested(str(folder / "series/color"), folder / "shards"), folder, steps
            ),
        }
        for part in only or PARTS:
            result[part] = measures[part]()
            Path(out, "bench.json").write_text(json.dumps(result, indent=1) + "\n")
            Path(out, "bench.md").write_text(as_page(result))
            print(as_page({**{name: result[name] for name in ("cores", "machine", "torch")}, part: result[part]}))


if __name__ == "__main__":
    main()
