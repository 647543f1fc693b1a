"""How far characters' colours stray over a series, with and without the palette lock.

python -m benchmarks.drift --model RUN/model --color DATA/peppercarrot --chapters ep10,ep19

First table: the generated series, where it is known where each character is. Predictions are those of the models, and
`simulated` ones: the true colours turned in hue and shifted per page, turned and paled per character and page, under
soft noise. Palettes are `true`, of the first chapter's true colours, and `own`, of all pages as the network predicts
them. A model that follows coloured pages has a table of its own: all chapters but the first, without and with that as
reference. Drift is that of a character's mean ab less the true mean there, so it does not matter which part of a
character is shown. Error is the mean distance in ab over all pixels.

With --color there are two more tables for real pages. One has CIEDE2000 at full size: without the lock, with the lock
to the true colours of other chapters (--palette), and with the lock to the model's own colours. The other has drift at
points that were picked by hand on flat parts of two characters. drift_points.json lists them by chapter, page and part,
with x and y in [0, 1] of the page's sides. A look is the mean of a page's points. Scenes differ in light, so the truth
drifts too; drift of the error is that of our ab less the true ab.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import thread_time

import click
import cv2
import numpy as np

import models
from benchmarks.cast_hints import hint_parts, name_parts
from benchmarks.measures import drift_between, point_colors, region_colors
from benchmarks.pages import name_of
from benchmarks.pages import pages as stored_pages
from datasets.synthetic import CAST, Series, draw_page
from imaging.color import F32, U8, gray_of_equal_lightness, join_chroma, to_lab
from imaging.descreen import network_view
from imaging.drift import drift
from imaging.hints import keep_hints
from imaging.metrics import ciede2000
from imaging.palette import Palette, build_palette, lock
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import follow, predict_chroma

_SIZE = 256
_POINTS = Path(__file__).with_name("drift_points.json")
_COLORS, _ROUNDS = 12, 4  # for a palette made from predictions
# Standard deviations of the simulated drift: degrees, ab, degrees, share, ab.
_TURN, _SHIFT, _OWN_TURN, _OWN_GAIN, _NOISE = 20.0, 6.0, 12.0, 0.1, 3.0


@dataclass(frozen=True)
class Page:
    """A generated page at model size.

    chapter: from 1.
    gray: (S, S) levels.
    chroma: (S, S, 2) true ab.
    cast: (S, S), 0 for nobody, i for the i-th character.
    """

    chapter: int
    gray: U8
    chroma: F32
    cast: U8


def drawn(series: Series, size: int) -> list[Page]:
    """All pages of the generated series at model size."""
    pages = []
    for chapter in range(1, series.chapters + 1):
        for number in range(1, series.pages + 1):
            page = draw_page(series, chapter, number)
            view = network_view(page.ink, size)
            chroma = to_lab(cv2.resize(page.color, (size, size), interpolation=cv2.INTER_AREA))[..., 1:]
            cast = cv2.resize(page.cast, (size, size), interpolation=cv2.INTER_NEAREST)
            pages.append(Page(chapter, view, np.ascontiguousarray(chroma), cast))
    return pages


def drifting(page: Page, rng: np.random.Generator) -> F32:
    """The simulated prediction for a page: (S, S, 2) ab."""
    chroma = _turned(page.chroma, rng.normal(0, _TURN)) + rng.normal(0, _SHIFT, 2)
    for who in range(1, len(CAST) + 1):
        own = _turned(chroma, rng.normal(0, _OWN_TURN)) * (1 + rng.normal(0, _OWN_GAIN))
        chroma = np.where((page.cast == who)[..., None], own, chroma)
    noise = cv2.GaussianBlur(rng.normal(0, 1, chroma.shape), (0, 0), 6)
    return (chroma + noise * (_NOISE / noise.std())).astype(np.float32)


def _turned(chroma: F32, degrees: float) -> F32:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return chroma @ np.array([[cos, sin], [-sin, cos]])


def strayed(pages: list[Page], chromas: list[F32]) -> list[float]:
    """Means over the characters: rms ab and degrees of hue within the series, rms ab between chapters. Then the mean
    error over the pages, ab.
    """
    count = len(CAST)
    ours = np.array([region_colors(c, page.cast, count) for page, c in zip(pages, chromas, strict=True)])
    true = np.array([region_colors(page.chroma, page.cast, count) for page in pages])
    even = ours - true + np.nanmean(true, axis=0)
    chapters = np.array([page.chapter for page in pages])
    within = [drift(even[:, who]) for who in range(count)]
    between = [drift_between([even[chapters == c, who] for c in np.unique(chapters)]) for who in range(count)]
    off = [np.hypot(*np.moveaxis(c - page.chroma, -1, 0)).mean() for page, c in zip(pages, chromas, strict=True)]
    rms, hue = np.mean([d.rms for d in within]), np.mean([d.hue for d in within])
    return [float(rms), float(hue), float(np.mean([d.rms for d in between])), float(np.mean(off))]


def locked(pages: list[Page], chromas: list[F32], palette: Palette, strength: float) -> tuple[list[F32], float]:
    """The chroma maps after the palette lock, and the milliseconds of one core per page."""
    begun = thread_time()
    out = [lock(page.gray, chroma, palette, strength) for page, chroma in zip(pages, chromas, strict=True)]
    return out, 1000 * (thread_time() - begun) / len(pages)


def on_later(name: str, variant: models.Variant, pages: list[Page]) -> None:
    """Print the drift over all chapters but the first: without and with the first as reference, and with hints of the
    cast, whose colours are the first chapter's, one on each part of a character on each page.
    """
    first, later = ([page for page in pages if (page.chapter == 1) is is_first] for is_first in (True, False))
    entries = name_parts([page.chroma for page in first], [page.cast for page in first], len(CAST))
    hinted = [hint_parts(page.chroma, page.cast, entries) for page in later]
    count = np.mean([cv2.connectedComponents(drawn[..., 0].astype(np.uint8))[0] - 1 for drawn in hinted])
    names = f", the cast's {len(entries)} names, {count:.1f} hints a page"
    click.echo("| | drift, ab | drift, hue | between chapters, ab | error, ab |")
    click.echo("| --- | --- | --- | --- | --- |")
    for case, shown in (("no reference", first[:0]), ("the first chapter as reference", first)):
        if shown:
            follow(variant, np.stack([page.gray for page in shown]), np.stack([page.chroma for page in shown]))
        chromas = [predict_chroma(variant, page.gray[None])[0] for page in later]
        kept = [
            keep_hints(predict_chroma(variant, page.gray[None], drawn[None])[0], plain, drawn, page.gray)
            for page, plain, drawn in zip(later, chromas, hinted, strict=True)
        ]
        for way, made in (("", chromas), (names, kept)):
            _print_row(f"{name}, {case}{way}", strayed(later, made))


def on_generated(pages: list[Page], predictions: dict[str, list[F32]], strength: float) -> None:
    """Print the table of the generated series.

    predictions: the chroma of every page, by name of the network.
    """
    click.echo("| | drift, ab | drift, hue | between chapters, ab | error, ab | ms a page |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    true = build_palette((page.gray, page.chroma) for page in pages if page.chapter == 1)
    for name, chromas in predictions.items():
        seen = ((page.gray, chroma) for page, chroma in zip(pages, chromas, strict=True))
        own = build_palette(seen, colors=_COLORS, rounds=_ROUNDS)
        cases: dict[str, tuple[list[F32], float]] = {"": (chromas, 0.0)}
        cases |= {f", {k}": locked(pages, chromas, p, strength) for k, p in {"true": true, "own": own}.items()}
        for case, (made, spent) in cases.items():
            cells = [f"{value:.1f}" for value in strayed(pages, made)]
            click.echo(f"| {name}{case} | " + " | ".join(cells) + f" | {spent:.0f} |")


@dataclass(frozen=True)
class RealPage:
    """A real page.

    truth: (H, W, 3) sRGB.
    made: the page as we colour it, by case.
    """

    chapter: str
    name: str
    truth: U8
    made: dict[str, U8]


def on_real(
    predict: Callable[[U8], F32], pages: Iterable[tuple[str, str, U8]], known: Palette | None, strength: float
) -> list[RealPage]:
    """Colour real pages in each case: as predicted, locked to the known colours, locked to a chapter's own colours.

    predict: the chroma for a gray view.
    known: palette of true colours; None to leave that case out.
    strength: of the lock.
    """
    taken: dict[str, list[tuple[str, U8, U8, U8, F32]]] = {}
    for chapter, name, truth in pages:
        ink = gray_of_equal_lightness(truth)
        view = network_view(ink, _SIZE)
        taken.setdefault(chapter, []).append((name, truth, ink, view, predict(view)))
    found = []
    for chapter, seen in taken.items():
        own = build_palette(((view, chroma) for *_, view, chroma in seen), colors=_COLORS, rounds=_ROUNDS)
        for name, truth, ink, view, chroma in seen:
            palettes = {"as it is": None, **({"locked, true": known} if known else {}), "locked, own": own}
            made = {
                case: join_chroma(ink, lock(view, chroma, palette, strength) if palette else chroma)
                for case, palette in palettes.items()
            }
            found.append(RealPage(chapter, name, truth, made))
    return found


def true_palette(pages: Iterable[tuple[str, str, U8]]) -> Palette:
    """The palette of these pages' true colours."""
    small = (cv2.resize(page, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA) for *_, page in pages)
    return build_palette((gray_of_equal_lightness(page), np.ascontiguousarray(to_lab(page)[..., 1:])) for page in small)


