"""An untrained network in a model folder as train.py makes it, for tests and benchmarks of colouring."""

import dataclasses
from pathlib import Path
from typing import Any

import torch

import models
from datasets.storage import open_storage
from jobs.parts.model.folder import ModelCard, publish
from models.checkpoint import to_bytes


def publish_untrained(folder: Path, name: str = "pix2pix", **config: Any) -> models.Variant:
    """Publish random weights of a variant. Returns the variant.

    config: settings that differ from the variant's published ones.
    """
    torch.manual_seed(0)
    variant = models.build(name, config)
    card = ModelCard(variant=name, config=dataclasses.asdict(variant.config), mean_chroma=[2.0, 8.0])
    publish(open_storage(str(folder)), card, to_bytes(variant.generator().state_dict()))
    return variant
