"""A variant's colouring as an ONNX model."""

import hashlib
import json
import logging
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

import imaging
import models
from jobs.parts.model.backends.cache import cached

log = logging.getLogger("mangahue")
_EXAMPLE = {"pages": 2, "places": 3}  # sizes of the example: unlike one another, and unlike 1, which broadcasts


def exported(variant: models.Variant, card: Mapping[str, Any]) -> bytes:
    """The ONNX model of `variant.coloring()`, float32; exported once for a model, and cached.

    card: the model's card.
    """
    named = [card["weights_sha256"], card["variant"], card["config"], torch.__version__, _code()]
    key = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()
    return cached(f"{key}.onnx", lambda: export(variant.coloring()))


def export(coloring: models.Coloring) -> bytes:
    """The ONNX model of what a variant's `predict` runs; its inputs have the names of `Coloring.inputs`."""
    log.info("the network is exported to ONNX, once for each model")
    dims = {name: torch.export.Dim(name) for name in _EXAMPLE}
    shapes = coloring.inputs.values()
    sizes = [[size if isinstance(size, int) else _EXAMPLE[size] for size in shape] for shape in shapes]
    dynamic = tuple({axis: dims[size] for axis, size in enumerate(shape) if isinstance(size, str)} for shape in shapes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own code
        program = torch.onnx.export(
            coloring.network,
            tuple(torch.zeros(size) for size in sizes),
            dynamo=True,
            dynamic_shapes=dynamic,
            input_names=list(coloring.inputs),
            verbose=False,
        )
    assert program is not None
    return program.model_proto.SerializeToString()


@cache
def _code() -> str:
    """A digest in hex of the code that a network is made of."""
    digest = hashlib.sha256()
    for package in (models, imaging):
        for path in sorted(Path(package.__path__[0]).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
