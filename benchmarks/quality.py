"""What each step of postprocessing is worth, and what the gate says, on pages whose truth is known.

python -m benchmarks.quality --model RUN/model --color DATA/peppercarrot \\
    --art DATA/peppercarrot-art --chapters ep10,ep19 [--pictures DIR]

Each page's gray form is shown to the network as colorize does it (screens smoothed, the page in one square). It is
postprocessed with the steps on and off.

The columns are these: CIEDE2000 to the true page. Chroma on text: the mean over the true mask of lettering, which comes
from the editions with and without it (benchmarks.text). Colourfulness. Pages that the gate passes, and what it has
against the others. Milliseconds of processor time of postprocessing, gate included.
"""

import time
from collections import Counter
from pathlib import Path

import click
import cv2
import numpy as np
import torch

from benchmarks.pages import pages
from benchmarks.text import truth
from imaging.color import U8, gray_of_equal_lightness, to_lab
from imaging.colorfulness import colorfulness
from imaging.descreen import network_view
from imaging.metrics import ciede2000
from imaging.postprocess import PostprocessSettings, postprocess_page
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import predict_chroma

SETTINGS = {
    "stretched": PostprocessSettings(lines="off", text="colour"),
    "lines": PostprocessSettings(lines="sides", text="colour"),
    "words": PostprocessSettings(lines="off", text="neutral"),
    "lines, words": PostprocessSettings(),
}


class Row:
    """Figures of one way to postprocess."""

    def __init__(self) -> None:
        self.figures: list[tuple[float, float, float, float]] = []
        self.faults: Counter[str] = Counter()
        self.passed = 0

    def add(self, page: U8, color: U8, text: np.ndarray, codes: list[str], seconds: float) -> None:
        """Add a page.

        page: (H, W, 3) as postprocessed.
        color: (H, W, 3) the true page.
        text: (H, W) the true mask of lettering.
        codes: of the gate's faults.
        """
        lab = to_lab(page)
        tint = float(np.hypot(lab[..., 1], lab[..., 2])[text].mean()) if text.any() else np.nan
        self.figures.append((ciede2000(page, color), tint, colorfulness(page), 1000 * seconds))
        self.passed += not codes
        self.faults.update(codes)

    def __str__(self) -> str:
        figures = " | ".join(f"{value:.2f}" for value in np.nanmean(self.figures, axis=0))
        faults = ", ".join(f"{count} {code}" for code, count in sorted(self.faults.items()))
        return f"{figures} | {self.passed} of {len(self.figures)}{f' ({faults})' if faults else ''}"


@click.command(context_settings={"show_default": True})
@click.option("--model", required=True, help="A model, as URI of RUN/model.")
@click.option("--color", required=True, help="Folder of colour chapters.")
@click.option("--art", required=True, help="Folder of the same chapters without lettering.")
@click.option("--chapters", default="", help="Names of chapters, comma-separated; all if empty.")
@click.option("--pictures", default=None, type=click.Path(path_type=Path), help="Folder for pages side by side.")
def main(model: str, color: str, art: str, chapters: str, pictures: Path | None) -> None:
    """Print a table."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    variant = load_model(model)
    wanted = set(filter(None, chapters.split(",")))
    bare = {(chapter, name): page for chapter, name, page in pages(art, wanted)}
    rows = {name: Row() for name in SETTINGS}
    for chapter, name, page in pages(color, wanted):
        if (chapter, name) not in bare or bare[chapter, name].shape != page.shape:
            click.echo(f"{chapter}/{name} has no twin of its size without lettering: left out", err=True)
            continue
        text, _ = truth(page, bare[chapter, name])
        gray = gray_of_equal_lightness(page)
        chroma = predict_chroma(variant, network_view(gray, variant.image_size)[None])[0]
        shown = []
        for way, settings in SETTINGS.items():
            begun = time.process_time()
            made = postprocess_page(gray, chroma, settings)
            took = time.process_time() - begun
            rows[way].add(made.page, page, text, [fault.code.value for fault in made.faults], took)
            shown.append(made.page)
        if pictures:
            pictures.mkdir(parents=True, exist_ok=True)
            sheet = np.concatenate([shown[0], shown[-1], page], axis=1)
            cv2.imwrite(str(pictures / f"{chapter}-{Path(name).stem}.jpg"), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    click.echo("| | CIEDE2000 | chroma on words | colourfulness | finishing, ms | the gate passes |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    for way, row in rows.items():
        click.echo(f"| {way} | {row} |")


if __name__ == "__main__":
    main()
