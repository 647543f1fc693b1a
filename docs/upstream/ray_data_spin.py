"""Ray Data 2.60: the scheduling loop never waits while every active task is held back by output backpressure.

    python docs/upstream/ray_data_spin.py [--paced]

A slow consumer reads a stream whose object store memory is limited. Each active task has output ready that may not be
read yet. `process_completed_tasks` then calls `ray.wait` with `num_returns` of all active tasks, which returns at once,
and the loop of `StreamingExecutor` turns without a pause: it takes about one core, less what the GIL leaves to others.

With --paced an execution callback waits 5 ms after each turn in which nothing moved.
"""

import sys
import time
from collections.abc import Iterator

import numpy as np
import ray
from ray.data import DataContext, ExecutionResources
from ray.data._internal.execution.execution_callback import ExecutionCallback

SECONDS = 20


class Paced(ExecutionCallback):
    moved = 0

    def on_execution_step(self, executor: object) -> None:
        metrics = [operator.metrics for operator in executor._topology]
        moved = sum(m.num_inputs_received + m.num_task_outputs_generated + m.num_outputs_taken for m in metrics)
        if moved == self.moved:
            time.sleep(0.005)
        self.moved = moved


def megabytes(row: dict) -> Iterator[dict]:
    for _ in range(64):
        yield {"data": np.zeros(2**20, np.uint8)}


ray.init(num_cpus=2, object_store_memory=512 * 2**20)
context = DataContext.get_current()
context.enable_progress_bars = False
context.target_max_block_size = 8 * 2**20
context.execution_options.resource_limits = ExecutionResources.for_limits(object_store_memory=64 * 2**20)
if "--paced" in sys.argv:
    context.custom_execution_callback_classes = [Paced]

stream = ray.data.range(200, override_num_blocks=200).flat_map(megabytes, num_cpus=0.5)
batches = iter(stream.iter_batches(batch_size=8))
next(batches)
begun, cpu, count = time.monotonic(), time.process_time(), 0
while time.monotonic() - begun < SECONDS:
    next(batches)
    count += 1
    time.sleep(0.5)  # the step of a training
wall = time.monotonic() - begun
print(f"{count} batches in {wall:.0f} s; this process took {(time.process_time() - cpu) / wall:.2f} of a core")
