"""Watching a training: a line every few seconds, held-out metrics, a grid of samples, TensorBoard, metrics.jsonl."""

import io
import json
import logging
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

import models
from datasets.shards import ShardSet
from datasets.storage import open_storage
from imaging.color import U8, join_chroma
from imaging.components import Mask
from imaging.metrics import ciede2000, colorfulness, judged
from jobs.parts.model.folder import METRICS
from jobs.parts.model.inference import predict_chroma
from jobs.parts.train.config import TrainConfig

_MOST_PAGES = 32  # held-out pages looked at
_GRID_PAGES = 6
_LINE_EVERY = 10.0  # seconds
_POINT_EVERY = 20  # steps
_SLOW_STEPS = 2  # the first ones of a run wait for pages, and for memory
_TIMED_STEPS = 10  # after which a run's speed is known

log = logging.getLogger("mangahue")


def minutes_left(earlier: tuple[float, float], now: tuple[float, float]) -> float:
    """Minutes to the end of a training that goes on as it did between two moments; NaN where nothing was done.

    earlier, now: seconds trained, and the share of the training that is done.
    """
    done = now[1] - earlier[1]
    return (1 - now[1]) * (now[0] - earlier[0]) / done / 60 if done else math.nan


class Monitor:
    """The eyes of the first worker. Local files go to the run's storage whenever a checkpoint is made."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._storage = open_storage(config.run)
        self._folder = Path(tempfile.mkdtemp(prefix="mangahue-watch-"))
        self._lines: list[dict[str, Any]] = []
        self._logged_at = time.monotonic()
        self._recent: list[tuple[float, float, dict[str, torch.Tensor]]] = []
        self._last_seconds = 0.0
        self._noted = 0
        self._timed_from = (0.0, 0.0)

    def open(self, step: int) -> None:
        """Take up the run's metrics up to `step`, and choose the pages to look at."""
        if step and self._storage.stat(METRICS):
            lines = (json.loads(line) for line in self._storage.read(METRICS).splitlines())
            self._lines = [line for line in lines if line["step"] <= step]
        self._board = SummaryWriter(str(self._folder), purge_step=step or None)
        shards = ShardSet.open(self._config.data)
        self._split = "holdout" if shards.pages("holdout") else "train"
        size = self._config.model.image_size
        self._pages: list[tuple[U8, U8, Mask | None]] = []
        for page in shards.sample(self._split, _MOST_PAGES):
            pair, masked = page.network_pair(size), page.decode_mask((size, size))
            assert pair is not None  # `sample` gives pages that have both
            if masked is None or not masked.all():
                self._pages.append((*pair, masked))

    def evaluations_since_best(self) -> int:
        """How many looks in a row found no better CIEDE2000 than one before them."""
        found = [line["ciede2000"] for line in self._lines if "ciede2000" in line]
        return len(found) - 1 - found.index(min(found)) if found else 0

    def note_step(
        self, step: int, seconds: float, progress: float, waited: float, losses: dict[str, torch.Tensor]
    ) -> None:
        """Keep a step's losses; now and then write a point and tell a line."""
        self._recent.append((seconds - self._last_seconds, waited, losses))
        self._last_seconds = seconds
        self._noted += 1
        if self._noted <= _SLOW_STEPS:
            self._timed_from = (seconds, progress)
        left = minutes_left(self._timed_from, (seconds, progress))
        if self._noted == _SLOW_STEPS + _TIMED_STEPS:
            log.info("step %d: the training will take about %.1f min more, held-out evaluations apart", step, left)
        due = time.monotonic() - self._logged_at > _LINE_EVERY
        if step % _POINT_EVERY and not due:
            return
        point = self._point(step, seconds)
        if due:
            shown = " ".join(f"{name} {value:.3f}" for name, value in point["losses"].items())
            log.info("step %d: %s, %.2f steps/s, %.0f%% waiting for data, %.1f min left", step, shown,
                     point["steps_per_second"], 100 * point["waiting"], left)  # fmt: skip
            self._logged_at = time.monotonic()

    def _point(self, step: int, seconds: float) -> dict[str, Any]:
        took = sum(entry[0] for entry in self._recent)
        count = len(self._recent)
        losses = {name: sum(float(entry[2][name]) for entry in self._recent) / count for name in self._recent[0][2]}
        point = {
            "kind": "train",
            "step": step,
            "seconds": round(seconds, 3),
            "steps_per_second": count / max(took, 1e-9),
            "waiting": sum(entry[1] for entry in self._recent) / max(took, 1e-9),
            "losses": losses,
        }
        self._recent = []
        self._lines.append(point)
        for name, value in losses.items():
            self._board.add_scalar(f"loss/{name}", value, step)
        self._board.add_scalar("rate/steps_per_second", point["steps_per_second"], step)
        self._board.add_scalar("rate/waiting_for_data", point["waiting"], step)
        return point

    def evaluate_heldout(self, variant: models.Variant, step: int, seconds: float) -> dict[str, float]:
        """Colour the watched pages at model size: metrics against the truth, a grid of samples; all saved.

        Returns means over the pages, what is masked left out: ciede2000, ciede2000_gray (of the uncoloured page),
        colorfulness.
        """
        if self._recent:
            self._point(step, seconds)
        rows: list[U8] = []
        values: list[tuple[float, float, float]] = []
        for gray, color, masked in self._pages:
            ours = join_chroma(gray, predict_chroma(variant, gray[None])[0])
            plain: U8 = np.repeat(gray[..., None], 3, axis=2)
            values.append(
                (
                    ciede2000(ours, color, masked),
                    ciede2000(plain, color, masked),
                    colorfulness(judged(ours, masked)),
                )
            )
            if len(rows) < _GRID_PAGES:
                rows.append(np.concatenate([plain, ours, color], axis=1))
        names = ("ciede2000", "ciede2000_gray", "colorfulness")
        metrics = dict(zip(names, np.mean(values, axis=0).tolist(), strict=True)) if values else {}
        self._lines.append({"kind": self._split, "step": step, "seconds": round(seconds, 3), **metrics})
        for name, value in metrics.items():
            self._board.add_scalar(f"{self._split}/{name}", value, step)
        if rows:
            grid = np.concatenate(rows, axis=0)
            self._board.add_image(f"{self._split}/ink, ours, truth", grid, step, dataformats="HWC")
            out = io.BytesIO()
            Image.fromarray(grid).save(out, "PNG")
            self._storage.put(f"samples/step-{step:07d}.png", out.getvalue(), content_type="image/png")
        shown = ", ".join(f"{name} {value:.2f}" for name, value in metrics.items())
        log.info("step %d: %s pages: %s", step, self._split, shown)
        self._save()
        return metrics

    def _save(self) -> None:
        self._board.flush()
        self._storage.put(METRICS, "".join(json.dumps(line) + "\n" for line in self._lines).encode())
        for file in self._folder.iterdir():
            self._storage.put(f"tensorboard/{file.name}", file)
