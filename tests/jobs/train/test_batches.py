"""What a worker's batches hold, made of the examples of its streams."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from jobs.parts.train import batches
from jobs.parts.train.config import TrainConfig


def mask(rows: slice) -> Tensor:
    drawn = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    drawn[:, :, rows] = 1
    return drawn


def first_batch(monkeypatch: pytest.MonkeyPatch, variant: str, streams: dict[str, dict[str, Tensor]]) -> batches.Batch:
    def stream(kind: str, *_: Any) -> Iterator[dict[str, Tensor]]:
        yield streams[kind]

    monkeypatch.setattr(batches, "_stream", stream)
    config = TrainConfig(data="shards", run="run", variant=variant, image_size=32, augment="none")
    return next(batches.batches(config, paired=variant != "cyclegan", device=torch.device("cpu")))


@pytest.mark.parametrize("masked", [True, False])
def test_without_pairs_a_place_is_judged_where_neither_page_is_masked(
    monkeypatch: pytest.MonkeyPatch, masked: bool
) -> None:
    ink = {"ink": torch.zeros(2, 1, 32, 32, dtype=torch.uint8)}
    color = {"target": torch.zeros(2, 3, 32, 32, dtype=torch.uint8)}
    if masked:
        ink["mask"], color["mask"] = mask(slice(0, 8)), mask(slice(4, 12))
    batch = first_batch(monkeypatch, "cyclegan", {"ink": ink, "color": color})
    assert batch.groups is None
    assert (batch.ink == -1).all()
    if masked:
        assert batch.masked is not None
        assert torch.equal(batch.masked, mask(slice(0, 12)).bool())
    else:
        assert batch.masked is None


def test_pairs_have_one_mask_and_their_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = {
        "ink": torch.zeros(2, 1, 32, 32, dtype=torch.uint8),
        "target": torch.full((2, 2, 32, 32), 55, dtype=torch.int8),
        "mask": mask(slice(0, 8)),
        "group": torch.tensor([0, 0]),
    }
    batch = first_batch(monkeypatch, "exemplar", {"pairs": pair})
    assert batch.masked is not None
    assert batch.groups is pair["group"]
    assert torch.equal(batch.masked, pair["mask"].bool())
    assert torch.equal(batch.target == 0, batch.masked.expand(-1, 2, -1, -1))  # paper
