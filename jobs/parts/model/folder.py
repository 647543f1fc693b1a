"""The folder of a trained model, RUN/model: the names of its files, its card, its weights.

A model is named by the URI of its folder, or by BUNDLED: the model that comes with the project. Every process finds
that in the package it runs, so that jobs hand on the name, and no path of one machine.

Torch is imported where a network is made, and not before: that takes seconds.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

import models
from datasets.errors import BadUsageError, ObjectNotFoundError
from datasets.storage import Storage, open_storage
from jobs.parts.runtime.outcome import as_json
from models.card import CheckpointError, fingerprint, parse_card

# Files of a model folder: the card, the weights that colour, and the weights of the training's last step.
CARD, WEIGHTS, RAW = "model.json", "model.safetensors", "model.raw.safetensors"
MODEL = "model"  # the model's folder in a training's run folder
METRICS = "metrics.jsonl"  # in the run folder: the training's losses and held-out metrics
BUNDLED = "bundled"  # the name of the model that comes with the project; a folder of that name is ./bundled

log = logging.getLogger("mangahue")


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What model.json says of a model beside the digest of its weights.

    variant, config: what rebuilds the network.
    data_fingerprint: of the shards it was trained on, "" where that is not known.
    steps, seconds: of training.
    metrics: of the last held-out evaluation.
    mean_chroma: ab of the training pages' mean.
    limits: the options that ended the training.
    origin: what the training started from, or where the weights came from.
    training: all options of the training.
    """

    variant: str
    config: dict[str, Any]
    data_fingerprint: str = ""
    steps: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    mean_chroma: Sequence[float] = (0, 0)
    limits: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


def publish(folder: Storage, card: ModelCard, weights: bytes, raw: bytes | None = None) -> None:
    """Write a model's folder. The card is written last.

    weights: those that colour.
    raw: those of the training's last step; None where there are none.
    Raises CheckpointError where the model can't be rebuilt from what would be written, or where it is not finite.
    """
    text = as_json({**asdict(card), "weights_sha256": fingerprint(weights)})
    models.load(text, weights)
    if raw is not None:
        from models.checkpoint import from_bytes, require_finite

        require_finite(from_bytes(raw))
        folder.put(RAW, raw)
    folder.put(WEIGHTS, weights)
    folder.put(CARD, text)


def folder_of(uri: str) -> str:
    """The URI of a model's folder. That of BUNDLED is in the package that this process runs."""
    return str(files("models").joinpath("bundled")) if uri == BUNDLED else uri


def open_model(uri: str) -> Storage:
    """The folder of a model, for who reads more of it than card and network."""
    return open_storage(folder_of(uri))


def bundled_card(variant: str) -> dict[str, Any] | None:
    """The card of the model that comes with the project, where it is one of this variant; None where it is not."""
    try:
        card = parse_card(open_model(BUNDLED).read(CARD))
    except (ObjectNotFoundError, CheckpointError):
        return None
    return card if card["variant"] == variant else None


def tell_bundled(uri: str, card: Mapping[str, Any], option: str = "--model") -> None:
    """Log a line where `uri` is the model that comes with the project.

    option: what it was taken for.
    """
    if uri == BUNDLED:
        log.info(
            "%s %s: the %s that comes with mangahue, weights %s",
            option, BUNDLED, card["variant"], card["weights_sha256"][:12],
        )  # fmt: skip


def read_card(uri: str, option: str = "--model") -> dict[str, Any]:
    """The card of the model published at `uri`. Raises BadUsageError where there is none.

    option: the option that the error names.
    """
    try:
        return parse_card(open_model(uri).read(CARD))
    except (ObjectNotFoundError, CheckpointError) as error:
        raise _no_model(uri, error, option) from error


def refuse_not_finite(uri: str) -> None:
    """Raises BadUsageError where the model published at `uri` has weights that are not finite: before a job begins.

    Of weights that are missing or damaged nothing is said here. That is for who loads the model.
    """
    try:
        state = safetensors.numpy.load(open_model(uri).read(WEIGHTS))
    except (ObjectNotFoundError, SafetensorError, KeyError, ValueError):  # KeyError: a kind of number NumPy lacks
        return
    if bad := [name for name, value in state.items() if not np.isfinite(value).all()]:
        raise BadUsageError(
            f"--model {uri}: {len(bad)} tensors are not finite (NaN or infinity): {', '.join(bad[:4])}; it would "
            "colour pages black: train it again"
        )


def load_model(uri: str, card: dict[str, Any] | None = None) -> "models.Variant":
    """The model published at `uri`.

    card: the card that it must have, if given.
    Raises BadUsageError where the model is missing or incomplete, or where it has another card.
    """
    storage = open_model(uri)
    if card is not None and read_card(uri) != card:
        if uri == BUNDLED:
            raise BadUsageError(f"--model {uri}: this node has another mangahue than the driver; install the same one")
        raise BadUsageError(f"--model {uri}: another model was published there since the job began; run again")
    try:
        return models.load(storage.read(CARD), storage.read(WEIGHTS))[0]
    except (ObjectNotFoundError, CheckpointError) as error:
        raise _no_model(uri, error) from error


def _no_model(uri: str, error: Exception, option: str = "--model") -> BadUsageError:
    if uri == BUNDLED:
        return BadUsageError(
            f"{option} {uri}: the model that comes with mangahue is not whole here: {error}; install mangahue again, "
            "or give the RUN/model of a finished training"
        )
    return BadUsageError(f"{option} {uri}: {error}; give the RUN/model of a finished training")
