"""The parts of jobs/train.py that train: Ray Train starts the workers, each steps the variant over its share of pages.

The loop knows no variant by name: networks, losses, optimizers and schedule are the variant's own (models.variant).
"""

import json
import logging
import math
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray.data
import ray.train
import ray.train.torch
import torch
from ray.data import ExecutionOptions, ExecutionResources
from ray.train import Checkpoint, CheckpointConfig, DataConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig

import models
from datasets.shards import ShardSet
from datasets.storage import open_storage
from datasets.transforms import Augment, resize_for
from jobs.parts.cluster import Cluster
from jobs.parts.options import as_settings
from jobs.parts.watching import Watcher
from models.checkpoint import from_bytes, to_bytes

log = logging.getLogger("mangahue")
STATE = "state.safetensors"  # all that a resumed training needs
WEIGHTS = "model.safetensors"  # the network that colours
PROGRESS = "progress.json"
_PUBLISHED_PASSES = 200  # Isola et al. 2017: 100 epochs at a constant rate, 100 falling
_STREAM_STEPS = 1000  # opening a stream takes seconds; this many steps at least come from one
_WORKER_FAILURES = 3
_BLOCK_BYTES = 8 * 2**20
_AHEAD_BYTES = 64 * 2**20
_CACHE_BYTES = 256 * 2**20  # a thousand pages at 286 x 286; an object store too small for them spills to disk


