"""The cost of a step: time, and memory at its peak."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

_PEAK = Path("/proc/self/clear_refs")  # writing 5 resets the process's peak (Linux, proc(5))
_STATUS = Path("/proc/self/status")


@dataclass
class Cost:
    """The cost of a block of code.

    seconds: wall time.
    memory: bytes at the peak, beyond what was held before. Of the GPU for what runs there, else of the process.
    """

    seconds: float = 0.0
    memory: int = 0


@contextmanager
def measured_cost(device: torch.device) -> Iterator[Cost]:
    """Measure the block. The result is complete when the block ends. Memory stays 0 where the system does not report it
    (not Linux).

    device: where the block runs its network.
    """
    cost = Cost()
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        with suppress(OSError):
            _PEAK.write_text("5")
        before = _resident("VmRSS")
    begun = time.perf_counter()
    yield cost
    if on_gpu:
        torch.cuda.synchronize()
    cost.seconds = time.perf_counter() - begun
    cost.memory = max(0, (torch.cuda.max_memory_allocated() if on_gpu else _resident("VmHWM")) - before)


def _resident(name: str) -> int:
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
