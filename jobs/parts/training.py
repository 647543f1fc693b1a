"""The parts of jobs/train.py that train: Ray Train starts the workers, each steps the variant over its share of pages.

The loop knows no variant by name: networks, losses, optimizers and schedule are the variant's own (models.variant).
"""

import json
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
import ray.train
import ray.train.torch
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig

import models
from datasets.errors import TrainingFailedError
from datasets.shards import ShardSet
from datasets.storage import open_storage
from jobs.parts.feeding import batches, looking_ahead, open_streams
from jobs.parts.model.folder import RAW, WEIGHTS
from jobs.parts.runtime.cluster import Cluster, worker_range
from jobs.parts.runtime.options import as_settings
from jobs.parts.starting import start
from jobs.parts.watching import Watcher
from models.checkpoint import from_bytes, to_bytes

log = logging.getLogger("mangahue")
STATE = "state.safetensors"  # all that a resumed training needs
PROGRESS = "progress.json"
HELDOUT = "ciede2000"  # the metric that early stop and the choice of the best go by
_PUBLISHED_PASSES = 200  # Isola et al. 2017: 100 epochs at a constant rate, 100 falling
_WORKER_FAILURES = 3
_CONTROLLER_FAILURES = 5
_STORAGE_PAUSE = 10.0  # seconds, longer each time
_ON_DEMAND = "on_demand"  # the resource that marks nodes which are not taken back


def settings_of(config: Any) -> dict[str, Any]:
    """The whole of a training's choices as plain JSON values: the variant's own under "model"."""
    model = as_settings(config.model)
    general = {name: value for name, value in as_settings(config).items() if name not in {*model, "setting"}}
    return {**general, "model": model}


def fit(config: Any, shards: ShardSet, cluster: Cluster) -> Checkpoint:
    """Train to the end, from the run's last checkpoint if there is one. Returns the checkpoint to publish."""
    on_gpu = cluster.on_gpu(config.device)
    least, most = worker_range(config.num_workers)
    if not most:
        least = most = max(1, int(cluster.gpus)) if on_gpu else 1
    share = 1.0 if on_gpu else cluster.cpu_share(2 * most)
    steps = config.max_steps
    if not steps and not config.max_minutes:
        pages_a_step = config.batch_size * config.accumulate * most
        steps = math.ceil(_PUBLISHED_PASSES * shards.pages("train") / pages_a_step)
    paired = models.VARIANTS[config.variant].paired
    resources = worker_resources(share, on_gpu=on_gpu, offered=ray.cluster_resources())
    filesystem, root = open_storage(config.run).arrow()

    def trainer() -> ray.train.torch.TorchTrainer:
        return ray.train.torch.TorchTrainer(
            _train_worker,
            train_loop_config={"settings": settings_of(config), "steps": steps},
            datasets=open_streams(config, shards, cluster, paired=paired, steps=steps, workers=most),
            dataset_config=looking_ahead(most, deterministic=config.deterministic),
            scaling_config=ScalingConfig(
                num_workers=most if least == most else (least, most),
                use_gpu=on_gpu,
                resources_per_worker=resources,
            ),
            run_config=RunConfig(
                name="checkpoints",
                storage_path=root,
                storage_filesystem=filesystem,
                # A node that its owner takes back (a spot instance) is no failure: that may happen at any number.
                failure_config=FailureConfig(max_failures=_WORKER_FAILURES, max_preemption_failures=-1),
                checkpoint_config=_kept(config),
                logging_config=LoggingConfig(log_level="WARNING"),
            ),
        )

    count, kind = config.num_workers if most > least else most, "GPU" if on_gpu else "CPU"
    log.info("training on %s %s worker(s)%s", count, kind, ", on demand" if _ON_DEMAND in resources else "")
    result = _fit_patiently(trainer)
    checkpoint = result.get_best_checkpoint(HELDOUT, "min") if config.early_stop else result.checkpoint
    assert checkpoint is not None  # the loop ends with one
    return checkpoint


def _fit_patiently(trainer: Callable[[], ray.train.torch.TorchTrainer]) -> ray.train.Result:
    """Ray Train's controller ends when storage refuses it once: begin again, from the last checkpoint.

    Raises TrainingFailedError where that does not help, or where the workers failed too often.
    """
    for attempt in range(_CONTROLLER_FAILURES):
        try:
            return trainer().fit()
        except (ray.train.ControllerError, ray.exceptions.ActorDiedError) as error:
            log.warning("training was interrupted, and goes on from its last checkpoint: %s", _first_line(error))
            time.sleep(_STORAGE_PAUSE * (attempt + 1))
        except ray.train.TrainingFailedError as error:
            raise TrainingFailedError(f"training failed: {error}") from error
    raise TrainingFailedError(
        f"training was interrupted {_CONTROLLER_FAILURES} times; see that the run's storage answers, and run the same "
        "command again: it goes on from the last checkpoint"
    )


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line and not line.endswith(":")), str(error))


