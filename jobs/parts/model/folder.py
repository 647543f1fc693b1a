"""The folder of a trained model, RUN/model: the names of its files, its card, its weights."""

from typing import Any

import models
from datasets.errors import BadUsageError, ObjectNotFoundError
from datasets.storage import open_storage
from models.checkpoint import CheckpointError, parse_card

# A model folder: its card, the weights that colour, and beside them those of a training's last step.
CARD, WEIGHTS, RAW = "model.json", "model.safetensors", "model.raw.safetensors"
MODEL = "model"  # the model's folder in a training's run folder
METRICS = "metrics.jsonl"  # beside it: the training's losses and held-out metrics


def read_card(uri: str, option: str = "--model") -> dict[str, Any]:
    """The card of the model published at `uri`. Raises BadUsageError, naming `option`, where there is none."""
    try:
        return parse_card(open_storage(uri).read(CARD))
    except (ObjectNotFoundError, CheckpointError) as error:
        raise _no_model(uri, error, option) from error


def load_model(uri: str, card: dict[str, Any] | None = None) -> models.Variant:
    """The model published at `uri`. Raises BadUsageError where it is not there, not whole, or not that of `card`."""
    storage = open_storage(uri)
    if card is not None and read_card(uri) != card:
        raise BadUsageError(f"--model {uri}: another model was published there since the job began; run again")
    try:
        return models.load(storage.read(CARD), storage.read(WEIGHTS))[0]
    except (ObjectNotFoundError, CheckpointError) as error:
        raise _no_model(uri, error) from error


def _no_model(uri: str, error: Exception, option: str = "--model") -> BadUsageError:
    return BadUsageError(f"{option} {uri}: {error}; give the RUN/model of a finished training")
