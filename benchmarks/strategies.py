"""Compares strategies: how a page is shown to the network, and what becomes of it.

python -m benchmarks.strategies --model RUN/model --color DATA/peppercarrot --chapters ep10,ep19

Colour pages are made gray (equal lightness), coloured and compared with the original. Seam energy is that of the chroma
map (`benchmarks.measures.seam_energy`). Beside it is that of the truth under the same owners, because panels end where
pictures do. Pages per second: planned, predicted, assembled and joined, in this one process.
"""

import time
from collections import defaultdict
from pathlib import Path

import click
import cv2
import numpy as np

import models
from benchmarks.measures import seam_energy
from benchmarks.pages import pages
from datasets.page import encode
from imaging.color import F32, U8, gray_of_equal_lightness, join_chroma, to_lab
from imaging.crops import dominant
from imaging.metrics import ciede2000, colorfulness
from imaging.views import STRATEGIES, Strategy, View, assemble, plan_views
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import predict_chroma

_HEAD = ("strategy", "CIEDE2000", "colourfulness", "seam energy", "of the truth there", "pages/s", "views/page")
_BATCH = 8
_COLORS = [(255, 80, 60), (60, 190, 80), (70, 120, 255), (240, 190, 40), (200, 80, 220), (40, 200, 210)]


def predict(variant: models.Variant, views: list[View]) -> F32:
    """(N, S, S, 2) ab of the views, predicted a few squares at a time."""
    batches = [views[start : start + _BATCH] for start in range(0, len(views), _BATCH)]
    return np.concatenate([predict_chroma(variant, np.stack([view.gray for view in batch])) for batch in batches])


def seams(views: list[View], chroma: F32, truth: U8) -> tuple[float, float]:
    """Seam energy of a chroma map, and of the truth under the same owners. NaN where one view has the whole page."""
    crops = [view.crop for view in views]
    h, w = chroma.shape[:2]
    owner = dominant(crops, truth.shape[:2], (h, w))
    true = cv2.resize(to_lab(truth)[..., 1:], (w, h), interpolation=cv2.INTER_AREA)
    return seam_energy(chroma, owner), seam_energy(true, owner)


def outlined(gray: U8, views: list[View]) -> U8:
    """The page with the contours of its views; a view without contour is drawn as its rect."""
    page: U8 = np.repeat(gray[..., None], 3, axis=2)
    tinted = page.copy()
    shapes = []
    for view in views:
        rect = view.crop.rect
        box = ((rect.left, rect.top), (rect.right, rect.top), (rect.right, rect.bottom), (rect.left, rect.bottom))
        shapes.append(np.array(view.crop.contour or box, np.int32))
    for number, shape in enumerate(shapes):
        if not views[number].crop.ground:
            cv2.fillPoly(tinted, [shape], _COLORS[number % len(_COLORS)])
    mixed: U8 = cv2.addWeighted(page, 0.65, tinted, 0.35, 0)
    for number, shape in enumerate(shapes):
        cv2.polylines(mixed, [shape], True, _COLORS[number % len(_COLORS)], max(2, gray.shape[0] // 300))
    return mixed


def measure(variant: models.Variant, truth: U8, strategy: Strategy) -> tuple[list[float], U8, U8]:
    """The figures of one page, in the order of `table`; the coloured page; its views drawn on it."""
    gray = gray_of_equal_lightness(truth)
    begun = time.perf_counter()
    views = plan_views(gray, strategy, variant.image_size)
    chroma = assemble([view.crop for view in views], predict(variant, views), gray.shape)
    ours = join_chroma(gray, chroma)
    seconds = time.perf_counter() - begun
    figures = [ciede2000(ours, truth), colorfulness(ours), *seams(views, chroma, truth), seconds, len(views)]
    return figures, ours, outlined(gray, views)


def table(figures: dict[str, list[list[float]]]) -> str:
    """Means over the pages, as Markdown. Pages per second come from the mean of the times."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + " --- |" * len(_HEAD)]
    for name, rows in figures.items():
        values = np.array(rows)
        with_seams = values[~np.isnan(values[:, 2])]
        seam, true = with_seams[:, 2:4].mean(axis=0) if len(with_seams) else (np.nan, np.nan)
        shown = [f"{values[:, 0].mean():.2f}", f"{values[:, 1].mean():.1f}", f"{seam:.2f}", f"{true:.2f}"]
        shown += [f"{1 / values[:, 4].mean():.2f}", f"{values[:, 5].mean():.1f}"]
        lines.append("| " + " | ".join([name, *(value.replace("nan", "") for value in shown)]) + " |")
    return "\n".join(lines)


@click.command(context_settings={"show_default": True})
@click.option("--model", required=True, help="RUN/model of a finished training.")
@click.option("--color", required=True, help="Folder of colour pages.")
@click.option("--chapters", default="", help="Names of chapters, comma-separated; all if empty.")
@click.option("--only", multiple=True, type=click.Choice(STRATEGIES), help="These strategies alone; repeat for more.")
@click.option("--pictures", default="", help="Folder for the coloured pages and the views on them, as JPEGs.")
@click.option("--threads", default=1, help="Threads of OpenCV; those of torch are OMP_NUM_THREADS.")
def main(model: str, color: str, chapters: str, only: tuple[Strategy, ...], pictures: str, threads: int) -> None:
    """Print a table of the strategies."""
    cv2.setNumThreads(threads)
    variant = load_model(model)
    figures: dict[str, list[list[float]]] = defaultdict(list)
    for chapter, name, truth in pages(color, {part for part in chapters.split(",") if part}):
        for strategy in only or STRATEGIES:
            values, ours, views = measure(variant, truth, strategy)
            figures[strategy].append(values)
            if pictures:
                Path(pictures).mkdir(parents=True, exist_ok=True)
                for kind, picture in {"colour": ours, "views": views}.items():
                    (Path(pictures) / f"{Path(chapter).name}-{name}-{strategy}-{kind}.jpg").write_bytes(
                        encode(picture, "jpeg")
                    )
    click.echo(table(figures))


if __name__ == "__main__":
    main()
