"""The actor that holds the network."""

import os
import time

import numpy as np
import ray
import torch

import models
from datasets.errors import Code
from datasets.limits import SLOW
from imaging.color import F32
from jobs.parts import telemetry
from jobs.parts.attempts import Attempts, NoAttempts, deadline
from jobs.parts.predicting import predict_chroma
from jobs.parts.recipe import Recipe, load_model
from jobs.parts.stretches import Row, Stretch, Work, from_row, to_row

_MOST_ATTEMPTS = 2  # of a page alone


class Painter:
    """Loads the model once, then paints stretch after stretch. actors: how many of them share the cluster's CPUs."""

    def __init__(self, *, recipe: Recipe, actors: int, attempts: Attempts) -> None:
        self._variant = load_model(recipe.model, recipe.card)
        self._batch_size = recipe.batch_size
        self._attempts = attempts
        to_device(self._variant, actors)

    def __call__(self, row: Row) -> Row:
        with telemetry.timed("paint"):
            return to_row(paint(from_row(row), self._variant, self._batch_size, self._attempts))


def to_device(variant: models.Variant, workers: int) -> None:
    """Move the network to this worker's GPU; without one, share the node's cores among `workers` of the cluster."""
    if torch.cuda.is_available():
        variant.generator().cuda()
        return
    here = -(-workers // max(1, len(ray.nodes())))
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // here))
    variant.generator().to(memory_format=torch.channels_last)


def paint(stretch: Stretch, variant: models.Variant, batch_size: int, attempts: Attempts | None = None) -> Stretch:
    """Predict the chroma of the pages to colour, `batch_size` at a time.

    A batch that memory does not suffice for is halved, down to a page, which is then flagged. Where a painter died at
    this stretch (`attempts`), pages go one by one, and one that two have died at alone is flagged.
    """
    begun = time.monotonic()
    attempts = attempts or NoAttempts()
    name = f"{stretch.todo.ref.rel}:{stretch.number}"
    waiting = [work for work in stretch.works if work.gray is not None]
    careful = attempts.begin(name) > 0
    if careful:
        telemetry.count_retry("paint")
    size = 1 if careful else batch_size
    for start in range(0, len(waiting), size):
        batch = waiting[start : start + size]
        page = f"{name}:{start}"
        if careful and attempts.begin(page) >= _MOST_ATTEMPTS:
            batch[0].flag(Code.CRASHED, f"painting it ended its worker {_MOST_ATTEMPTS + 1} times")
            continue
        with deadline(SLOW * stretch.todo.policy.limits.seconds):
            _paint_batch(batch, variant)
        if careful:
            attempts.end(page)
    attempts.end(name)
    stretch.seconds += time.monotonic() - begun
    return stretch


def _paint_batch(batch: list[Work], variant: models.Variant) -> None:
    predicted = _predict(batch, variant)
    if predicted is not None:
        for work, chroma in zip(batch, predicted, strict=True):
            work.chroma, work.gray = chroma.astype(np.float16), None  # to a sixteenth of a unit at the most vivid
    elif len(batch) == 1:
        batch[0].flag(Code.MEMORY, "the network has not enough memory for it, alone in its batch")
    else:
        half = len(batch) // 2
        _paint_batch(batch[:half], variant)
        _paint_batch(batch[half:], variant)


def _predict(batch: list[Work], variant: models.Variant) -> F32 | None:
    """None where memory does not suffice."""
    try:
        return predict_chroma(variant, np.stack([work.gray for work in batch if work.gray is not None]))
    except (MemoryError, RuntimeError) as error:
        told = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if not told:
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
