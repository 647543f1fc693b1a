"""The Ray cluster a job runs on: the one it was started in, else a local one with limits that fit the machine."""

import logging
import os
from dataclasses import dataclass

import psutil
import ray
import ray.data

from jobs.parts.runtime import ROOT
from jobs.parts.runtime.cores import available_cores
from jobs.parts.runtime.pacing import Paced

log = logging.getLogger("mangahue")

_STORE_SHARE = 0.2
_STORE_MOST = 8 * 2**30
# A worker without a task is kept, by Ray's default for a second: on few cores more workers than cores take turns, and
# each new one costs two seconds of a core until it and its sandbox are ready.
_IDLE_MS = 600_000


@dataclass(frozen=True)
class Cluster:
    """What there is to work with, now, over all nodes: CPUs and GPUs by Ray's count, bytes of the object store."""

    cpus: float
    gpus: float
    store: float = 0.0

    def cpu_share(self, tasks: int = 4) -> float:
        """CPUs one task may ask for so that `tasks` of them run at once: 1 where there are enough, else a part.

        An actor pool that holds every CPU leaves none for the tasks that feed it, and the job waits for ever; with
        shares a cluster of one CPU works too. A cluster that starts from nothing gets its nodes by what is asked for:
        whole CPUs.
        """
        if self.cpus < 1:
            return 1.0
        return min(1.0, max(0.05, round(self.cpus / tasks, 2)))

    def on_gpu(self, device: str) -> bool:
        """Whether networks run on GPUs, which is logged. Workers are told it: none asks what its node has.

        device: "cpu", "cuda" (wait for an autoscaler's), or "auto" (those there).
        """
        chosen = device == "cuda" or (device == "auto" and self.gpus > 0)
        log.info("--device %s: networks run on %s", device, "GPUs" if chosen else "CPUs")
        return chosen

    def actors(self, on_gpu: bool, gpus_each: float = 1.0) -> int:
        """How many workers hold the network where the user does not say: as the GPUs go, or one per 4 CPUs."""
        return max(1, int(self.gpus / gpus_each) if on_gpu else int(self.cpus) // 4)


def connect(*, state_api: bool = False) -> Cluster:
    """Join the cluster this job runs in (RAY_ADDRESS, or one that `ray start` runs here), else start a local one.

    RAY_ADDRESS=local starts a local one in any case.

    state_api: start the local one with Ray's dashboard, whose state API Ray Train asks after its workers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # or each printed line comes twice
    _silence_notices()
    try:
        if os.environ.get("RAY_ADDRESS") == "local" and not ray.is_initialized():
            raise ConnectionError
        if not ray.is_initialized():  # one process may run several jobs
            ray.init(address="auto", logging_level=logging.WARNING)
        where = "cluster"
    except ConnectionError:
        _start_local(state_api)
        where = "local cluster"
    _set_up_data()
    resources = ray.cluster_resources()  # what no node has is not in it
    cluster = Cluster(*(resources.get(name, 0.0) for name in ("CPU", "GPU", "object_store_memory")))
    log.info("%s: %g CPUs, %g GPUs, %d nodes", where, cluster.cpus, cluster.gpus, len(ray.nodes()))
    return cluster


def _start_local(state_api: bool) -> None:
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")  # of its workers, which tell of each stream they open and end
    os.environ.setdefault("RAY_enable_metrics_collection", "0")
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", str(_IDLE_MS))
    store = int(min(_STORE_MOST, psutil.virtual_memory().available * _STORE_SHARE))
    ray.init(
        address="local",
        num_cpus=available_cores(),
        object_store_memory=max(store, 512 * 2**20),
        include_dashboard=state_api,
        logging_level=logging.WARNING,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.getenv("PYTHONPATH")]))}},
    )


def _silence_notices() -> None:
    """Drop what Ray says at each start and a user can do nothing about.

    A local cluster has a token by itself; each job shows its own progress.
    """
    setup = logging.getLogger("ray._private.authentication.authentication_token_setup")
    setup.addFilter(lambda record: "Token authentication is enabled" not in record.getMessage())
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)


def _set_up_data() -> None:
    context = ray.data.DataContext.get_current()
    context.custom_execution_callback_classes = [Paced]
    context.enable_progress_bars = False  # each job tells its own: chapters, pages, rate, time left
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def threads_each(actors: int) -> int:
    """Threads for each of `actors` of the cluster that hold a network, in a process of Ray's: this node's cores shared
    among as many of them as fall on a node."""
    here = -(-actors // max(1, len(ray.nodes())))
    return max(1, available_cores() // here)
