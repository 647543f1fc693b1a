"""Keeps Ray Data's scheduling loop from turning without a pause.

Where all that is under way is held back, because the consumer is slower than the stream, Ray 2.60 asks again at once
what there is to do, and takes most of a core for it: docs/upstream/ray_data_spin.py shows it.
"""

import time
from typing import Any

from ray.data._internal.execution.execution_callback import ExecutionCallback

_PAUSE = 0.005  # seconds: long beside a turn of the loop, short beside anything it waits for


class Paced(ExecutionCallback):
    """Waits a little after each turn of the loop in which nothing moved."""

    def __init__(self) -> None:
        self._moved = -1

    def on_execution_step(self, executor: Any) -> None:
        """Called by Ray after each turn."""
        metrics = [operator.metrics for operator in getattr(executor, "_topology", ())]
        moved = sum(m.num_inputs_received + m.num_task_outputs_generated + m.num_outputs_taken for m in metrics)
        if moved == self._moved:
            time.sleep(_PAUSE)
        self._moved = moved
