"""What a coloured first page does for the other pages of its chapter.

python -m benchmarks.reference --model RUN/model --color DATA/peppercarrot --chapters ep10,ep19

Pages are made gray (equal lightness), coloured at model size, joined at full size and compared with the original.
Methods that were tried and given up are measured too: chroma taken from similar positions (k-NN), and the network's
colours moved to the reference's statistics.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np

import models
from benchmarks.pages import name_of, pages
from datasets.page import encode
from imaging.color import F32, U8, gray_of_equal_lightness, join_chroma, lightness_of_level, to_lab
from imaging.descreen import network_view
from imaging.metrics import ciede2000, colorfulness
from imaging.reference import ReferencePage, build_reference, transfer
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import follow, predict_chroma

_SIZE = 256  # where no model says otherwise


@dataclass(frozen=True)
class Page:
    """A page whose truth is known.

    truth: (H, W, 3) sRGB.
    gray, chroma: its gray levels and true ab at model size.
    predicted: ab at model size, by model.
    """

    name: str
    truth: U8
    gray: U8
    chroma: F32
    predicted: dict[str, F32]


Way = Callable[[Page, Page], F32]  # the reference, the page -> chroma


def seen(name: str, truth: U8, networks: dict[str, Callable[[U8], F32]], size: int) -> Page:
    """A page with its predictions.

    networks: by name, a function from a gray view to ab.
    size: model size.
    """
    view = network_view(gray_of_equal_lightness(truth), size)
    chroma = to_lab(cv2.resize(truth, (size, size), interpolation=cv2.INTER_AREA))[..., 1:]
    return Page(name, truth, view, chroma, {model: predict(view) for model, predict in networks.items()})


def plain_table(reference: Page, page: Page) -> F32:
    """Each of 32 gray levels takes its mean chroma on the reference. A level that it lacks gets no chroma."""
    level = reference.gray.ravel() // 8
    count = np.maximum(np.bincount(level, minlength=32), 1)
    columns = reference.chroma.reshape(-1, 2).T
    table = np.stack([np.bincount(level, column, 32) / count for column in columns], axis=1).astype(np.float32)
    return table[page.gray // 8]


_GRID, _NEAR = 64, 0.15


def nearest_features(reference: Page, page: Page) -> F32:
    """Soft k-NN on a grid of 64 x 64.

    Features: lightness and its spread at three scales, strength of edges across and along, how much of each lightness
        is around.
    """
    known, asked = _features(reference.gray), _features(page.gray)
    squared = (asked**2).sum(axis=1)[:, None] + (known**2).sum(axis=1) - 2 * asked @ known.T
    weight = np.exp(-(squared - squared.min(axis=1, keepdims=True)) / (2 * _NEAR**2))
    chroma = cv2.resize(reference.chroma, (_GRID, _GRID), interpolation=cv2.INTER_AREA).reshape(-1, 2)
    found = (weight / weight.sum(axis=1, keepdims=True)) @ chroma
    return cv2.resize(found.reshape(_GRID, _GRID, 2), page.gray.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _features(gray: U8) -> F32:
    light = lightness_of_level()[gray]
    parts = []
    for sigma, weight in ((1.5, 3.0), (8.0, 2.0), (24.0, 2.0)):
        mean = cv2.GaussianBlur(light, (0, 0), sigma)
        spread = np.sqrt(np.maximum(cv2.GaussianBlur(light * light, (0, 0), sigma) - mean * mean, 0))
        parts += [mean * (weight / 100), spread / 30]
    for x, y in ((1, 0), (0, 1)):
        edges = np.abs(cv2.Sobel(light, cv2.CV_32F, x, y)) / 8
        parts += [0.7 * np.log1p(cv2.GaussianBlur(edges, (0, 0), sigma)) for sigma in (8.0, 24.0)]
    for low in range(0, 100, 20):
        inside = ((light >= low) & (light < low + 20)).astype(np.float32)
        parts.append(0.7 * cv2.GaussianBlur(inside, (0, 0), 24.0))
    small = [cv2.resize(part, (_GRID, _GRID), interpolation=cv2.INTER_AREA) for part in parts]
    return np.stack(small, axis=-1).reshape(_GRID * _GRID, -1).astype(np.float32)


def moved_statistics(model: str, share: float) -> Way:
    """The network's chroma moved to the reference's mean and covariance, in three soft bands of lightness.

    The move is the linear optimal transport (Pitie and Kokaram 2007).
    model: whose prediction is moved.
    share: how much of the change is applied.
    """

    def way(reference: Page, page: Page) -> F32:
        predicted, out = page.predicted[model], np.zeros_like(page.chroma)
        for known, asked in zip(_bands(reference.gray), _bands(page.gray), strict=True):
            weight = known.ravel() + 1e-6
            ours, truth = (x.reshape(-1, 2) for x in (reference.predicted[model], reference.chroma))
            means = [np.average(x, axis=0, weights=weight) for x in (ours, truth)]
            one, other = (np.cov(x.T, aweights=weight) + 25 * np.eye(2) for x in (ours, truth))
            root = _power(one, 0.5)
            step = _power(one, -0.5) @ _power(root @ other @ root, 0.5) @ _power(one, -0.5)
            out += asked[..., None] * (means[1] + (predicted - means[0]) @ step)
        return (predicted + share * (out - predicted)).astype(np.float32)

    return way


def _bands(gray: U8) -> list[F32]:
    light = lightness_of_level()[gray]
    weights = [np.exp(-(((light - middle) / 20) ** 2)) for middle in (10, 50, 90)]
    return [weight / sum(weights) for weight in weights]


def _power(matrix: np.ndarray, power: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1.0) ** power) @ vectors.T


def by_reference(model: str | None) -> Way:
    """Our method, that of imaging.reference.

    model: whose prediction it corrects; None for none.
    """

    def way(reference: Page, page: Page) -> F32:
        predicted = reference.predicted[model] if model else None
        made = build_reference([ReferencePage(reference.gray, reference.chroma, predicted)])
        return transfer(made, page.gray, page.predicted[model] if model else None)

    return way


def by_looking(variant: models.Variant) -> Way:
    """A network that follows the reference itself."""

    def way(reference: Page, page: Page) -> F32:
        follow(variant, reference.gray[None], reference.chroma[None])
        predicted: F32 = predict_chroma(variant, page.gray[None])[0]
        follow(variant, reference.gray[None][:0], reference.chroma[None][:0])
        return predicted

    return way


def ways(variants: dict[str, models.Variant]) -> dict[str, Way]:
    """The methods to compare, by the name of their row."""
    found: dict[str, Way] = {
        "gray page": lambda _, page: np.zeros_like(page.chroma),
        "plain table": plain_table,
        "k-NN": nearest_features,
        "reference, no network": by_reference(None),
    }
    for model, variant in variants.items():
        found[model] = lambda _, page, model=model: page.predicted[model]  # type: ignore[misc]
        if variant.follows:
            found[f"{model}, reference"] = by_looking(variant)
            continue
        found[f"{model}, moved statistics"] = moved_statistics(model, 1.0)
        found[f"{model}, half moved"] = moved_statistics(model, 0.5)
        found[f"{model}, reference"] = by_reference(model)
    return found


def table(figures: dict[tuple[str, str], list[tuple[float, float]]], truth: dict[str, list[float]]) -> str:
    """Markdown, with means over each chapter's pages but its first: CIEDE2000, and colourfulness over that of the
    truth.
    """
    chapters = list(truth)
    lines = ["| | " + " | ".join(chapters) + " |", "| --- |" + " --- |" * len(chapters)]
    for way in dict.fromkeys(way for way, _ in figures):
        cells = []
        for chapter in chapters:
            error, color = np.mean(figures[way, chapter], axis=0)
            cells.append(f"{error:.2f}, {color / np.mean(truth[chapter]):.2f}")
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@click.command()
@click.option("--model", "uris", multiple=True, help="RUN/model of a finished training; repeat for more.")
@click.option("--color", required=True, help="Folder of colour pages.")
@click.option("--chapters", default="", help="Names of chapters, comma-separated; all if empty.")
@click.option("--pictures", type=click.Path(path_type=Path), help="Folder for the coloured pages, as JPEGs.")
def main(uris: tuple[str, ...], color: str, chapters: str, pictures: Path | None) -> None:
    """Print a table of the methods."""
    cv2.setNumThreads(1)
    variants = {name_of(uri): load_model(uri) for uri in uris}
    networks = {
        name: (lambda view, variant=variant: predict_chroma(variant, view[None])[0])
        for name, variant in variants.items()
    }
    size = next((variant.image_size for variant in variants.values()), _SIZE)
    figures: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    colors: dict[str, list[float]] = defaultdict(list)
    references: dict[str, Page] = {}
    for chapter, name, truth in pages(color, {part for part in chapters.split(",") if part}):
        page = seen(f"{Path(chapter).name}-{name}", truth, networks, size)
        if chapter not in references:
            references[chapter] = page
            continue
        colors[chapter].append(colorfulness(truth))
        for way, made in ways(variants).items():
            ours = join_chroma(gray_of_equal_lightness(truth), made(references[chapter], page))
            figures[way, chapter].append((ciede2000(ours, truth), colorfulness(ours)))
            if pictures:
                pictures.mkdir(parents=True, exist_ok=True)
                (pictures / f"{page.name}-{way.replace(', ', '-').replace(' ', '-')}.jpg").write_bytes(
                    encode(ours, "jpeg")
                )
    click.echo(table(figures, colors))


if __name__ == "__main__":
    main()
