"""What a training leaves: whose run folder it is, and the model it publishes."""

import json
import logging
from pathlib import Path
from typing import Any

from ray.train import Checkpoint

import models
from datasets.errors import BadUsageError
from datasets.shards import ShardSet
from datasets.storage import Storage
from jobs.parts.options import as_settings
from jobs.parts.outcome import as_json
from jobs.parts.training import PROGRESS, WEIGHTS
from models.checkpoint import fingerprint

log = logging.getLogger("mangahue")
CONFIG = "config.json"
MODEL, CARD = "model/model.safetensors", "model/model.json"
_LIMITS = ("max_steps", "max_minutes")
_FREE = {*_LIMITS, "num_workers", "device", "eval_every", "data", "run"}  # may change when a run goes on


def claim(run: Storage, config: Any, shards: ShardSet) -> None:
    """Make the run folder this config's own, or take it up again.

    Raises BadUsageError where it belongs to a training with other settings or other pages, naming what differs.
    """
    settings = as_settings(config)
    saved: dict[str, Any] = {"settings": settings, "data": shards.fingerprint}
    if run.stat(CONFIG) is not None:
        earlier: dict[str, Any] = json.loads(run.read(CONFIG))
        differing = [
            f"--{name.replace('_', '-')} {earlier['settings'].get(name)!r} there, {settings[name]!r} here"
            for name in settings
            if name not in _FREE and earlier["settings"].get(name) != settings[name]
        ]
        if earlier["data"] != saved["data"]:
            differing.append(f"--data with other pages ({earlier['data'][:12]} there, {saved['data'][:12]} here)")
        if differing:
            raise BadUsageError(f"--run {run.uri} is another training's: {'; '.join(differing)}; give another folder")
    run.put(CONFIG, as_json(saved))


def already_trained(run: Storage, config: Any) -> bool:
    """Whether the model of this very training, to the same limits, is published."""
    if run.stat(CARD) is None:
        return False
    trained_to = json.loads(run.read(CARD))["limits"]
    done = bool(trained_to == {name: getattr(config, name) for name in _LIMITS})
    if done:
        log.info("%s/model is this training's model already; nothing to do", run.uri)
    return done


def publish_model(run: Storage, config: Any, shards: ShardSet, checkpoint: Checkpoint) -> None:
    """Publish the network of the last checkpoint: weights, then the card that describes them."""
    settings = as_settings(config)
    with checkpoint.as_directory() as folder:
        weights = (Path(folder) / WEIGHTS).read_bytes()
        progress = json.loads((Path(folder) / PROGRESS).read_bytes())
    variant = models.build(config.variant, settings)
    card = {
        "variant": config.variant,
        "config": as_settings(variant.config),
        "weights_sha256": fingerprint(weights),
        "data_fingerprint": shards.fingerprint,
        "steps": progress["step"],
        "seconds": round(progress["seconds"], 1),
        "metrics": progress["metrics"],
        "mean_chroma": shards.mean_chroma,
        "limits": {name: settings[name] for name in _LIMITS},
        "training": settings,
    }
    models.load(as_json(card), weights)  # what is published must rebuild
    run.put(MODEL, weights)
    run.put(CARD, as_json(card))
    log.info("%d steps, %.1f min; the model is in %s/model", progress["step"], progress["seconds"] / 60, run.uri)
