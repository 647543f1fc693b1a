"""How many cores a process may use."""

import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """The cores that this process may use: those it is bound to, or fewer where its container has a limit.

    A limit is that of the cgroup, version 2 (`cpu.max`) or 1; a part of a core counts as one.
    """
    cores = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):
        quota, period = _limit()
        if quota > 0 and period > 0:
            cores = min(cores, -(-quota // period))
    return max(1, cores)


def _limit() -> tuple[int, int]:
    """(microseconds of all cores, in each period of microseconds). Raises OSError or ValueError where there is none."""
    if (unified := CGROUP / "cpu.max").exists():
        quota, period = unified.read_text().split()
        return int(quota), int(period)
    names = ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")
    quota, period = ((CGROUP / name).read_text() for name in names)
    return int(quota), int(period)
