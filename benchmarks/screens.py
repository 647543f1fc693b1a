"""What smoothing screens does to what the network sees, and what it costs.

python -m benchmarks.screens --color DATA/peppercarrot --chapters ep10,ep19 --bw BW

Colour pages are tested as plain gray, and as ink drawn from them (imaging.screentone). For the drawn ink, the same
drawing with even grays in place of screens is known. Black-and-white pages (--bw) have no truth. Only the beats in
their scaled-down form are measured.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from benchmarks.moire import moire
from benchmarks.pages import pages
from datasets.page import gray_of
from imaging.color import F32, U8, gray_of_equal_lightness, join_chroma, to_lab
from imaging.descreen import descreen, find_screens, network_view, squeezed
from imaging.screentone import to_screentone

_SIZE = 256  # the side that networks see, where no model is given
_TIMES = 3  # runs, of which the fastest counts

Predict = Callable[[U8], F32]


def beats(view: U8, even: U8) -> float:
    """What the network sees and is not there, off lines and borders: rms, in levels.

    view: (S, S) the page as the network sees it.
    even: (S, S) the page without screens.
    The difference less its own local mean is measured.
    """
    off = view.astype(np.float32) - even
    off -= cv2.GaussianBlur(off, (0, 0), 3)
    window = np.ones((3, 3), np.uint8)
    ground = cv2.dilate(even, window) - cv2.erode(even, window) < 10
    inside = ground & (even > 20) & (even < 225)
    return float(np.sqrt((off[inside] ** 2).mean())) if inside.any() else 0.0


def seconds(work: Callable[[], Any]) -> float:
    """The least processor time of several runs in this thread."""
    taken = []
    for _ in range(_TIMES):
        start = time.thread_time()
        work()
        taken.append(time.thread_time() - start)
    return min(taken)


class Figures:
    """Lists of numbers by name, printed as means."""

    def __init__(self) -> None:
        self._of: dict[str, list[float]] = defaultdict(list)

    def add(self, name: str, value: float) -> None:
        self._of[name].append(value)

    def tell(self, title: str) -> None:
        click.echo(title)
        for name, values in self._of.items():
            click.echo(f"  {name:64} {np.mean(values):8.3f}   at most {np.max(values):8.3f}   of {len(values)}")


def plain_pages(figures: Figures, gray: U8, size: int) -> None:
    """Add the figures of a plain gray page."""
    smooth = descreen(gray)
    figures.add("share of cells taken for screens", float((find_screens(gray) > 0).mean()))
    figures.add("mean absolute change at full size, levels", float(cv2.absdiff(gray, smooth).mean()))
    change = cv2.absdiff(squeezed(gray, size), network_view(gray, size))
    figures.add("mean absolute change of what the network sees, levels", float(change.mean()))
    figures.add("ms a page", 1000 * seconds(lambda: descreen(gray)))


def drawn_pages(figures: Figures, rgb: U8, seed: int, size: int, predict: Predict | None) -> dict[str, U8]:
    """Add the figures of ink drawn from a colour page. Returns the pictures to save, by name."""
    ink, even = (to_screentone(rgb, seed, screens=screens) for screens in (True, False))
    views = {"with screens": squeezed(ink, size), "smoothed": network_view(ink, size), "even": squeezed(even, size)}
    figures.add("ms to draw a page", 1000 * seconds(lambda: to_screentone(rgb, seed)))
    figures.add("ms to smooth it", 1000 * seconds(lambda: descreen(ink)))
    for name in ("with screens", "smoothed"):
        figures.add(f"beats in what the network sees, {name}, levels rms", beats(views[name], views["even"]))
    shown = {"ink": ink, "smoothed": descreen(ink)}
    if predict:
        truth = to_lab(squeezed(rgb, size))[..., 1:]
        even_chroma = predict(views["even"])
        figures.add("moire of the true colours (what this measure can't tell)", moire(truth, ink))
        for name in ("with screens", "smoothed"):
            chroma = predict(views[name])
            figures.add(f"moire of the chroma, {name}, CIELAB rms", moire(chroma, ink))
            off = np.hypot(*np.moveaxis(chroma - even_chroma, -1, 0))
            figures.add(f"distance from the even page's chroma, {name}, CIELAB", float(off.mean()))
            error = np.hypot(*np.moveaxis(chroma - truth, -1, 0))
            figures.add(f"distance from the true chroma, {name}, CIELAB", float(error.mean()))
            shown[f"coloured, {name}"] = join_chroma(ink, chroma)
    return shown


def scanned_pages(figures: Figures, gray: U8, size: int, predict: Predict | None) -> dict[str, U8]:
    """Add the figures of a black-and-white page. Returns the pictures to save, by name."""
    views = {"with screens": squeezed(gray, size), "smoothed": network_view(gray, size)}
    figures.add("ms a page", 1000 * seconds(lambda: descreen(gray)))
    figures.add("share of cells taken for screens", float((find_screens(gray) > 0).mean()))
    figures.add("beats that smoothing takes away, levels rms", beats(views["with screens"], views["smoothed"]))
    shown = {"ink": gray, "smoothed": descreen(gray)}
    if predict:
        for name, view in views.items():
            chroma = predict(view)
            figures.add(f"moire of the chroma, {name}, CIELAB rms", moire(chroma, gray))
            shown[f"coloured, {name}"] = join_chroma(gray, chroma)
    return shown


def save(folder: Path | None, name: str, shown: dict[str, U8]) -> None:
    """Save the pictures of a page side by side."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    row = [page if page.ndim == 3 else np.repeat(page[..., None], 3, axis=2) for page in shown.values()]
    picture = cv2.cvtColor(np.hstack(row), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / f"{name.replace('/', '-').rpartition('.')[0]}.png"), picture)


def load(uri: str | None) -> tuple[int, Predict | None]:
    """The side of the square that a model sees, and a function that predicts a page. No model: 256 and None."""
    if uri is None:
        return _SIZE, None
    from jobs.parts.model.folder import load_model
    from jobs.parts.model.inference import predict_chroma

    variant = load_model(uri)
    return variant.image_size, lambda view: predict_chroma(variant, view[None])[0]


@click.command()
@click.option("--color", required=True, help="Folder of colour pages.")
@click.option("--chapters", help="Names of its chapters to test, comma-separated; all if not given.")
@click.option("--bw", help="Folder of black-and-white pages.")
@click.option("--pictures", type=click.Path(path_type=Path), help="Folder for pictures of the pages.")
@click.option("--model", help="Folder of a trained model (RUN/model), whose chroma is measured too.")
def main(color: str, chapters: str | None, bw: str | None, pictures: Path | None, model: str | None) -> None:
    """Print what smoothing changes, what it takes away, and how long it takes on one core."""
    cv2.setNumThreads(1)
    size, predict = load(model)
    chosen = frozenset(chapters.split(",")) if chapters else ()
    plain, drawn, scanned = Figures(), Figures(), Figures()
    for number, (chapter, name, rgb) in enumerate(pages(color, chosen)):
        plain_pages(plain, gray_of_equal_lightness(rgb), size)
        save(pictures, f"drawn-{chapter}/{name}", drawn_pages(drawn, rgb, number, size, predict))
    plain.tell("Plain gray pages")
    drawn.tell("Ink drawn from them")
    if bw:
        for chapter, name, rgb in pages(bw):
            save(pictures, f"scanned-{chapter}/{name}", scanned_pages(scanned, gray_of(rgb), size, predict))
        scanned.tell("Black-and-white pages")


if __name__ == "__main__":
    main()
