"""The actor that holds the network."""

import os
import time

import numpy as np
import ray
import torch

import models
from jobs.parts.predicting import predict_chroma
from jobs.parts.recipe import Recipe, load_model
from jobs.parts.stretches import Row, Stretch, from_row, to_row


class Painter:
    """Loads the model once, then paints stretch after stretch. actors: how many of them share the cluster's CPUs."""

    def __init__(self, *, recipe: Recipe, actors: int) -> None:
        self._variant = load_model(recipe.model)
        self._batch_size = recipe.batch_size
        to_device(self._variant, actors)

    def __call__(self, row: Row) -> Row:
        return to_row(paint(from_row(row), self._variant, self._batch_size))


def to_device(variant: models.Variant, workers: int) -> None:
    """Move the network to this worker's GPU; without one, share the node's cores among `workers` of the cluster."""
    if torch.cuda.is_available():
        variant.generator().cuda()
        return
    here = -(-workers // max(1, len(ray.nodes())))
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // here))
    variant.generator().to(memory_format=torch.channels_last)


def paint(stretch: Stretch, variant: models.Variant, batch_size: int) -> Stretch:
    """Predict the chroma of the pages to colour, `batch_size` at a time."""
    begun = time.monotonic()
    waiting = [work for work in stretch.works if work.gray is not None]
    for start in range(0, len(waiting), batch_size):
        batch = waiting[start : start + batch_size]
        predicted = predict_chroma(variant, np.stack([work.gray for work in batch if work.gray is not None]))
        for work, chroma in zip(batch, predicted, strict=True):
            work.chroma, work.gray = chroma.astype(np.float16), None  # to a sixteenth of a unit at the most vivid
    stretch.seconds += time.monotonic() - begun
    return stretch
