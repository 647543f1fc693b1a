"""Real black-and-white pages, coloured by several models: one picture, and what can be measured without a truth.

python -m benchmarks.manga --bw BW --model PLAIN/model --model MIX/model --picture bw.png

The picture has a row for each page. Its columns are the ink, and the page as a job would publish it with each model.
"""

from collections import defaultdict
from pathlib import Path

import click
import cv2
import numpy as np

from benchmarks.moire import moire
from benchmarks.pages import pages
from datasets.page import gray_of
from imaging.color import U8
from imaging.colorfulness import colorfulness
from imaging.descreen import for_network
from imaging.postprocess import PostprocessSettings, postprocess_page
from imaging.views import plan_views
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import predict_chroma

_HEIGHT = 560  # pixels of a page in the picture


def shown(page: U8) -> U8:
    """The page scaled to the height that it has in the picture."""
    width = round(page.shape[1] * _HEIGHT / page.shape[0])
    small: U8 = cv2.resize(page, (width, _HEIGHT), interpolation=cv2.INTER_AREA)
    return small


@click.command()
@click.option("--bw", required=True, help="Folder of black-and-white pages.")
@click.option("--model", "uris", multiple=True, required=True, help="RUN/model of a finished training; repeat.")
@click.option("--picture", type=click.Path(path_type=Path), help="PNG of all pages.")
@click.option("--every", default=1, show_default=True, help="Show one page of so many in the picture.")
def main(bw: str, uris: tuple[str, ...], picture: Path | None, every: int) -> None:
    """Print means over the pages, and draw the picture."""
    cv2.setNumThreads(1)
    variants = {uri: load_model(uri) for uri in uris}
    figures: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    rows: list[U8] = []
    for number, (_, _, rgb) in enumerate(pages(bw)):
        gray = gray_of(rgb)
        seen = for_network(gray)
        row = [shown(np.repeat(gray[..., None], 3, axis=2))]
        for uri, variant in variants.items():
            (view,) = plan_views(seen, "page", variant.image_size)
            chroma = predict_chroma(variant, view.gray[None])[0]
            done = postprocess_page(gray, chroma, PostprocessSettings())
            figures[uri].append((colorfulness(done.page), moire(chroma, gray), float(not done.faults)))
            row.append(shown(done.page))
        if number % every == 0:
            rows.append(np.concatenate(row, axis=1))
    if picture:
        widest = max(row.shape[1] for row in rows)
        padded = [np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
        cv2.imwrite(str(picture), np.concatenate(padded, axis=0)[..., ::-1])
    click.echo("| model | colourfulness | moire of the chroma, CIELAB rms | the gate passes |\n|" + " --- |" * 4)
    for uri, found in figures.items():
        color, beat, passed = np.mean(found, axis=0)
        click.echo(f"| {uri} | {color:.1f} | {beat:.2f} | {round(passed * len(found))} of {len(found)} |")


if __name__ == "__main__":
    main()
