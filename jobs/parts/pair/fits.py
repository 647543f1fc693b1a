"""Lays pictures on the pages that they may come from, and keeps what came of it beside the shards."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from datasets.storage import open_storage
from imaging.matching import Fit, fit
from jobs.parts.pair.page_features import HOME, Kept, load_features
from jobs.parts.pair.pictures import digest_of
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.sandbox import SandboxError, sandbox

log = logging.getLogger("mangahue")
_MADE = "fits 1"  # raised where the same features give other fits
_SECONDS = 60.0  # for the fits of one picture


@dataclass(frozen=True)
class FitTask:
    """Pictures to be laid on pages.

    out: URI of the shard folder.
    pictures: of each its features, and those of the pages, with whether the picture is seen in a mirror.
    """

    out: str
    pictures: tuple[tuple[Kept, tuple[tuple[Kept, bool], ...]], ...]


def find_fits(task: FitTask) -> list[list[Fit | None]]:
    """The fits of each picture on each of its pages, None where there is none; kept for the next run."""
    storage = open_storage(task.out)
    key = f"{HOME}/fits/{digest_of([_MADE, task.pictures])}.json"
    if kept := read_json(storage, key):
        return [[None if values is None else _from_json(values) for values in found] for found in kept["fits"]]
    fits: list[list[Fit | None]] = []
    for picture, pages in task.pictures:
        try:
            fits.append(sandbox().call(fit_all, task.out, picture, pages, seconds=_SECONDS))
        except SandboxError as error:  # of a picture that takes too long or crashes OpenCV: it has no page
            log.warning("a picture of %s can't be laid on its pages: %s", picture[0], error)
            fits.append([None] * len(pages))
    listed = {"fits": [[None if found is None else _as_json(found) for found in row] for row in fits]}
    storage.put(key, json.dumps(listed).encode())
    return fits


def fit_all(out: str, picture: Kept, pages: Sequence[tuple[Kept, bool]]) -> list[Fit | None]:
    """The fits of one picture on pages; with each, whether the picture is seen in a mirror."""
    color = load_features(out, *picture)
    return [fit(color, load_features(out, *page), mirrored=mirrored) for page, mirrored in pages]


def _as_json(found: Fit) -> dict[str, Any]:
    return asdict(found) | {"homography": found.homography.tolist()}


def _from_json(values: dict[str, Any]) -> Fit:
    return Fit(**{**values, "homography": np.array(values["homography"], np.float64)})
