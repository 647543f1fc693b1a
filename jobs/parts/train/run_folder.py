"""The folder of a training: whose folder it is, and the model that is published in it."""

import json
import logging
from pathlib import Path
from typing import Any

from ray.train import Checkpoint

from datasets.errors import BadUsageError, TrainingFailedError
from datasets.shards import ShardSet
from datasets.storage import Storage, open_storage
from jobs.parts.model.folder import CARD, MODEL, RAW, WEIGHTS, ModelCard, publish
from jobs.parts.runtime.claims import claim, read_json
from jobs.parts.runtime.outcome import as_json
from jobs.parts.train.config import TrainConfig
from jobs.parts.train.initial_weights import other_weights
from jobs.parts.train.loop import PROGRESS
from models.card import CheckpointError

log = logging.getLogger("mangahue")
CONFIG = "config.json"
_LIMITS = ("max_steps", "max_minutes", "early_stop")
_FREE = {  # options that may change when a run is taken up again
    *_LIMITS, "num_workers", "device", "eval_every", "keep_checkpoints", "mlflow", "precision", "memory_format",
    "compile", "data", "run",
}  # fmt: skip


def claim_run(run: Storage, config: TrainConfig, shards: ShardSet, origin: dict[str, Any]) -> None:
    """Make the run folder this config's own, or take it up again.

    origin: what the training starts from, as check_initial_weights returns it. Runs of earlier versions have none.
    Raises BadUsageError, naming what differs, where it belongs to a training with other settings or other pages, or one
    that started from other weights.
    """
    mine: dict[str, Any] = {"settings": config.as_settings(), "data": shards.fingerprint, "origin": origin}
    earlier = claim(run, CONFIG, mine)
    if earlier is None:
        return
    if differing := _differing(config, earlier, mine):
        raise BadUsageError(f"--run {run.uri} is another training's: {'; '.join(differing)}; give another folder")
    run.put(CONFIG, as_json(mine))


def _differing(config: TrainConfig, earlier: dict[str, Any], mine: dict[str, Any]) -> list[str]:
    if not earlier:
        return [f"its {CONFIG} can't be read"]
    there, here = _flat(earlier["settings"]), _flat(mine["settings"])
    differing = [
        f"--{name.replace('_', '-')} {there.get(name)!r} there, {here[name]!r} here"
        for name in here
        if name not in _FREE and there.get(name) != here[name]
    ]
    if earlier["data"] != mine["data"]:
        differing.append(f"--data with other pages ({earlier['data'][:12]} there, {mine['data'][:12]} here)")
    return differing + other_weights(config, earlier.get("origin", {}), mine["origin"])


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, **settings.get("model", {}), "model": None}


def already_trained(run: Storage, config: TrainConfig) -> bool:
    """Whether the model of this very training, to the same limits, is published."""
    card = read_json(run, f"{MODEL}/{CARD}")
    done = card is not None and card.get("limits") == {name: getattr(config, name) for name in _LIMITS}
    if done:
        log.info("%s/model is this training's model already; nothing to do", run.uri)
    return done


def publish_model(
    run: Storage, config: TrainConfig, shards: ShardSet, origin: dict[str, Any], checkpoint: Checkpoint
) -> None:
    """Publish the network of a checkpoint: the weights, those of the last step, then the card.

    origin: what the training started from, as check_initial_weights returns it.
    checkpoint: the one to publish.
    Raises TrainingFailedError where it has weights that are not finite.
    """
    settings = config.as_settings()
    with checkpoint.as_directory() as folder:
        weights, raw = ((Path(folder) / name).read_bytes() for name in (WEIGHTS, RAW))
        progress = json.loads((Path(folder) / PROGRESS).read_bytes())
    card = ModelCard(
        variant=config.variant,
        config=settings["model"],
        data_fingerprint=shards.fingerprint,
        steps=progress["step"],
        seconds=round(progress["seconds"], 1),
        metrics=progress["metrics"],
        mean_chroma=shards.mean_chroma,
        limits={name: settings[name] for name in _LIMITS},
        origin=origin,
        training=settings,
    )
    try:
        publish(open_storage(f"{config.run.rstrip('/')}/{MODEL}"), card, weights, raw)
    except CheckpointError as error:
        raise TrainingFailedError(
            f"{run.uri}: the model can't be published: {error}; train again in another --run, with a lower "
            "--learning-rate or with --clip-norm 1"
        ) from error
    log.info("%d steps, %.1f min; the model is in %s/model", progress["step"], progress["seconds"] / 60, run.uri)
