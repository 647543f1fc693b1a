"""What pairs that jobs/pair.py found are worth to a training beside true ones, and what their mask is worth.

python -m benchmarks.pair_training --pages DATA/peppercarrot --art DATA/peppercarrot-art --holdout ep10,ep19

Two editions are made of the chapters that are not held out (`benchmarks.pair_pages` says how): the colour edition
without lettering, the gray one with. They become three data sets: true pairs, as the generator knows them; automatic
pairs; and automatic pairs without their mask. One variant is trained on each with the same steps and seeds. Held-out
pages, with their lettering, are made gray (equal lightness), coloured and published as a job does it.
"""

import json
import pickle
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

import models
from benchmarks.pages import pages
from benchmarks.pair_sets import Known, page_paths, write_set
from benchmarks.true_pairs import write_true, write_unmasked
from datasets.page import encode
from datasets.shards import ShardSet
from imaging.color import U8, gray_of_equal_lightness, to_lab
from imaging.components import Mask
from imaging.descreen import network_view
from imaging.metrics import ciede2000, colorfulness
from imaging.postprocess import PostprocessSettings, postprocess_page
from jobs.parts.demo.run import run
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import predict_chroma

SETS = ("true", "automatic", "no mask")
FIGURES = {
    "CIEDE2000": "as published",
    "elsewhere": "CIEDE2000 outside the bubbles",
    "colourfulness": "as a share of the truth's",
    "in bubbles": "mean chroma that the network predicts on the paper of bubbles",
    "published": "the same as published: paper has no room for chroma, and --bubbles neutral takes what is left",
}
_VARIANT = {"variant": "exemplar", "batch_size": 4}  # from the bundled model
_WHITE, _DRAWN = 240, 225  # levels of the darkest channel: paper from the one on, art below the other
_SPECK = 9  # pixels of the side of a square that a bubble's paper holds


@dataclass(frozen=True)
class HeldOut:
    """A page on which models are measured.

    truth: (H, W, 3) sRGB, with lettering.
    paper: (H, W) that of its bubbles.
    """

    name: str
    truth: U8
    paper: Mask


def paper_of(truth: U8, art: U8) -> Mask:
    """Return (H, W) where a page is white and the same without lettering is not."""
    white = (truth.min(axis=2) >= _WHITE) & (art.min(axis=2) < _DRAWN)
    return np.asarray(cv2.morphologyEx(white.astype(np.uint8), cv2.MORPH_OPEN, np.ones((_SPECK,) * 2, np.uint8)) > 0)


def held_out_pages(root: Path, art: Path, chapters: Sequence[str]) -> list[HeldOut]:
    """The pages of the chapters that are held out; those of the same size in both folders.

    Raises click.UsageError where none has lettering.
    """
    bare = {(chapter, name): page for chapter, name, page in pages(str(art), chapters)}
    held = [
        HeldOut(f"{chapter}-{name}", truth, paper_of(truth, bare[chapter, name]))
        for chapter, name, truth in pages(str(root), chapters)
        if (chapter, name) in bare and bare[chapter, name].shape == truth.shape
    ]
    if not any(page.paper.any() for page in held):
        raise click.UsageError(
            f"--holdout {','.join(chapters)}: no page of these chapters has a bubble; name others, and see that --art "
            "has the same pages without lettering"
        )
    return held


def make_sets(root: Path, art: Path, holdout: Sequence[str], most: int, seed: int, folder: Path) -> dict[str, str]:
    """Write the two editions and the three data sets below a folder, as far as they are not there. Returns the URI of
    each data set.
    """
    kept = folder / "editions/truth.pickle"
    if kept.exists():
        truth: dict[str, Known] = pickle.loads(kept.read_bytes())
    else:
        paths = [pair for pair in page_paths([root], art, most, seed) if pair[0].parent.name not in holdout]
        truth = write_set(paths, folder / "editions", seed)
    out = {name: str(folder / name.replace(" ", "-")) for name in SETS}
    run("pair", gray=folder / "editions/gray", color=folder / "editions/color", out=out["automatic"], holdout=0)
    write_true(truth, out["true"])
    write_unmasked(ShardSet.open(out["automatic"]), out["no mask"])
    return out


