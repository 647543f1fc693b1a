"""A variant whose `predict` runs on a backend."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

import models
from imaging.color import F32
from jobs.parts.model.backends.choice import Backend
from jobs.parts.model.backends.export import exported

Run = Callable[[Mapping[str, F32]], F32]  # inputs by name -> the output
_SCARCE = ("Failed to allocate", "bad_alloc", "bad allocation")  # in the errors of both, where memory does not suffice


def run_on(backend: Backend, variant: models.Variant, card: Mapping[str, Any], threads: int) -> None:
    """Have `variant` colour by a backend, on `threads` threads of the CPUs.

    card: the model's card.
    Raises BadUsageError where the backend is not installed.
    """
    backend.require()
    if backend.name == "torch":
        return
    color_by(variant, backend, exported(variant, card), threads)


def color_by(variant: models.Variant, backend: Backend, model: bytes, threads: int) -> None:
    """Have `variant` colour by the ONNX model of its `coloring`."""
    run = _compiled(backend, model, threads)
    variant.color_by(partial(_on_tensors, run, tuple(variant.coloring().inputs)))


def _compiled(backend: Backend, model: bytes, threads: int) -> Run:
    if backend.name == "openvino":
        from jobs.parts.model.backends.on_openvino import compile_model

        return compile_model(model, threads, bf16=backend.bf16)
    from jobs.parts.model.backends.on_onnxruntime import load_session

    return load_session(model, threads)


def _on_tensors(run: Run, names: Sequence[str], *inputs: Tensor) -> Tensor:
    """Raises MemoryError where there is not enough memory."""
    arrays = {name: np.ascontiguousarray(tensor.float().numpy()) for name, tensor in zip(names, inputs, strict=True)}
    try:
        return torch.from_numpy(run(arrays))
    except Exception as error:  # each backend has exceptions of its own
        if any(text in str(error) for text in _SCARCE):
            raise MemoryError(str(error)) from error
        raise
