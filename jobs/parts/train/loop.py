"""What each worker of a training runs: it trains the variant on its share of the pages, and saves checkpoints.

The loop knows no variant by name. Networks, losses and optimizers belong to the variant (models.variant); how steps are
made is the same for all (models.training).
"""

import json
import math
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
import ray.train
import ray.train.torch
import torch
from ray.train import Checkpoint

import models
from jobs.parts.model.folder import RAW, WEIGHTS
from jobs.parts.runtime.cores import available_cores
from jobs.parts.runtime.options import as_settings
from jobs.parts.runtime.outcome import configure_log
from jobs.parts.train.batches import batches
from jobs.parts.train.config import TrainConfig
from jobs.parts.train.initial_weights import load_initial_weights
from jobs.parts.train.loss_watch import LossWatch
from jobs.parts.train.monitor import Monitor
from models.card import CheckpointError
from models.checkpoint import from_bytes, require_finite, to_bytes

STATE = "state.safetensors"  # all that a resumed training needs
PROGRESS = "progress.json"


@dataclass(frozen=True)
class Plan:
    """What a worker is given.

    steps: to train; 0 where the time limit or early stop alone decides.
    origin: what the training starts from, as check_initial_weights returned it.
    """

    config: TrainConfig
    steps: int
    origin: dict[str, Any]


