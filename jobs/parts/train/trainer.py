"""A training on Ray Train: how many workers, on what, from which streams; begun again where its controller ends."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
import ray.exceptions
import ray.train
import ray.train.torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig

import models
from datasets.errors import TrainingFailedError
from datasets.shards import ShardSet
from datasets.storage import open_storage
from jobs.parts.runtime.cluster import Cluster
from jobs.parts.runtime.options import worker_range
from jobs.parts.train.batches import looking_ahead, open_streams
from jobs.parts.train.config import TrainConfig
from jobs.parts.train.length import planned_steps
from jobs.parts.train.loop import Plan, train_worker

log = logging.getLogger("mangahue")
HELDOUT = "ciede2000"  # the metric that early stop and the choice of the best go by
_WORKER_FAILURES = 3
_CONTROLLER_FAILURES = 5
_STORAGE_PAUSE = 10.0  # seconds, longer each time
_ON_DEMAND = "on_demand"  # the resource that marks nodes which are not taken back


def fit(config: TrainConfig, shards: ShardSet, origin: dict[str, Any], cluster: Cluster) -> Checkpoint:
    """Train to the end, from the run's last checkpoint if there is one. Returns the checkpoint to publish.

    origin: what the training starts from, as check_initial_weights returns it.
    Raises TrainingFailedError where losses or weights do not stay finite, or where Ray can't go on.
    """
    on_gpu = cluster.on_gpu(config.device)
    least, most = worker_range(config.num_workers)
    if not most:
        least = most = max(1, int(cluster.gpus)) if on_gpu else 1
    share = 1.0 if on_gpu else cluster.cpu_share(2 * most)
    paired = models.VARIANTS[config.variant].paired
    pages = max(shards.examples("train", kind) for kind in (("pairs",) if paired else ("ink", "color")))
    steps = planned_steps(config, pages, most, trained="init" in origin, on_gpu=on_gpu)
    resources = worker_resources(share, on_gpu=on_gpu, offered=ray.cluster_resources())
    filesystem, root = open_storage(config.run).arrow()

    def trainer() -> ray.train.torch.TorchTrainer:
        return ray.train.torch.TorchTrainer(
            train_worker,
            train_loop_config={"plan": Plan(config, steps, origin)},
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
                worker_runtime_env=worker_environment(on_gpu=on_gpu),
            ),
        )

    count, kind = config.num_workers if most > least else most, "GPU" if on_gpu else "CPU"
    log.info("training on %s %s worker(s)%s", count, kind, ", on demand" if _ON_DEMAND in resources else "")
    result = _fit_patiently(trainer)
    if result.return_value:
        raise TrainingFailedError(
            f"training stopped: {result.return_value}; nothing was published. Train in another --run with a lower "
            f"--learning-rate or with --clip-norm 1; or go on in this one with another --precision than "
            f"{config.precision}, such as fp32"
        )
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


def worker_environment(*, on_gpu: bool) -> dict[str, dict[str, str]]:
    """The runtime environment of a training worker. Without a GPU of its own it sees none of its node's: PyTorch's
    optimizers look for one even where all tensors are on the CPU, and that takes memory of it.
    """
    return {} if on_gpu else {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}


def _kept(config: TrainConfig) -> CheckpointConfig:
    """The last checkpoints; with early stop the best, and always the last (Ray Train keeps that beside them)."""
    if config.early_stop:
        return CheckpointConfig(
            num_to_keep=config.keep_checkpoints, checkpoint_score_attribute=HELDOUT, checkpoint_score_order="min"
        )
    return CheckpointConfig(num_to_keep=config.keep_checkpoints)
