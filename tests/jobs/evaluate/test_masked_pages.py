"""Held-out pages with a mask: what lies under it is in no figure, of an evaluation or of a training."""

import io
import json
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.errors import BadUsageError
from datasets.page import Page
from datasets.shards import CARD, ShardSet, write_shards
from datasets.storage import open_storage
from jobs.parts.evaluate import measure
from jobs.parts.evaluate.candidates import require_holdout
from jobs.parts.evaluate.measure import Models, measure_row
from jobs.parts.train import monitor
from jobs.parts.train.config import TrainConfig
from jobs.parts.train.monitor import Monitor

SHAPE = (60, 40)


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def mask(rows: int) -> bytes:
    """A mask of the upper rows."""
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[:rows] = 255
    return png(drawn)


def pages() -> list[Page]:
    """One page three times: whole; with other colours in the upper rows, which are masked; and masked all over."""
    ink = np.random.default_rng(0).integers(60, 200, SHAPE, np.uint8)
    ink[:24] = ink[0, 0]
    truth = np.repeat(ink[..., None], 3, axis=2)
    truth[..., 0] += 40
    other = truth.copy()
    other[:20] = (10, 250, 10)
    shown = Page("s", "ch", 0, "1.png", png(ink), png(truth), "source", 40, 60, "holdout", "in", mask(20))
    return [
        shown,
        replace(shown, index=1, color=png(other)),
        replace(shown, index=2, color=png(other), mask=mask(60)),
        replace(shown, index=3, color=png(other), mask=None),
    ]


def figures(page: Page, out: Path) -> dict[str, Any]:
    row = {**vars(page), "predicted": pickle.dumps({"ours": np.full((8, 8, 2), 9, np.float16)})}
    measured = measure_row({**row, "costs": "{}"}, out=str(out), mean_chroma=(20.0, 20.0))["measured"]
    found = json.loads(measured)
    return {"figures": found["figures"], "areas": found["areas"]}


def test_an_evaluation_measures_what_is_judged(tmp_path: Path) -> None:
    one, same, _, whole = pages()
    assert figures(one, tmp_path) == figures(same, tmp_path)
    assert figures(whole, tmp_path)["figures"]["ours"] != figures(one, tmp_path)["figures"]["ours"]


def test_a_page_masked_all_over_is_measured_by_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "load_model", lambda uri: SimpleNamespace())
    monkeypatch.setattr(measure, "to_device", lambda variant, threads, on_gpu: None)
    models = Models([], 1, on_gpu=False)
    assert [len(models(vars(page))) for page in pages()] == [1, 1, 0, 1]


def test_a_training_watches_what_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "predict_chroma", lambda variant, ink: np.full((1, *ink.shape[1:], 2), 9, np.float32))

    def watched(name: str, *shown: Page) -> dict[str, float]:
        storage = open_storage(str(tmp_path / name))
        shards = [vars(shard) for shard in write_shards(storage, shown, "holdout")]
        storage.put(CARD, json.dumps({"pages": {"holdout": len(shown)}, "shards": shards}).encode())
        eyes = Monitor(TrainConfig(data=storage.uri, run=str(tmp_path / "run"), variant="zhang", image_size=32))
        eyes.open(0)
        return eyes.evaluate_heldout(SimpleNamespace(), 0, 0.0)  # type: ignore[arg-type]

    one, same, nowhere, whole = pages()
    assert watched("1", one) == watched("2", same) == watched("3", one, nowhere)
    assert watched("4", whole) != watched("1", one)
    assert watched("5", nowhere) == {}


def test_held_out_pages_of_one_kind_are_nothing_to_measure(tmp_path: Path) -> None:
    def held_out(name: str, page: Page) -> ShardSet:
        storage = open_storage(str(tmp_path / name))
        shards = [vars(shard) for shard in write_shards(storage, [page], "holdout")]
        storage.put(CARD, json.dumps({"pages": {"holdout": 1}, "shards": shards}).encode())
        return ShardSet.open(storage.uri)

    whole = pages()[0]
    require_holdout(held_out("pair", whole))
    for name, page in (("gray", replace(whole, color=None)), ("color", replace(whole, gray=None, gray_from="none"))):
        with pytest.raises(BadUsageError, match="no held-out pages with ink and colours"):
            require_holdout(held_out(name, page))
