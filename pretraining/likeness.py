"""Finds by what exemplar tells pages of one story from those of others, and puts it into a training's model.

python -m pretraining.likeness --pack PACKS/train.safetensors --dev PACKS/dev.safetensors --model RUN/model.safetensors

Linear discriminant analysis (Fisher 1936) of the measures of `models.exemplar_likeness`: axes along which stories lie
apart, in units of the spread within a story. Each picture is taken twice, as luma and printed in some way, since a
reference is gray by luma and a page to colour is not. From the pictures that judge comes the likeness from which on a
page is shown: that which the most alike of three pictures of another story reaches for one page in twenty.
"""

import json
from pathlib import Path

import click
import cv2
import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from imaging.color import U8, luma
from imaging.scaling import at_most
from models.exemplar import Exemplar
from models.exemplar_likeness import AXES, measures
from pretraining.gray import draw_printing, print_page
from pretraining.measure import inputs
from pretraining.pack import Pack
from pretraining.sources import EDITIONS, Picture
from pretraining.train import load_network, said_of

F64 = NDArray[np.float64]
_RIDGE = 0.1  # of the spread within stories, which is about 1
_PRINTED = 900  # pixels: a picture is printed no larger than that
_SHOWN = 3  # pictures of another story
_MISTAKEN = 0.05  # share of the pages that are shown one of these
_DRAWN = 20  # other stories that a page is compared with


def measured(network: Exemplar, gray: U8, side: int) -> F64:
    """Return (MEASURES,) of a page's levels (H, W)."""
    with torch.inference_mode():
        found: F64 = measures(network.generator().encoder, inputs(gray, side))[0].double().numpy()
    return found


def printed(rgb: U8, seed: int) -> U8:
    """Return the levels of a page, printed in some way."""
    rng = np.random.default_rng(seed)
    return print_page(at_most(rgb, _PRINTED), draw_printing(rng), rng)


def story_of(picture: Picture) -> str:
    """Return what pages are alike by; both editions of a chapter are one."""
    return f"{EDITIONS[0] if picture.series in EDITIONS else picture.series}/{picture.story}"


def discriminant_axes(rows: F64, stories: NDArray[np.intp], count: int) -> tuple[F64, F64]:
    """Find where classes lie apart.

    rows: (N, F) measures.
    stories: (N,) the class of each, from 0, each class having a row.
    count: of axes.

    Returns the mean (F,) and axes (F, count), the one that tells most first: in (rows - mean) @ axes the spread within
    a class is about 1.
    """
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scaled = (rows - mean) / scale
    sizes = np.bincount(stories)
    means = np.zeros((len(sizes), rows.shape[1]))
    np.add.at(means, stories, scaled)
    means /= sizes[:, None]
    off = scaled - means[stories]
    within = off.T @ off / len(off) + _RIDGE * np.eye(rows.shape[1])
    between = means.T @ means / len(means)
    whiten = np.linalg.inv(np.linalg.cholesky(within))
    _, vectors = np.linalg.eigh(whiten @ between @ whiten.T)
    return mean, (whiten.T @ vectors[:, ::-1][:, :count]) / scale[:, None]


def least_likeness(described: F64, stories: NDArray[np.intp], seed: int = 0) -> float:
    """Return the likeness that strangers reach with _MISTAKEN of the pages.

    described: (N, AXES) of length 1.
    stories: (N,) of each.
    """
    rng = np.random.default_rng(seed)
    likeness = described @ described.T
    names = np.unique(stories)
    best = []
    for page, story in enumerate(stories):
        for other in rng.choice(names[names != story], min(_DRAWN, len(names) - 1), replace=False):
            best.append(likeness[page, np.flatnonzero(stories == other)[:_SHOWN]].max())
    return float(np.quantile(best, 1 - _MISTAKEN))


def numbered(pack: Pack) -> NDArray[np.intp]:
    """Return (N,) the story of each picture as a number."""
    found: NDArray[np.intp] = np.unique([story_of(picture) for picture in pack.pictures], return_inverse=True)[1]
    return found


@click.command(context_settings={"show_default": True})
@click.option("--pack", required=True, type=click.Path(path_type=Path, exists=True), help="The pack that taught it.")
@click.option("--dev", required=True, type=click.Path(path_type=Path, exists=True), help="The pack that judges.")
@click.option("--model", required=True, type=click.Path(path_type=Path, exists=True), help="Of the training.")
@click.option("--side", default=384, help="Of the square that the network sees.")
def main(pack: Path, dev: Path, model: Path, side: int) -> None:
    """Write the likeness into the model's file."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    network, teaching, judging = load_network(model), Pack(pack), Pack(dev)
    rows = [
        measured(network, gray, side)
        for number in range(len(teaching))
        for gray in (luma(teaching[number]), printed(teaching[number], number))
    ]
    likeness = network.generator().likeness
    mean, axes = discriminant_axes(np.stack(rows), np.repeat(numbered(teaching), 2), AXES)
    likeness.mean.copy_(torch.from_numpy(mean))
    likeness.axes.copy_(torch.from_numpy(axes))
    seen = np.stack([measured(network, luma(judging[number]), side) for number in range(len(judging))])
    described = likeness(torch.from_numpy(seen).float()).double().numpy()
    least = least_likeness(described, numbered(judging))
    likeness.least.fill_(least)
    state = safetensors.torch.load_file(model)
    state |= {f"likeness.{name}": value.half() for name, value in likeness.state_dict().items()}
    safetensors.torch.save_file(state, model, metadata={"training": json.dumps(said_of(model))})
    click.echo(f"a page is shown from a likeness of {least:.3f} on")


if __name__ == "__main__":
    main()