def worker_resources(share: float, *, on_gpu: bool, offered: Mapping[str, float]) -> dict[str, float]:
    """What a training worker asks Ray for. share: CPUs. offered: resources of the cluster's nodes, all together.

    A trace of `on_demand` where a node has it, so that no worker is placed on a spot node, or a spot node started for
    it. A cluster whose workers come and go says so by its head.
    """
    asked = {"CPU": share, **({"GPU": 1} if on_gpu else {})}
    return {**asked, _ON_DEMAND: 0.001} if offered.get(_ON_DEMAND) else asked


def _kept(config: Any) -> CheckpointConfig:
    """The last checkpoints; with early stop the best, and always the last (Ray Train keeps that beside them)."""
    if config.early_stop:
        return CheckpointConfig(
            num_to_keep=config.keep_checkpoints, checkpoint_score_attribute=HELDOUT, checkpoint_score_order="min"
        )
    return CheckpointConfig(num_to_keep=config.keep_checkpoints)


def _train_worker(plan: dict[str, Any]) -> None:
    """What each DDP worker runs."""
    settings = plan["settings"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // context.get_local_world_size()))
    _choose_algorithms(settings["deterministic"])
    torch.manual_seed(settings["seed"])  # the same weights on every worker
    variant = models.build(settings["variant"], settings["model"])
    start(variant, settings)
    mechanics = models.Mechanics(
        precision=settings["precision"],
        accumulate=settings["accumulate"],
        clip_norm=settings["clip_norm"],
        ema_decay=settings["ema_decay"],
        channels_last=settings["memory_format"] == "channels_last",
        compile=settings["compile"],
    )
    # BatchNorm's statistics are each worker's own; sending them would change them between two passes of one step.
    options: dict[str, Any] = {"parallel_strategy": "ddp", "parallel_strategy_kwargs": {"broadcast_buffers": False}}
    if world == 1:
        options = {"parallel_strategy": None}
    variant.start_training(lambda network: ray.train.torch.prepare_model(network, **options), mechanics)
    loop = _Loop(variant, settings, plan["steps"], device, rank, world)
    loop.resume()
    loop.run()


def _choose_algorithms(deterministic: bool) -> None:
    """The fastest algorithms that cuDNN finds, or those that repeat themselves to the bit."""
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # as cuBLAS asks for; read when CUDA starts
        torch.use_deterministic_algorithms(True)


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
        self.out_of_patience = False  # the first worker's to know
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
            self._ask_patience(self.watcher)
        torch.manual_seed(hash((self.settings["seed"], self.rank, self.step)) % 2**63)

    def run(self) -> None:
        begun = time.monotonic() - self.seconds
        stream = batches(self.settings, paired=self.variant.paired, device=self.device)
        accumulate = self.settings["accumulate"]
        while (progress := self._progress()) < 1:
            self.variant.set_progress(progress)
            waited = 0.0
            for number in range(accumulate):
                asked = time.monotonic()
                ink, target, chapters = next(stream)
                waited += time.monotonic() - asked
                losses = self.variant.training_step(ink, target, chapters=chapters, update=number == accumulate - 1)
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
        if self.out_of_patience:
            parts.append(1.0)
        shared = torch.tensor(max(parts), dtype=torch.float64, device=self.device)
        if self.world > 1:
            torch.distributed.broadcast(shared, 0)
        return float(shared)

    def _ask_patience(self, watcher: Watcher) -> None:
        self.out_of_patience = watcher.looks_since_best() >= (self.settings["early_stop"] or math.inf)

    def _report(self) -> None:
        """Held-out metrics, samples and a checkpoint; every worker takes part, the first one does the work."""
        self.checkpointed = self.step
        if self.watcher is None:
            ray.train.report({"step": self.step})
            return
        metrics = self.watcher.look(self.variant, self.step, self.seconds)
        self._ask_patience(self.watcher)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / STATE).write_bytes(to_bytes(self.variant.training_state()))
            (Path(folder) / WEIGHTS).write_bytes(to_bytes(self.variant.generator().state_dict()))
            (Path(folder) / RAW).write_bytes(to_bytes(self.variant.trained_generator().state_dict()))
            progress = {"step": self.step, "seconds": self.seconds, "metrics": metrics}
            (Path(folder) / PROGRESS).write_text(json.dumps(progress))
            ray.train.report({"step": self.step, **metrics}, checkpoint=Checkpoint.from_directory(folder))