Looks = dict[str, dict[str, dict[str, F32]]]  # part -> chapter -> page -> ab


def looks(pages: Iterable[tuple[str, str, U8]]) -> Looks:
    """What the points of drift_points.json show of these pages."""
    found: Looks = {}
    points = json.loads(_POINTS.read_text())
    for chapter, name, page in pages:
        parts = points.get(chapter, {}).get(name, {})
        chroma = to_lab(page)[..., 1:] if parts else None
        for part, crops in parts.items():
            found.setdefault(part, {}).setdefault(chapter, {})[name] = point_colors(chroma, crops).mean(axis=0)
    return found


def at_points(ours: Looks, true: Looks) -> list[float]:
    """Means over the parts: rms ab and degrees of hue within a chapter, then over all pages, rms ab between chapters.
    Then rms of the error over all pages, and its mean length. Then degrees of hue over all pages for each part.
    """
    rows = []
    for part, chapters in ours.items():
        each = [np.array(list(pages.values())) for pages in chapters.values()]
        off = [np.array([ab - true[part][c][n] for n, ab in pages.items()]) for c, pages in chapters.items()]
        within = [drift(colors) for colors in each if len(colors) > 1]
        all_, wrong = drift(np.concatenate(each)), np.concatenate(off)
        row = [np.mean([d.rms for d in within]), np.mean([d.hue for d in within]), all_.rms, all_.hue]
        row += [drift_between(each).rms, drift(wrong).rms, np.hypot(*wrong.T).mean()]
        rows.append(row)
    return [float(value) for value in [*np.mean(rows, axis=0), *(row[3] for row in rows)]]


