"""Batches for a training: the driver opens streams; each worker reads and augments its share."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import ray.data
import ray.train
import torch
from ray.data import ExecutionOptions, ExecutionResources
from ray.train import DataConfig

import models
from datasets.grouping import grouped
from datasets.shards import ShardSet
from datasets.transforms import Augment, resize_for
from jobs.parts.runtime.cluster import Cluster
from jobs.parts.train.config import TrainConfig

_STREAM_STEPS = 1000  # steps that a stream lasts at least, because opening one takes seconds
_BLOCK_BYTES = 8 * 2**20
_AHEAD_BYTES = 64 * 2**20
_LEAST_KEPT = 256 * 2**20  # bytes, a thousand pages at 286 x 286; a smaller object store spills to disk
_KEPT_SHARE = 0.5  # of the object store


def open_streams(
    config: TrainConfig, shards: ShardSet, cluster: Cluster, *, paired: bool, steps: int, workers: int
) -> dict[str, ray.data.Dataset]:
    """The streams that the workers of a training share: pairs, or ink and colour apart.

    paired: whether the variant trains on pairs.
    steps: of the training; 0 where not known.
    workers: how many share the streams.
    """
    # Blocks of a few hundred examples, so that the first batch does not wait for a whole shard.
    ray.data.DataContext.get_current().target_max_block_size = _BLOCK_BYTES
    pages = min(steps, _STREAM_STEPS) if steps else _STREAM_STEPS
    pages *= config.batch_size * config.accumulate * workers
    kinds = ("pairs",) if paired else ("ink", "color")
    return {
        kind: shards.stream(
            "train",
            kind=kind,
            size=resize_for(config.model.image_size, config.augment),
            target=config.model.target,
            passes=1 + math.ceil(pages / max(1, shards.examples("train", kind))),
            seed=config.seed + number,  # so that a batch's ink and colour come from different pages
            num_cpus=cluster.cpu_share(),
            cache=max(_LEAST_KEPT, int(_KEPT_SHARE * cluster.store / len(kinds))),
        )
        for number, kind in enumerate(kinds)
    }


def looking_ahead(workers: int, *, deterministic: bool) -> DataConfig:
    """How far the streams may run ahead of the steps.

    deterministic: the blocks keep their order.
    Without a limit a stream decodes until the object store is full, and takes the processors from the training it
    feeds.
    """
    limits = ExecutionResources.for_limits(object_store_memory=workers * _AHEAD_BYTES)
    return DataConfig(execution_options=ExecutionOptions(resource_limits=limits, preserve_order=deterministic))


class Batch(NamedTuple):
    """What a step learns from.

    ink: (B, 1, S, S) in [-1, 1].
    target: (B, C, S, S) in [-1, 1].
    masked: (B, 1, S, S) bool, where the pages are not judged; None where no page of the set has a mask.
    groups: (B,) the pages' groups for a variant that uses them, else None.
    """

    ink: torch.Tensor
    target: torch.Tensor
    masked: torch.Tensor | None
    groups: torch.Tensor | None


def batches(config: TrainConfig, *, paired: bool, device: torch.device) -> Iterator[Batch]:
    """This worker's share of the streams, without end, augmented, on `device`.

    Without pairs a place is judged where neither of the two pages is masked, so that both look alike there.
    Raises RuntimeError where the shards hold too few pages for one batch per worker.
    """
    augment = Augment(config.model.image_size, config.model.target, config.saturation_jitter, config.augment)
    if paired:
        for batch in _stream("pairs", config, device):
            yield Batch(*augment(batch["ink"], batch["target"], batch.get("mask")), batch.get("group"))
    for ink, color in zip(_stream("ink", config, device), _stream("color", config, device), strict=True):
        pages, masked = augment.ink(ink["ink"], ink.get("mask"))
        colors, also_masked = augment.color(color["target"], color.get("mask"))
        either = masked if masked is None or also_masked is None else masked | also_masked
        yield Batch(pages, colors, either, None)


def _stream(kind: str, config: TrainConfig, device: torch.device) -> Iterator[dict[str, torch.Tensor]]:
    stream = ray.train.get_dataset_shard(kind)
    size, group = config.batch_size, models.VARIANTS[config.variant].pages_per_chapter
    buffer = max(64, 4 * size)
    for opened in range(2**31):
        empty = True
        seed = config.seed + opened
        shuffle = {} if group > 1 else {"local_shuffle_buffer_size": buffer, "local_shuffle_seed": seed}
        opened_stream = stream.iter_torch_batches(
            batch_size=size, drop_last=True, prefetch_batches=2, device=device, **shuffle
        )
        if group > 1:
            opened_stream = grouped(iter(opened_stream), size=size, group=group, buffer=buffer, seed=seed)
        for batch in opened_stream:
            empty = False
            yield batch
        if empty:
            raise RuntimeError(f"no batch of {size} {kind} for each worker in the shards: they hold too few pages")
