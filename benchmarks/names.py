"""Whether the measures order colourings as the eye does: gray, sepia, the truth with turned hues, the truth.

python -m benchmarks.names [--color DATA/peppercarrot --chapters ep10,ep19] [--pictures DIR]

No network is measured. The rows are made from the true page, and all have its luminance. `mean chroma` has the same ab
everywhere, the mean of all pages; `sepia` the ab of #704214. Turned hues are the true ab turned about gray. `half
right` is a bold colouring: the right half of the page is true, the hues of the left half are turned by 120 degrees.
`pale` is half of the true ab. `blurred` is the true ab under a Gaussian of a twentieth of the page's width; `blotched`
has soft noise added to it. The columns are those that jobs/evaluate.py shows. Without --color pages of the generated
series are measured.

The pictures have the areas' borders drawn over the truth, and beside it each area in one colour of its name.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import click
import cv2
import numpy as np

from benchmarks.pages import pages
from datasets.synthetic import Series, draw_page
from imaging.color import F32, U8, gray_of_equal_lightness, join_chroma, to_lab
from imaging.color_areas import ColorAreas
from imaging.color_names import COLOR_NAMES
from imaging.metrics import ciede2000, colorfulness
from jobs.parts.evaluate.area_figures import area_figures, area_record, sum_of_records

_SEPIA = (0x70, 0x42, 0x14)
_NOISE = 15.0  # ab: standard deviation of the blotches
_BLOTCHES = 14  # along the page's height
_SHOWN = dict(
    zip(
        COLOR_NAMES,
        ("000000", "ffffff", "929591", "e50000", "f97306", "653700", "ffff14", "15b01a", "0343df", "7e1e9c", "ff81c0"),
        strict=True,
    )
)
_COLUMNS = ("color_names", "clouds", "colorfulness_share")


def colorings(truth: U8, mean: tuple[float, float]) -> dict[str, U8]:
    """Return colourings of a page, each with the page's own luminance.

    truth: (H, W, 3) sRGB.
    mean: (a, b) of all pages.
    """
    gray, chroma = gray_of_equal_lightness(truth), np.ascontiguousarray(to_lab(truth)[..., 1:])
    sepia = to_lab(np.array([[_SEPIA]], np.uint8))[0, 0, 1:]
    shape = gray.shape[::-1]
    noise = np.random.default_rng(0).normal(0, _NOISE, (_BLOTCHES, max(1, _BLOTCHES * shape[0] // shape[1]), 2))
    made: dict[str, F32] = {
        "gray page": np.zeros((1, 1, 2), np.float32),
        "mean chroma": np.float32([[mean]]),
        "sepia": sepia[None, None],
        "hues turned by 120 degrees": _turned(chroma, 120),
        "hues turned by 60 degrees": _turned(chroma, 60),
        "hues turned by 30 degrees": _turned(chroma, 30),
        "hues turned by 15 degrees": _turned(chroma, 15),
        "half right": np.concatenate([_turned(chroma, 120)[:, : shape[0] // 2], chroma[:, shape[0] // 2 :]], axis=1),
        "pale": chroma / 2,
        "blurred": cv2.GaussianBlur(chroma, (0, 0), shape[0] / 20),
        "blotched": chroma + cv2.resize(noise.astype(np.float32), shape, interpolation=cv2.INTER_CUBIC),
        "truth": chroma,
    }
    return {name: join_chroma(gray, ab) for name, ab in made.items()}


def _turned(chroma: F32, degrees: float) -> F32:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (chroma @ np.array([[cos, sin], [-sin, cos]])).astype(np.float32)


def figures(truths: Callable[[], Iterator[U8]]) -> dict[str, dict[str, float]]:
    """Return the figures of each of `colorings` over pages.

    truths: called twice, gives the pages (H, W, 3).
    """
    mean = np.mean([to_lab(truth)[..., 1:].mean(axis=(0, 1)) for truth in truths()], axis=0)
    records: dict[str, list[dict]] = {}
    for truth in truths():
        areas, colorful = ColorAreas(gray_of_equal_lightness(truth), truth), colorfulness(truth)
        for name, page in colorings(truth, (mean[0], mean[1])).items():
            ours = colorfulness(page)
            record = area_record(areas.count(page), ours, colorful)
            records.setdefault(name, []).append(
                {**record, "ciede2000": ciede2000(page, truth), "ours": ours, "colorful": colorful}
            )
    found = {}
    for name, each in records.items():
        means = {key: float(np.mean([record[key] for record in each])) for key in ("ciede2000", "ours", "colorful")}
        found[name] = means | area_figures(sum_of_records(each), means["ours"], means["colorful"])
    return found


def overlay(truth: U8) -> U8:
    """Return a page with the borders of its areas, and beside it the areas in the colours of their names."""
    areas = ColorAreas(gray_of_equal_lightness(truth), truth)
    labels = areas.labels
    small = cv2.resize(truth, labels.shape[::-1], interpolation=cv2.INTER_AREA)
    border = cv2.morphologyEx(labels.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0
    colors = np.frombuffer(bytes.fromhex("404050" + "".join(_SHOWN.values())), np.uint8).reshape(-1, 3)
    named = colors[np.concatenate([[0], areas.names + 1])][labels]
    return np.concatenate([np.where(border[..., None], np.uint8([255, 0, 255]), small), named], axis=1)


@click.command(context_settings={"show_default": True})
@click.option("--color", default=None, help="Folder of colour chapters; the generated series if not given.")
@click.option("--chapters", default="", help="Names of chapters, comma-separated; all if empty.")
@click.option("--pictures", default=None, type=click.Path(path_type=Path), help="Folder for pages with their areas.")
def main(color: str | None, chapters: str, pictures: Path | None) -> None:
    """Print a table."""
    cv2.setNumThreads(1)

    def truths() -> Iterator[U8]:
        if color is None:
            series = Series(chapters=2, pages=4)
            yield from (draw_page(series, chapter, page).color for chapter in (1, 2) for page in range(1, 5))
        else:
            yield from (page for _, _, page in pages(color, set(filter(None, chapters.split(",")))))

    click.echo("| | CIEDE2000 | colour names right | clouds | colourfulness, of the truth's |\n|" + " --- |" * 5)
    for name, row in figures(truths).items():
        cells = [f"{row['ciede2000']:.2f}", *(f"{row.get(column, np.nan):.3f}" for column in _COLUMNS)]
        click.echo(f"| {name} | " + " | ".join(cells) + " |")
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        for number, truth in enumerate(truths()):
            cv2.imwrite(str(pictures / f"{number:03d}.png"), cv2.cvtColor(overlay(truth), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
