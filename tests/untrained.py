"""A model folder as train.py makes it, of an untrained network: for tests and benchmarks of colouring."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

import models
from models.checkpoint import fingerprint, to_bytes


def publish_untrained(folder: Path, name: str = "pix2pix", **config: Any) -> models.Variant:
    """Random weights of a variant, of its published size unless `config` says otherwise."""
    torch.manual_seed(0)
    variant = models.build(name, config)
    weights = to_bytes(variant.generator().state_dict())
    card = {
        "variant": name,
        "config": dataclasses.asdict(variant.config),
        "weights_sha256": fingerprint(weights),
        "mean_chroma": [2.0, 8.0],
        "steps": 0,
        "seconds": 0.0,
        "training": {},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "model.json").write_text(json.dumps(card))
    return variant
