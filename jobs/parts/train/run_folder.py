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
from jobs.parts.model.folder import CARD, MODEL, RAW, WEIGHTS
from jobs.parts.runtime.outcome import as_json
from jobs.parts.train.config import settings_of
from jobs.parts.train.loop import PROGRESS
from models.checkpoint import fingerprint

log = logging.getLogger("mangahue")
CONFIG = "config.json"
_LIMITS = ("max_steps", "max_minutes", "early_stop")
_FREE = {  # may change when a run goes on
    *_LIMITS, "num_workers", "device", "eval_every", "keep_checkpoints", "mlflow", "precision", "memory_format",
    "compile", "data", "run",
}  # fmt: skip


def claim(run: Storage, config: Any, shards: ShardSet) -> None:
    """Make the run folder this config's own, or take it up again.

    Raises BadUsageError where it belongs to a training with other settings or other pages, naming what differs.
    """
    settings = settings_of(config)
    saved: dict[str, Any] = {"settings": settings, "data": shards.fingerprint}
    if run.stat(CONFIG) is not None:
        earlier: dict[str, Any] = json.loads(run.read(CONFIG))
        there, here = _flat(earlier["settings"]), _flat(settings)
        differing = [
            f"--{name.replace('_', '-')} {there.get(name)!r} there, {here[name]!r} here"
            for name in here
            if name not in _FREE and there.get(name) != here[name]
        ]
        if earlier["data"] != saved["data"]:
            differing.append(f"--data with other pages ({earlier['data'][:12]} there, {saved['data'][:12]} here)")
        if differing:
            raise BadUsageError(f"--run {run.uri} is another training's: {'; '.join(differing)}; give another folder")
    run.put(CONFIG, as_json(saved))


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, **settings.get("model", {}), "model": None}


def already_trained(run: Storage, config: Any) -> bool:
    """Whether the model of this very training, to the same limits, is published."""
    if run.stat(f"{MODEL}/{CARD}") is None:
        return False
    trained_to = json.loads(run.read(f"{MODEL}/{CARD}"))["limits"]
    done = bool(trained_to == {name: getattr(config, name) for name in _LIMITS})
    if done:
        log.info("%s/model is this training's model already; nothing to do", run.uri)
    return done


def publish_model(run: Storage, config: Any, shards: ShardSet, origin: dict[str, Any], checkpoint: Checkpoint) -> None:
    """Publish the network of a checkpoint: weights, those of its last step beside them, then the card.

    origin: what the training started from, as starting.check_start tells it.
    """
    settings = settings_of(config)
    with checkpoint.as_directory() as folder:
        weights, raw = ((Path(folder) / name).read_bytes() for name in (WEIGHTS, RAW))
        progress = json.loads((Path(folder) / PROGRESS).read_bytes())
    card = {
        "variant": config.variant,
        "config": settings["model"],
        "weights_sha256": fingerprint(weights),
        "data_fingerprint": shards.fingerprint,
        "steps": progress["step"],
        "seconds": round(progress["seconds"], 1),
        "metrics": progress["metrics"],
        "mean_chroma": shards.mean_chroma,
        "limits": {name: settings[name] for name in _LIMITS},
        "origin": origin,
        "training": settings,
    }
    models.load(as_json(card), weights)  # what is published must rebuild
    run.put(f"{MODEL}/{RAW}", raw)
    run.put(f"{MODEL}/{WEIGHTS}", weights)
    run.put(f"{MODEL}/{CARD}", as_json(card))
    log.info("%d steps, %.1f min; the model is in %s/model", progress["step"], progress["seconds"] / 60, run.uri)
