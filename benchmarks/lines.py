"""What keeping colour to the lines is worth, step by step, on pages whose truth is known.

python -m benchmarks.lines --model RUN/model --color DATA/peppercarrot --chapters ep10,ep19

Two predictions are measured: the model's, and "oracle", the true chroma scaled down to the model's size. The oracle is
the best that a network of that size can predict. The rows are the truth itself with the page's gray levels; bilinear
upsampling; then step after step. The columns are CIEDE2000 of the whole page and within 3 pixels of ink lines, bleed
and false steps (benchmarks.bleed.Bleed), colourfulness, milliseconds of processor time per page on one core.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np
import torch

from benchmarks.bleed import Strokes, bleed, find_strokes, near_strokes
from benchmarks.pages import pages
from imaging.color import F32, U8, gray_of_equal_lightness, join_chroma, to_lab
from imaging.lines import refine_chroma
from imaging.metrics import ciede2000_map, colorfulness
from imaging.upsampling import upsample_chroma
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import predict_chroma

STEPS: dict[str, Callable[[U8, F32], F32]] = {
    "bilinear": lambda gray, chroma: cv2.resize(chroma, gray.shape[::-1], interpolation=cv2.INTER_LINEAR),
    "guided": upsample_chroma,
    "guided, sides": lambda gray, chroma: refine_chroma(gray, chroma),
    "guided, sides, areas": lambda gray, chroma: refine_chroma(gray, chroma, areas=0.5),
}
_FIGURES = ("CIEDE2000", "near lines", "bleed", "false step", "colourfulness", "ms")
_CROP = 300  # pixels: side of a saved crop


class Tally:
    """Figures of one row, summed over pages."""

    def __init__(self) -> None:
        self.means: list[tuple[float, ...]] = []
        self.sums = np.zeros(5)

    def add(self, ours: U8, truth: F32, strokes: Strokes, near: np.ndarray, seconds: float) -> None:
        """Add a page.

        ours: (H, W, 3) sRGB.
        truth: (H, W, 3) CIELAB.
        near: (H, W) bool, whether a pixel is near an ink line.
        """
        lab = to_lab(ours)
        away = ciede2000_map(lab, truth)
        close = away[near].mean() if near.any() else np.nan
        self.means.append((away.mean(), close, colorfulness(ours), 1000 * seconds))
        self.sums += bleed(np.ascontiguousarray(lab[..., 1:]), np.ascontiguousarray(truth[..., 1:]), strokes)

    def figures(self) -> tuple[float, ...]:
        """The values of _FIGURES over all pages."""
        full, near, colourful, took = np.nanmean(self.means, axis=0)
        off, across, _, false, plain = self.sums
        return full, near, off / max(across, 1e-9), false / max(plain, 1), colourful, took


def save_crops(folder: Path, name: str, shown: dict[str, U8], strokes: Strokes, truth: F32) -> None:
    """Save the square where bilinear upsampling is most wrong at lines: every row's side by side, at twice its size."""
    height, width = truth.shape[:2]
    wrong = ciede2000_map(to_lab(shown["bilinear"]), truth) * near_strokes(strokes, (height, width))
    dense = cv2.boxFilter(wrong, -1, (_CROP, _CROP))
    half = _CROP // 2
    inner = dense[half : max(half + 1, height - half), half : max(half + 1, width - half)]
    top, left = np.unravel_index(inner.argmax(), inner.shape)
    crops = [page[top : top + _CROP, left : left + _CROP] for page in shown.values()]
    sheet = cv2.resize(np.hstack(crops), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f"{name.replace('/', '_')}.png"), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


@click.command(context_settings={"show_default": True})
@click.option("--model", required=True, help="A model, as URI of RUN/model.")
@click.option("--color", required=True, help="Folder of colour chapters.")
@click.option("--chapters", default="", help="Names of chapters, comma-separated; all if empty.")
@click.option("--pictures", default=None, type=click.Path(path_type=Path), help="Folder for crops, side by side.")
def main(model: str, color: str, chapters: str, pictures: Path | None) -> None:
    """Print a table: each step, for the model's prediction and for the oracle's."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    variant = load_model(model)
    square = (variant.image_size,) * 2
    tallies: dict[tuple[str, str], Tally] = defaultdict(Tally)
    for chapter, name, rgb in pages(color, list(filter(None, chapters.split(",")))):
        gray, truth = gray_of_equal_lightness(rgb), to_lab(rgb)
        strokes = find_strokes(gray)
        near = near_strokes(strokes, gray.shape)
        true_chroma = np.ascontiguousarray(truth[..., 1:])
        best = join_chroma(gray, true_chroma)
        tallies["", "truth"].add(best, truth, strokes, near, 0)
        small = cv2.resize(gray, square, interpolation=cv2.INTER_AREA)
        predictions = {
            "model": predict_chroma(variant, small[None])[0],
            "oracle": cv2.resize(true_chroma, square, interpolation=cv2.INTER_AREA),
        }
        for source, chroma in predictions.items():
            shown = {"truth": best}
            for step, work in STEPS.items():
                begun = time.process_time()
                full = work(gray, chroma)
                seconds = time.process_time() - begun
                shown[step] = join_chroma(gray, full)
                tallies[source, step].add(shown[step], truth, strokes, near, seconds)
            if pictures:
                save_crops(pictures, f"{chapter}/{name}-{source}", shown, strokes, truth)
    count = len(tallies["", "truth"].means)
    click.echo(f"{count} pages; {int(tallies['', 'truth'].sums[2])} boundary pixels of lines")
    click.echo("| | |" + "|".join(f" {figure} " for figure in _FIGURES) + "|\n|" + " --- |" * (2 + len(_FIGURES)))
    for (source, step), tally in tallies.items():
        click.echo(f"| {source} | {step} |" + "|".join(f" {value:.3f} " for value in tally.figures()) + "|")


if __name__ == "__main__":
    main()
