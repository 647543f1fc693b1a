"""Where a job runs: on this machine without Ray, or on Ray. Ray takes seconds to load, so it is not asked here."""

import logging
import os
import re
from pathlib import Path
from typing import Literal

import psutil

log = logging.getLogger("mangahue")
RunnerName = Literal["auto", "local", "ray"]
RUNNER_HELP = (
    "local: this machine alone, without Ray; ray: the cluster that runs here or at RAY_ADDRESS, else a local one; "
    "auto: ray for such a cluster, or for more than one GPU, else local."
)
DEVICES = Path("/dev")
_GPU = re.compile(r"nvidia\d+")


def choose_runner(asked: RunnerName, device: str, *, actors: int = 0) -> Literal["local", "ray"]:
    """What --runner means here. The choice is logged.

    device: "cpu", "cuda" or "auto". With "cpu", GPUs do not count.
    actors: the number of workers that hold the network, if one was asked for; 0 otherwise. Only Ray has several.
    """
    if asked != "auto":
        return asked
    reasons = {
        "RAY_ADDRESS is set": bool(os.environ.get("RAY_ADDRESS")),
        "a Ray cluster runs here": _ray_runs_here(),
        "there are several GPUs": device != "cpu" and count_gpus() > 1,
        "--num-actors is given": actors > 0,
    }
    for reason, holds in reasons.items():
        if holds:
            log.info("--runner auto: on Ray, because %s", reason)
            return "ray"
    log.info("--runner auto: on this machine, without Ray")
    return "local"


def _ray_runs_here() -> bool:
    """Whether `ray start` runs a node on this machine: it leaves the cluster's address in a file, and runs a daemon. A
    cluster that another program has made for itself leaves no such file.
    """
    temporary = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    if not Path(temporary, "ray", "ray_current_cluster").exists():
        return False
    return any(process.info["name"] == "raylet" for process in psutil.process_iter(["name"]))


def count_gpus() -> int:
    """The GPUs that this process may use, by their device files. Without a driver there are none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = sum(bool(_GPU.fullmatch(path.name)) for path in DEVICES.iterdir())
    return there if visible is None else min(there, len([name for name in visible.split(",") if name.strip()]))
