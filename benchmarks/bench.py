"""First figures: each stage of colorize alone, the whole job, and a training step. Written as JSON and as a short page.

    python -m benchmarks.bench [--out build/bench] [--source URI]

Core-seconds are the processor time of all threads of a process. The model is an untrained pix2pix of the published
size, which is as fast as a trained one.
"""

import json
import os
import platform
import subprocess
import sys
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
from datasets.archive import find_chapters
from datasets.chapters import open_chapter
from datasets.page import decode, encode, gray_of
from datasets.synthetic import Series, write_series
from imaging.color import is_color_page, join_chroma
from imaging.descreen import for_network
from imaging.gate import judge
from imaging.lines import refine_chroma
from imaging.text import find_text, neutral
from imaging.views import plan_views
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import ChapterTask
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.model.inference import predict_chroma
from tests.untrained import publish_untrained

CHAPTERS, PAGES = 20, 3
SIZE = (992, 1400)
BATCH = 8
STEPS = ("smooth screens", "lines", "words", "gate")  # the steps for quality, beside the network
T = TypeVar("T")


class Stopwatch:
    """Wall and core seconds by stage."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cores: dict[str, float] = {}

    def __call__(self, stage: str, work: Callable[[], T]) -> T:
        wall, cores = time.perf_counter(), time.process_time()
        result = work()
        self.wall[stage] = self.wall.get(stage, 0) + time.perf_counter() - wall
        self.cores[stage] = self.cores.get(stage, 0) + time.process_time() - cores
        return result


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
                page = watch("decode", lambda w=work: decode(w.data))  # type: ignore[misc]
                if not watch("is it in colour", lambda p=page: is_color_page(p)):  # type: ignore[misc]
                    work.action = "coloured"
                    gray = watch("prepare", lambda p=page: gray_of(p))  # type: ignore[misc]
                    gray = watch("smooth screens", lambda g=gray: for_network(g))  # type: ignore[misc]
                    (view,) = watch("prepare", lambda g=gray: plan_views(g, "page", variant.image_size))  # type: ignore[misc]
                    work.grays, work.crops, work.shape = view.gray[None], (view.crop,), gray.shape
            watch("predict", lambda s=chunk: predict(s))  # type: ignore[misc]
            for work in chunk.pages:
                if work.chroma is None:
                    continue
                page = watch("decode", lambda w=work: decode(w.data))  # type: ignore[misc]
                chroma = work.chroma.astype(np.float32)
                gray = watch("join", lambda p=page: gray_of(p))  # type: ignore[misc]
                chroma = watch("lines", lambda g=gray, c=chroma: refine_chroma(g, c))  # type: ignore[misc]
                text = watch("words", lambda g=gray: find_text(g))  # type: ignore[misc]
                chroma = watch("words", lambda w=text, c=chroma: neutral(c, w, overwrite=True))  # type: ignore[misc]
                joined = watch("join", lambda g=gray, c=chroma: join_chroma(g, c))  # type: ignore[misc]
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


def time_colorize(source: str, model: Path, out: Path) -> dict[str, Any]:
    """Time the whole job as a process. Its rate after start-up is that between the first and the last manifest."""
    begun = time.time()
    run_job("colorize", "--model", str(model), "--source", source, "--out", str(out), "--batch-size", str(BATCH))
    wall = time.time() - begun
    manifests = sorted((out / "_mangahue/chapters").rglob("*.json"), key=lambda path: path.stat().st_mtime)
    counts = [sum(page["index"] is not None for page in json.loads(path.read_text())["pages"]) for path in manifests]
    first, last = (manifests[i].stat().st_mtime for i in (0, -1))
    return {
        "wall_s": wall,
        "start_up_s": first - begun,
        "pages": sum(counts),
        "pages_per_second_whole": sum(counts) / wall,
        "pages_per_second_after_start": sum(counts[1:]) / (last - first),
    }


def time_training(source: str, folder: Path, steps: int) -> dict[str, Any]:
    """Time training steps of pix2pix, and the share of the time that they wait for data."""
    run_job("ingest", "--color", source, "--out", str(folder / "shards"))
    run_job(
        "train", "--variant", "pix2pix", "--data", str(folder / "shards"), "--run", str(folder / "run"),
        "--max-steps", str(steps), "--eval-every", str(steps),
    )  # fmt: skip
    lines = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
    points = [line for line in lines if line["kind"] == "train"]
    steady = points[1:]  # the first point includes the start of the stream
    took = [1 / point["steps_per_second"] for point in steady]
    return {
        "step_s": float(np.median(took)),
        "waiting": float(np.mean([point["waiting"] for point in steady])),
        "first_batch_s": points[0]["waiting"] / points[0]["steps_per_second"] * points[0]["step"],
        "batch_size": 4,
    }


def run_job(job: str, *arguments: str) -> None:
    print(f"$ python -m jobs.{job} {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", f"jobs.{job}", *arguments], check=True)


def as_page(result: dict[str, Any]) -> str:
    """The figures as a short page of Markdown."""
    stage, job, training = result["stages"], result["colorize"], result["training"]
    rows = "\n".join(
        f"| {name} | {stage['wall_ms_per_page'][name]:.1f} | {value:.1f} |"
        for name, value in stage["core_ms_per_page"].items()
    )
    return f"""# Figures

{result["cores"]} cores, {result["machine"]}, torch {result["torch"]}; {job["pages"]} pages.

| stage, alone in one process | wall, ms a page | processor, ms a page |
| --- | --- | --- |
{rows}
| sum | {sum(stage["wall_ms_per_page"].values()):.1f} | {1000 * stage["core_seconds_per_page"]:.1f} |

Whole job: {job["pages_per_second_after_start"]:.2f} pages/s after a start-up of {job["start_up_s"]:.1f} s
({job["wall_s"]:.1f} s in all). The stages' own core-seconds are {result["efficiency"]:.2f} of wall time x cores
(mark: at least 0.6).

With the steps of quality ({", ".join(STEPS)}) a page takes {stage["steps"]:.2f} times the processor time that it takes
without them (mark: at most 1.3).

Training (pix2pix, 256 x 256, batch {training["batch_size"]}): {training["step_s"]:.2f} s a step,
{training["waiting"]:.1%} of it waiting for data (mark: under 20 %); the first batch came after
{training["first_batch_s"]:.1f} s.
"""


@click.command()
@click.option("--out", default="build/bench", show_default=True, help="Folder of bench.json and bench.md.")
@click.option("--source", default=None, help="Gray chapters to colour instead of generated ones.")
@click.option("--steps", default=40, show_default=True, help="Training steps.")
def main(out: str, source: str | None, steps: int) -> None:
    """Measure the stages of colorize, the whole job, and training."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="mangahue-bench-") as scratch:
        folder = Path(scratch)
        write_series(Series(chapters=CHAPTERS, pages=PAGES, width=SIZE[0], height=SIZE[1]), folder / "series")
        source = source or str(folder / "series/ink")
        variant = publish_untrained(folder / "model")
        staged = time_stages(source, variant, folder / "alone")
        del variant
        whole = time_colorize(source, folder / "model", folder / "out")
        training = time_training(str(folder / "series/color"), folder, steps)
    efficiency = staged["core_seconds_per_page"] * whole["pages_per_second_after_start"] / cores
    result = {
        "cores": cores,
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "stages": staged,
        "colorize": whole,
        "efficiency": efficiency,
        "training": training,
    }
    Path(out).mkdir(parents=True, exist_ok=True)
    Path(out, "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    Path(out, "bench.md").write_text(as_page(result))
    print(as_page(result))


if __name__ == "__main__":
    main()