def train_worker(loop_config: dict[str, Plan]) -> str:
    """Runs in each DDP worker.

    loop_config: a dict, as Ray Train asks for; the plan is under "plan".
    Returns why the training had to stop before its end; "" where it did not. An error would be tried again.
    """
    configure_log(force=True)
    plan = loop_config["plan"]
    config, steps = plan.config, plan.steps
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(1, available_cores() // context.get_local_world_size()))
    _choose_algorithms(config.deterministic)
    torch.manual_seed(config.seed)  # the same weights on every worker
    variant = models.build(config.variant, as_settings(config.model))
    load_initial_weights(variant, config, plan.origin, resumed=ray.train.get_checkpoint() is not None)
    mechanics = models.Mechanics(
        precision=config.precision,
        accumulate=config.accumulate,
        clip_norm=config.clip_norm,
        ema_decay=config.ema_decay,
        channels_last=config.memory_format == "channels_last",
        compile=config.compile,
    )
    # Each worker keeps its own BatchNorm statistics: broadcasting would change them between two passes of one step.
    options: dict[str, Any] = {"parallel_strategy": "ddp", "parallel_strategy_kwargs": {"broadcast_buffers": False}}
    if world == 1:
        options = {"parallel_strategy": None}
    training = models.Training(variant, lambda network: ray.train.torch.prepare_model(network, **options), mechanics)
    loop = _Loop(training, config, steps, device, rank, world)
    loop.resume()
    return loop.run()


def _choose_algorithms(deterministic: bool) -> None:
    """Use the fastest algorithms that cuDNN finds, or only those whose results repeat to the bit."""
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # as cuBLAS asks for; read when CUDA starts
        torch.use_deterministic_algorithms(True)


class _Loop:
    """One worker's steps, from the checkpoint to the end."""

    def __init__(
        self, training: models.Training, config: TrainConfig, steps: int, device: torch.device, rank: int, world: int
    ) -> None:
        self.training, self.variant, self.config, self.device = training, training.variant, config, device
        self.rank, self.world, self.steps = rank, world, steps
        self.step = 0
        self.seconds = 0.0  # trained so far, earlier runs included
        self.checkpointed = -1
        self.out_of_patience = False  # early stop is due; only the first worker knows
        self.watch = LossWatch(config.precision, device)
        self.fault = ""  # what is not finite, and at which step
        self.spoiled = False  # the weights are not finite; only the first worker knows
        self.monitor = Monitor(config) if rank == 0 else None

    def resume(self) -> None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is not None:
            with checkpoint.as_directory() as folder:
                progress = json.loads((Path(folder) / PROGRESS).read_bytes())
                self.training.load_state(from_bytes((Path(folder) / STATE).read_bytes()))
            self.step = self.checkpointed = progress["step"]
            self.seconds = progress["seconds"]
        if self.monitor:
            self.monitor.open(self.step)
            self._ask_patience(self.monitor)
        torch.manual_seed(hash((self.config.seed, self.rank, self.step)) % 2**63)

    def run(self) -> str:
        """Train to the end. Returns why it stopped before; "" where it did not."""
        begun = time.monotonic() - self.seconds
        stream = batches(self.config, paired=self.variant.paired, device=self.device)
        accumulate = self.config.accumulate
        while (progress := self._progress()) < 1 and not self.fault:
            self.training.set_progress(progress)
            waited = 0.0
            for number in range(accumulate):
                asked = time.monotonic()
                batch = next(stream)
                waited += time.monotonic() - asked
                losses = self.training.step(
                    batch.ink,
                    batch.target,
                    masked=batch.masked,
                    chapters=batch.groups,
                    update=number == accumulate - 1,
                )
                self.watch.note(losses)
            self.step += 1
            self.seconds = time.monotonic() - begun
            if self.monitor:
                self.monitor.note_step(self.step, self.seconds, progress, waited, losses)
            if self.step % self.config.eval_every == 0:
                self._progress()  # no checkpoint of weights that such losses have changed
                if not self.fault:
                    self._report()
                begun = time.monotonic() - self.seconds  # evaluating and saving are not training time
        if self.checkpointed != self.step and not self.fault:
            self._report()
            self._progress()
        return self.fault

    def _progress(self) -> float:
        """The share of the training that is done. It notes a fault too, if there is one.

        All workers use the same values, so that they stop together: the progress of the first one, and the faults of
        all.
        """
        parts = [0.0]
        if self.steps:
            parts.append(self.step / self.steps)
        if self.config.max_minutes:
            parts.append(self.seconds / 60 / self.config.max_minutes)
        if self.out_of_patience:
            parts.append(1.0)
        mine = max(parts) if self.rank == 0 else 0.0
        own = torch.tensor([mine, float(self.spoiled)], dtype=torch.float64, device=self.device)
        shared = torch.cat([own, self.watch.found().to(torch.float64)[None]])
        if self.world > 1:
            torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
        progress, spoiled, found = shared.tolist()
        if name := self.watch.judge(int(found)):
            self.fault = f"the loss {name!r} is not finite (NaN or infinity) at step {self.step}"
        elif spoiled:
            self.fault = (
                f"the weights, or what their optimizers keep, are not finite (NaN or infinity) after step {self.step}"
            )
        return float(progress)

    def _ask_patience(self, monitor: Monitor) -> None:
        self.out_of_patience = monitor.evaluations_since_best() >= (self.config.early_stop or math.inf)

    def _report(self) -> None:
        """Held-out metrics, samples and a checkpoint. Every worker takes part; the first one does the work."""
        self.checkpointed = self.step
        state = {} if self.monitor is None else self.training.state()
        self.spoiled = not _is_finite(state)
        if self.monitor is None or self.spoiled:
            ray.train.report({"step": self.step})
            return
        metrics = self.monitor.evaluate_heldout(self.variant, self.step, self.seconds)
        self._ask_patience(self.monitor)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / STATE).write_bytes(to_bytes(state))
            (Path(folder) / WEIGHTS).write_bytes(to_bytes(self.variant.generator().state_dict()))
            (Path(folder) / RAW).write_bytes(to_bytes(self.variant.trained_generator().state_dict()))
            progress = {"step": self.step, "seconds": self.seconds, "metrics": metrics}
            (Path(folder) / PROGRESS).write_text(json.dumps(progress))
            ray.train.report({"step": self.step, **metrics}, checkpoint=Checkpoint.from_directory(folder))


def _is_finite(state: Mapping[str, torch.Tensor]) -> bool:
    try:
        require_finite(state)
    except CheckpointError:
        return False
    return True