def print_points(name: str, ours: Looks, true: Looks) -> None:
    """Print a row of the table of drift at points."""
    _print_row(name, at_points(ours, true))


def _print_row(name: str, values: Iterable[float]) -> None:
    click.echo(f"| {name} | " + " | ".join(f"{value:.1f}" for value in values) + " |")


def _names(listed: str) -> set[str]:
    return {part for part in listed.split(",") if part}


@click.command(context_settings={"show_default": True})
@click.option("--model", "uris", multiple=True, help="RUN/model of a finished training; repeat for more.")
@click.option("--seed", default=7, help="Seed of the generated series and of the simulated drift.")
@click.option("--generated", default=3, help="Chapters of the generated series, of 6 pages each.")
@click.option("--strength", default=0.85, help="Strength of the palette lock.")
@click.option("--color", default="", help="Folder of real colour pages.")
@click.option("--chapters", default="", help="Its chapters to colour, comma-separated.")
@click.option("--palette", default="", help="Its chapters whose true colours make the palette, comma-separated.")
def main(
    uris: tuple[str, ...], seed: int, generated: int, strength: float, color: str, chapters: str, palette: str
) -> None:
    """Print tables of drift and of error."""
    cv2.setNumThreads(1)
    variants = {name_of(uri): load_model(uri) for uri in uris}
    series = Series(seed=seed, chapters=generated, pages=6, width=600, height=900)
    rng, pages = np.random.default_rng(seed), drawn(series, _SIZE)
    on_generated(pages, {"simulated": [drifting(page, rng) for page in pages]}, strength)
    for name, variant in variants.items():
        seen = drawn(series, variant.image_size)
        on_generated(seen, {name: [predict_chroma(variant, page.gray[None])[0] for page in seen]}, strength)
        if variant.follows:
            on_later(name, variant, seen)
    if color:
        known = true_palette(stored_pages(color, _names(palette))) if palette else None
        real = {
            name: on_real(
                lambda v, n=variant: predict_chroma(n, v[None])[0],
                stored_pages(color, _names(chapters)),
                known,
                strength,
            )  # type: ignore[misc]
            for name, variant in variants.items()
        }
        print_real(real)


def print_real(real: dict[str, list[RealPage]]) -> None:
    """Print the tables of error, and of drift at the points, for each model."""
    first = next(iter(real.values()))
    cases = list(first[0].made)
    click.echo("\n| CIEDE2000 of real pages | " + " | ".join(cases) + " |\n| --- |" + " --- |" * len(cases))
    for name, pages in real.items():
        for chapter in dict.fromkeys(page.chapter for page in pages):
            of = [page for page in pages if page.chapter == chapter]
            off = [np.mean([ciede2000(page.made[case], page.truth) for page in of]) for case in cases]
            click.echo(f"| {name}, {chapter} | " + " | ".join(f"{value:.2f}" for value in off) + " |")
    true = looks((page.chapter, page.name, page.truth) for page in first)
    heads = ["in a chapter, ab", "hue", "over all, ab", "hue", "between chapters, ab", "of the error, ab", "error, ab"]
    heads += [f"{part}, hue" for part in true]
    click.echo("\n| drift at points | " + " | ".join(heads) + " |\n| --- |" + " --- |" * len(heads))
    print_points("truth", true, true)
    for name, pages in real.items():
        for case in cases:
            print_points(f"{name}, {case}", looks((p.chapter, p.name, p.made[case]) for p in pages), true)


if __name__ == "__main__":
    main()