def figures_of(variant: models.Variant, page: HeldOut) -> tuple[dict[str, float], U8]:
    """What a model makes of a page: FIGURES, where the page has bubbles those on them too; and the published page."""
    gray = gray_of_equal_lightness(page.truth)
    chroma = predict_chroma(variant, network_view(gray, variant.image_size)[None])[0]
    published = postprocess_page(gray, chroma, PostprocessSettings()).page
    figures = {
        "CIEDE2000": ciede2000(published, page.truth),
        "elsewhere": ciede2000(published, page.truth, page.paper),
        "colourfulness": colorfulness(published) / max(colorfulness(page.truth), 1e-6),
    }
    if page.paper.any():
        predicted = cv2.resize(chroma, gray.shape[::-1], interpolation=cv2.INTER_LINEAR)
        for name, ab in (("in bubbles", predicted), ("published", to_lab(published)[..., 1:])):
            figures[name] = float(np.hypot(*ab[page.paper].T).mean())
    return figures, published


def measure(model: str, held: Sequence[HeldOut], pictures: Path) -> dict[str, float]:
    """The means of a model's figures over the held-out pages. Pages are written below `pictures`, beside the truth."""
    variant = load_model(model)
    found = defaultdict(list)
    pictures.mkdir(parents=True, exist_ok=True)
    for page in held:
        figures, published = figures_of(variant, page)
        for name, value in figures.items():
            found[name].append(value)
        shown = np.concatenate([published, page.truth], axis=1)
        (pictures / f"{page.name}.jpg").write_bytes(encode(shown, "jpeg"))
    return {name: float(np.mean(values)) for name, values in found.items()}


def table(measured: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Markdown: for each data set and figure the mean, and that of each seed; then whether the automatic pairs' lie
    within the spread of the true ones.

    measured: of each data set, the figures of each seed.
    """
    lines = ["| | " + " | ".join(FIGURES) + " |", "| --- |" + " --- |" * len(FIGURES)]
    for name, runs in measured.items():
        columns = [[one[figure] for one in runs] for figure in FIGURES]
        cells = [f"{np.mean(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})" for values in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *verdicts(measured)])


def verdicts(measured: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """A line for each figure and data set but the first: where its mean lies to the spread of the first one's seeds."""
    lines = []
    reference = measured["true"]
    for name in [name for name in measured if name != "true"]:
        for figure in FIGURES:
            values = [one[figure] for one in reference]
            mean = float(np.mean([one[figure] for one in measured[name]]))
            where = "within" if min(values) <= mean <= max(values) else "below" if mean < min(values) else "above"
            lines.append(f"{figure}, {name}: {mean:.3f}, {where} {min(values):.3f} to {max(values):.3f} of true pairs")
    return lines


def trained(data: str, out: Path, seed: int, options: Mapping[str, Any]) -> str:
    """Train on a data set, unless that was done. Returns the model's URI."""
    run("train", data=data, run=out, seed=seed, eval_every=options["max_steps"], **options)
    return str(out / "model")


@click.command(context_settings={"show_default": True})
@click.option("--pages", "root", required=True, type=click.Path(path_type=Path), help="Folder of colour chapters.")
@click.option("--art", required=True, type=click.Path(path_type=Path), help="The same pages without lettering.")
@click.option("--holdout", required=True, help="Names of chapters that are measured on, comma-separated.")
@click.option("--most", default=1000, help="Pages taken, by chance.")
@click.option("--seeds", default="0,1,2", help="Of the trainings.")
@click.option("--steps", default=150, help="Of each training.")
@click.option("--size", default=192, help="Side of the square that the network sees, pixels.")
@click.option("--set-seed", default=0, help="Of the two editions.")
@click.option("--out", default="build/pair_training", type=click.Path(path_type=Path))
def main(
    root: Path, art: Path, holdout: str, most: int, seeds: str, steps: int, size: int, set_seed: int, out: Path
) -> None:
    """Train and measure, print a table. What is in --out already is not done again."""
    cv2.setNumThreads(1)
    chapters, folder = [part.strip() for part in holdout.split(",")], out.absolute()
    held = held_out_pages(root, art, chapters)
    data = make_sets(root, art, chapters, most, set_seed, folder)
    options = {**_VARIANT, "image_size": size, "max_steps": steps}
    measured: dict[str, list[dict[str, float]]] = defaultdict(list)
    for seed in map(int, seeds.split(",")):
        for name in SETS:
            run_folder = folder / f"runs/{name.replace(' ', '-')}-{seed}"
            measured[name].append(measure(trained(data[name], run_folder, seed, options), held, run_folder / "pages"))
            click.echo(f"{name}, seed {seed}: {json.dumps(measured[name][-1])}")
    (folder / "figures.json").write_text(json.dumps(measured))
    grays = [ciede2000(np.repeat(gray_of_equal_lightness(p.truth)[..., None], 3, axis=2), p.truth) for p in held]
    click.echo(f"gray page: CIEDE2000 {np.mean(grays):.3f}")
    click.echo(table(measured))


if __name__ == "__main__":
    main()
