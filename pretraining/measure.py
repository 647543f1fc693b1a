"""Measures trainings on the pictures that judge, at full page size and on luma gray, and draws a sheet.

python -m pretraining.measure --pack PACKS/dev.safetensors --model RUN/model.safetensors [--sheet SHEET.png]
    [--bw FOLDER] [--side 384]

A row for the stories and one for the chapters, alone, with references, and with strangers: those of another series,
which should change nothing. Beside them the gray page. Stories: their fourth picture and on; references are the first
three. Chapters: the second page and on; the reference is the first. The page is postprocessed as in a job. CIEDE2000
is a share of the gray page's, colourfulness of the truth's; names and clouds as imaging.color_areas has them.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from torch import Tensor

from imaging.color import F32, U8, luma, to_lab
from imaging.color_areas import AreaCounts, ColorAreas
from imaging.colorfulness import colorfulness
from imaging.descreen import network_view, squeezed
from imaging.metrics import ciede2000_map
from imaging.postprocess import PostprocessSettings, postprocess_page
from imaging.scaling import at_most
from imaging.target import AB_RANGE, chroma_of
from models.exemplar import Exemplar
from pretraining.pack import Pack
from pretraining.sources import STORYBOOKS, TURNS
from pretraining.train import load_network, said_of

GRAY = "gray"
_REFERENCES = {STORYBOOKS: 3, "peppercarrot": 1}
_SHOWN = 300  # pixels: the height of a page on a sheet


@dataclass(frozen=True)
class Figures:
    """What was measured of a page in one colouring."""

    error: float
    color: float
    areas: AreaCounts


class Judged:
    """A page whose truth is known."""

    def __init__(self, truth: U8) -> None:
        self.truth = truth
        self.gray = luma(truth)
        self._lab = to_lab(truth)
        self._areas = ColorAreas(self.gray, truth)
        self._color = max(colorfulness(truth), 1e-3)
        self.left_gray = self.measure(np.repeat(self.gray[..., None], 3, axis=2))

    def measure(self, page: U8) -> Figures:
        """Compare a colouring (H, W, 3) with the truth."""
        error = float(ciede2000_map(to_lab(page), self._lab).mean())
        return Figures(error, colorfulness(page) / self._color, self._areas.count(page))


def inputs(gray: U8, side: int) -> Tensor:
    """Ink (1, 1, S, S) of a page's levels (H, W)."""
    return torch.from_numpy(network_view(gray, side)).float()[None, None] / 127.5 - 1


def color_page(network: Exemplar, gray: U8, side: int) -> U8:
    """Colour a page as a job does."""
    chroma: F32 = chroma_of(network.predict(inputs(gray, side))[0].numpy(), "ab")
    return postprocess_page(gray, chroma, PostprocessSettings()).page


def look_at(network: Exemplar, pages: Iterable[U8], side: int) -> None:
    """Have the network follow coloured pages (H, W, 3); none: no more."""
    ink, target = [torch.zeros(0, 1, side, side)], [torch.zeros(0, 2, side, side)]
    for page in pages:
        ink.append(inputs(luma(page), side))
        ab = to_lab(squeezed(page, side))[..., 1:].transpose(2, 0, 1)
        target.append(torch.from_numpy(np.ascontiguousarray(ab))[None] / AB_RANGE)
    network.look_at(torch.cat(ink), torch.cat(target))


def stories(pack: Pack, most: int, left_out: Collection[str]) -> Iterator[tuple[str, str, list[U8], list[U8]]]:
    """Yield (series, story, references, at most `most` pages to judge by).

    left_out: chapters that the trainings did not see, beside those that none sees.
    """
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, picture in enumerate(pack.pictures):
        if picture.series in _REFERENCES and (picture.story in left_out or picture.story not in TURNS):
            found[picture.series, picture.story].append(number)
    for (series, story), numbers in found.items():
        count = _REFERENCES[series]
        judged = numbers[count : count + most]
        name = f"{series}, left out" if story in TURNS else series
        yield name, story, [pack[n] for n in numbers[:count]], [pack[n] for n in judged]


