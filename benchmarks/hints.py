"""Whether a network keeps to colour hints, and what the hints do for the rest of the page.

python -m benchmarks.hints --model RUN/model --color DATA/peppercarrot --chapters ep10,ep19

Pages are made gray (equal lightness). Hints are drawn at random positions where the page has one colour, and given as
--hints gives them. The page is postprocessed as a job does it. A hint is kept where its mean colour in the published
page is within CIEDE2000 10 of the hinted chroma at the ink's lightness.
"""

from collections import defaultdict
from pathlib import Path

import click
import cv2
import numpy as np
from skimage.color import deltaE_ciede2000

from benchmarks.pages import pages
from datasets.page import encode
from imaging.color import F32, U8, gray_of_equal_lightness, lightness_of_level, to_lab
from imaging.descreen import for_network
from imaging.hints import Hint, draw_hints, keep_hints
from imaging.metrics import ciede2000
from imaging.postprocess import PostprocessSettings, postprocess_page
from imaging.views import plan_views
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import predict_chroma

_COUNTS = (0, 1, 5, 10, 20, 50)
_RADIUS = 8.0  # pixels of the page
_NEAR = 10.0  # CIEDE2000 within which a hint is kept
_EVEN = 12.0  # ab: most spread within a hint that counts as one colour
_TRIES = 50  # random positions per hint


def inside(hint: Hint, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) whether a pixel's centre is inside the hint."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows + 0.5 - hint.y) ** 2 + (columns + 0.5 - hint.x) ** 2 <= hint.radius**2


def draw(lab: F32, count: int, chance: np.random.Generator) -> list[Hint]:
    """Up to `count` hints with the mean ab of their disc, at random positions where the page has about one colour.

    lab: (H, W, 3) CIELAB of the true page.
    """
    height, width = lab.shape[:2]
    hints: list[Hint] = []
    for _ in range(_TRIES * count):
        if len(hints) == count:
            break
        x, y = chance.uniform(_RADIUS, width - _RADIUS), chance.uniform(_RADIUS, height - _RADIUS)
        ab = lab[inside(Hint(x, y, _RADIUS, (0, 0)), lab.shape)][:, 1:]
        if ab.std(axis=0).max() <= _EVEN:
            a, b = ab.mean(axis=0).tolist()
            hints.append(Hint(x, y, _RADIUS, (a, b)))
    return hints


def away(hint: Hint, gray: U8, page_lab: F32) -> float:
    """CIEDE2000 between a hint's mean colour on the page and the hinted colour."""
    where = inside(hint, gray.shape)
    wanted = np.array([lightness_of_level()[gray[where]].mean(), *hint.ab])
    return float(deltaE_ciede2000(page_lab[where].mean(axis=0), wanted))


@click.command()
@click.option("--model", "uri", required=True, help="RUN/model of a network that follows hints.")
@click.option("--color", required=True, help="Folder of colour pages.")
@click.option("--chapters", default="", help="Names of chapters, comma-separated; all if empty.")
@click.option("--pictures", type=click.Path(path_type=Path), help="Folder for pages with their hints, as JPEGs.")
def main(uri: str, color: str, chapters: str, pictures: Path | None) -> None:
    """Print a table by the number of hints on a page."""
    cv2.setNumThreads(1)
    variant = load_model(uri)
    distances: dict[tuple[str, int], list[float]] = defaultdict(list)
    errors: dict[tuple[str, int], list[float]] = defaultdict(list)
    for chapter, name, truth in pages(color, {part for part in chapters.split(",") if part}):
        gray, lab = gray_of_equal_lightness(truth), to_lab(truth)
        shown = for_network(gray)
        (view,) = plan_views(shown, "page", variant.image_size)
        hints = draw(lab, max(_COUNTS), np.random.default_rng(0))
        plain = predict_chroma(variant, view.gray[None])[0]
        for count in _COUNTS:
            drawn = draw_hints(hints[:count], view.crop, shown.shape, gray.shape, variant.image_size)
            said = predict_chroma(variant, view.gray[None], drawn[None])[0]
            for way, chroma in (("network alone", said), ("as published", keep_hints(said, plain, drawn, view.gray))):
                page = postprocess_page(gray, chroma, PostprocessSettings(), hints=hints[:count]).page
                page_lab = to_lab(page)
                distances[way, count] += [away(hint, gray, page_lab) for hint in hints[:count]]
                errors[way, count].append(ciede2000(page, truth))
            if pictures:
                pictures.mkdir(parents=True, exist_ok=True)
                marked = page.copy()
                for hint in hints[:count]:
                    cv2.circle(marked, (round(hint.x), round(hint.y)), round(hint.radius) + 2, (255, 0, 255), 2)
                (pictures / f"{Path(chapter).name}-{name}-{count}.jpg").write_bytes(encode(marked, "jpeg"))
    click.echo("| hints a page | | CIEDE2000 of the page | hints within 10 | median of hints |\n|" + " --- |" * 5)
    for (way, count), found in errors.items():
        away_by = np.array(distances[way, count])
        hint_cells = f"{(away_by <= _NEAR).mean():.3f} | {np.median(away_by):.2f}" if count else " | "
        click.echo(f"| {count} | {way} | {np.mean(found):.2f} | {hint_cells} |")


if __name__ == "__main__":
    main()