def fit(config: Any, shards: ShardSet, cluster: Cluster) -> Checkpoint:
    """Train to the end, from the run's last checkpoint if there is one. Returns the last checkpoint."""
    on_gpu = cluster.on_gpu(config.device)
    workers = config.num_workers or (max(1, int(cluster.gpus)) if on_gpu else 1)
    share = round(min(1.0, cluster.cpus / (2 * workers)), 2) if not on_gpu else 1.0
    steps = config.max_steps
    if not steps and not config.max_minutes:
        steps = math.ceil(_PUBLISHED_PASSES * shards.pages("train") / (config.batch_size * workers))
    wanted = min(steps, _STREAM_STEPS) if steps else _STREAM_STEPS
    # Blocks of a few hundred examples: the first batch does not wait for a whole shard.
    ray.data.DataContext.get_current().target_max_block_size = _BLOCK_BYTES
    stream = shards.stream(
        "train",
        size=resize_for(config.image_size),
        target=config.target,
        passes=1 + math.ceil(wanted * config.batch_size * workers / max(1, shards.pages("train"))),
        seed=config.seed,
        num_cpus=cluster.cpu_share(),
        cache=_CACHE_BYTES,
    )
    filesystem, root = open_storage(config.run).arrow()
    trainer = ray.train.torch.TorchTrainer(
        _train_worker,
        train_loop_config={"settings": as_settings(config), "steps": steps},
        datasets={"train": stream},
        dataset_config=DataConfig(execution_options=_looking_ahead(workers)),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=on_gpu,
            resources_per_worker={"CPU": share, "GPU": 1} if on_gpu else {"CPU": share},
        ),
        run_config=RunConfig(
            name="checkpoints",
            storage_path=root,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=_WORKER_FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    log.info("training on %d %s worker(s)", workers, "GPU" if on_gpu else "CPU")
    checkpoint = trainer.fit().checkpoint
    assert checkpoint is not None  # the loop ends with one
    return checkpoint


def _looking_ahead(workers: int) -> ExecutionOptions:
    """How far the stream may run ahead of the steps.

    Left to itself it decodes until the object store is full, and takes the processors from the training it feeds.
    """
    return ExecutionOptions(resource_limits=ExecutionResources.for_limits(object_store_memory=workers * _AHEAD_BYTES))


def _train_worker(plan: dict[str, Any]) -> None:
    """What each DDP worker runs."""
    settings = plan["settings"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // context.get_local_world_size()))
    torch.manual_seed(settings["seed"])  # the same weights on every worker
    variant = models.build(settings["variant"], settings)
    strategy = "ddp" if world > 1 else None
    variant.start_training(lambda network: ray.train.torch.prepare_model(network, parallel_strategy=strategy))
    loop = _Loop(variant, settings, plan["steps"], device, rank, world)
    loop.resume()
    loop.run()


class _Loop:
    """One worker's steps: from the checkpoint to the end."""

    def __init__(
        self, variant: models.Variant, settings: dict[str, Any], steps: int, device: torch.device, rank: int, world: int
    ) -> None:
        self.variant, self.settings, self.device = variant, settings, device
        self.rank, self.world, self.steps = rank, world, steps
        self.step = 0
        self.seconds = 0.0  # trained so far, in earlier lives too
        self.checkpointed = -1
        self.augment = Augment(settings["image_size"], settings["target"], settings["saturation_jitter"])
        self.watcher = Watcher(settings) if rank == 0 else None

    def resume(self) -> None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is not None:
            with checkpoint.as_directory() as folder:
                progress = json.loads((Path(folder) / PROGRESS).read_bytes())
                self.variant.load_training_state(from_bytes((Path(folder) / STATE).read_bytes()))
            self.step = self.checkpointed = progress["step"]
            self.seconds = progress["seconds"]
        if self.watcher:
            self.watcher.open(self.step)
        torch.manual_seed(hash((self.settings["seed"], self.rank, self.step)) % 2**63)

    def run(self) -> None:
        begun = time.monotonic() - self.seconds
        batches = self._batches()
        while (progress := self._progress()) < 1:
            asked = time.monotonic()
            ink, target = next(batches)
            waited = time.monotonic() - asked
            self.variant.set_progress(progress)
            losses = self.variant.training_step(ink, target)
            self.step += 1
            self.seconds = time.monotonic() - begun
            if self.watcher:
                self.watcher.note_step(self.step, self.seconds, progress, waited, losses)
            if self.step % self.settings["eval_every"] == 0:
                self._report()
                begun = time.monotonic() - self.seconds  # watching and saving are not training time
        if self.checkpointed != self.step:
            self._report()

    def _progress(self) -> float:
        """Share of the training that is done; all workers hold the first one's, so that they stop together."""
        parts = [0.0]
        if self.steps:
            parts.append(self.step / self.steps)
        if self.settings["max_minutes"]:
            parts.append(self.seconds / 60 / self.settings["max_minutes"])
        shared = torch.tensor(max(parts), dtype=torch.float64, device=self.device)
        if self.world > 1:
            torch.distributed.broadcast(shared, 0)
        return float(shared)

    def _batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        stream = ray.train.get_dataset_shard("train")
        size = self.settings["batch_size"]
        for opened in range(2**31):
            empty = True
            for batch in stream.iter_torch_batches(
                batch_size=size,
                drop_last=True,
                prefetch_batches=2,
                local_shuffle_buffer_size=max(64, 4 * size),
                local_shuffle_seed=self.settings["seed"] + opened,
                device=self.device,
            ):
                empty = False
                yield self.augment(batch["ink"], batch["target"])
            if empty:
                raise RuntimeError(f"no batch of {size} coloured pages for each of {self.world} workers in the shards")

    def _report(self) -> None:
        """Held-out metrics, samples and a checkpoint; every worker takes part, the first one does the work."""
        self.checkpointed = self.step
        if self.watcher is None:
            ray.train.report({"step": self.step})
            return
        metrics = self.watcher.look(self.variant, self.step, self.seconds)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / STATE).write_bytes(to_bytes(self.variant.training_state()))
            (Path(folder) / WEIGHTS).write_bytes(to_bytes(self.variant.generator().state_dict()))
            progress = {"step": self.step, "seconds": self.seconds, "metrics": metrics}
            (Path(folder) / PROGRESS).write_text(json.dumps(progress))
            ray.train.report({"step": self.step, **metrics}, checkpoint=Checkpoint.from_directory(folder))