def measure(
    models: Mapping[str, Exemplar], pack: Pack, side: int, most: int, sheet: Path | None, left_out: Collection[str]
) -> None:
    """Print a row of figures for each series, model and way."""
    rows: dict[tuple[str, str], list[tuple[Figures, Figures]]] = defaultdict(list)
    drawn: list[U8] = []
    found = list(stories(pack, most, left_out))
    for number, (series, _, references, pages) in enumerate(found):
        others = [given for other, _, given, _ in found if other != series]
        strangers = others[number % len(others)]
        judged = [Judged(page) for page in pages]
        rows[series, GRAY] += [(page.left_gray, page.left_gray) for page in judged]
        columns = [[np.repeat(page.gray[..., None], 3, axis=2) for page in judged]]
        for name, network in models.items():
            for way, given in (("alone", []), ("with references", references), ("with strangers", strangers)):
                look_at(network, given, side)
                colored = [color_page(network, page.gray, side) for page in judged]
                of_pages = zip(judged, colored, strict=True)
                rows[series, f"{name}, {way}"] += [(page.measure(made), page.left_gray) for page, made in of_pages]
                if way != "with strangers":
                    columns.append(colored)
        columns.append([page.truth for page in judged])
        for row in list(zip(*columns, strict=True))[: 3 if series != STORYBOOKS else 1]:
            drawn.append(np.concatenate([fitted(page) for page in row], axis=1))
    for (series, way), figures in sorted(rows.items(), key=lambda item: (item[0][0], item[0][1] != GRAY)):
        click.echo(summary(series, way, figures))
    if sheet:
        save_sheet(drawn, sheet)


def summary(series: str, way: str, figures: list[tuple[Figures, Figures]]) -> str:
    """Return a row of a table: series, way, CIEDE2000, its share of the gray page's, colourfulness, names, clouds."""
    error, gray = (float(np.mean([pair[part].error for pair in figures])) for part in (0, 1))
    areas = [pair[0].areas for pair in figures]
    total = AreaCounts(
        right=np.sum([a.right for a in areas], axis=0),
        total=np.sum([a.total for a in areas], axis=0),
        excess=sum(a.excess for a in areas),
        chroma=sum(a.chroma for a in areas),
    )
    color = float(np.mean([pair[0].color for pair in figures]))
    values = f"{error:.2f} | {error / gray:.3f} | {color:.2f} | {total.named_right():.3f} | {total.clouds:.2f}"
    return f"| {series} | {way} | {values} | {json.dumps(total.by_name())} |"


def fitted(page: U8) -> U8:
    """Return a page as high as a sheet's rows, cut or filled to a width of 0.75 of that (a scene 1.33)."""
    height, width = page.shape[:2]
    wide = round(_SHOWN * (0.72 if height > width else 1.3))
    small: U8 = cv2.resize(page, (wide, _SHOWN), interpolation=cv2.INTER_AREA)
    return small


def save_sheet(rows: list[U8], path: Path) -> None:
    """Write rows of pages, one under the other, as a PNG."""
    widest = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    cv2.imwrite(str(path), np.ascontiguousarray(np.concatenate(padded)[..., ::-1]))


def draw_real(models: Mapping[str, Exemplar], folder: Path, side: int, path: Path) -> None:
    """Write a sheet of pages without a truth: their ink, and each model's colours alone."""
    rows = []
    for file in sorted(folder.rglob("*.jpg")):
        gray = at_most(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), 1400)
        row = [np.repeat(gray[..., None], 3, axis=2)]
        for network in models.values():
            look_at(network, (), side)
            row.append(color_page(network, gray, side))
        rows.append(np.concatenate([fitted(page) for page in row], axis=1))
    save_sheet(rows, path)


@click.command(context_settings={"show_default": True})
@click.option("--pack", required=True, type=click.Path(path_type=Path, exists=True), help="The pack that judges.")
@click.option("--model", "paths", multiple=True, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--side", default=384, help="Of the square that the network sees.")
@click.option("--most", default=4, help="Pages of a story that are judged.")
@click.option("--sheet", type=click.Path(path_type=Path), help="PNG of pages that judge.")
@click.option("--bw", type=click.Path(path_type=Path, exists=True), help="Folder of black-and-white pages to look at.")
@click.option("--bw-sheet", type=click.Path(path_type=Path), help="PNG of these.")
def main(
    pack: Path,
    paths: tuple[Path, ...],
    side: int,
    most: int,
    sheet: Path | None,
    bw: Path | None,
    bw_sheet: Path | None,
) -> None:
    """Print a table, and draw sheets."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    models = {path.parent.name: load_network(path) for path in paths}
    left_out = set.intersection(*(set(said_of(path)["without"]) for path in paths))
    click.echo("| series | way | CIEDE2000 | share of gray's | colourfulness | names | clouds | by name |")
    click.echo("|" + " --- |" * 8)
    measure(models, Pack(pack), side, most, sheet, left_out)
    if bw and bw_sheet:
        draw_real(models, bw, side, bw_sheet)


if __name__ == "__main__":
    main()
