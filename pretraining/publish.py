"""Publishes a training's model as the one that comes with the project.

python -m pretraining.publish --model RUN/model.safetensors --out models/bundled
"""

from dataclasses import asdict
from pathlib import Path

import click

from datasets.storage import open_storage
from jobs.parts.model.folder import ModelCard, publish
from pretraining.train import load_network, said_of

MOST_BYTES = 12 * 10**6


@click.command(context_settings={"show_default": True})
@click.option("--model", required=True, type=click.Path(path_type=Path, exists=True), help="Of the training.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder of the model.")
def main(model: Path, out: Path) -> None:
    """Write model.json and model.safetensors, its weights in half precision."""
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


if __name__ == "__main__":
    main()
