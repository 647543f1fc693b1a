"""A training loses its storage or its node. The last good checkpoint is never lost, and a half one is never loaded."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from datasets.storage import Storage, open_storage
from tests.fault_proxy import Fault, FaultProxy, Request
from tests.faults.harness import Faults
from tests.ray_cluster import RayCluster, training_workers
from tests.s3_server import SeaweedFS

STEPS = 400


@pytest.fixture(scope="module")
def shards(series: Path, deadly: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "shards"
    made = deadly.job("ingest", "--color", str(series / "color"), "--out", str(out), "--holdout", "ch03")
    assert made.returncode == 0, made.stdout
    return out


def training(shards: Path, run: str, workers: int = 1) -> tuple[str, ...]:
    return (
        "--variant", "pix2pix", "--data", str(shards), "--run", run, "--base-channels", "4", "--image-size", "64",
        "--batch-size", "1", "--num-workers", str(workers), "--max-steps", str(STEPS), "--eval-every", "100",
    )  # fmt: skip


def points(run: Storage) -> list[dict[str, object]]:
    if run.stat("metrics.jsonl") is None:
        return []
    return [json.loads(line) for line in run.read("metrics.jsonl").splitlines()]


def check_one_history(run: Storage) -> None:
    assert json.loads(run.read("model/model.json"))["steps"] == STEPS
    steps = [point["step"] for point in points(run) if point["kind"] == "train"]
    assert steps == sorted(set(steps), key=int)
    assert steps[-1] == STEPS


def wait_for(what: str, ready: Callable[[], bool], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.1)


@pytest.mark.long
def test_storage_that_goes_during_a_checkpoint(s3_server: SeaweedFS, s3: str, shards: Path) -> None:
    assert s3_server.port is not None
    gone: list[float] = []
    run = open_storage(f"{s3}/run")

    def choose(request: Request) -> Fault:
        second = "checkpoints/checkpoint_" in request.path and len({p["step"] for p in checkpoints}) >= 1
        if request.method in ("PUT", "POST") and "/checkpoint_" in request.path:
            checkpoints.append({"step": request.path.split("/checkpoint_")[1].split("/")[0]})
            if second and len({p["step"] for p in checkpoints}) == 2 and not gone:
                gone.append(time.monotonic() + 20)
        return "gone" if gone and time.monotonic() < gone[0] else "none"

    checkpoints: list[dict[str, str]] = []
    with FaultProxy(s3_server.port, choose) as proxy:
        with RayCluster(s3_server.environment() | {"AWS_ENDPOINT_URL_S3": proxy.endpoint}) as cluster:
            made = cluster.job("train", *training(shards, run.uri))
        assert made.returncode == 0, made.stdout
        assert proxy.met["gone"] > 0, "the storage never went"
    check_one_history(run)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_node_that_goes(faults: Faults, shards: Path, tmp_path: Path) -> None:
    run = open_storage(str(tmp_path / "run"))
    with RayCluster(faults.environment(), cpus=0) as cluster:
        for _ in range(2):
            cluster.add_node()
        driver = cluster.start("train", *training(shards, run.uri, workers=2))
        wait_for("a checkpoint", lambda: any(p["step"] == 100 for p in points(run)) or driver.poll() is not None)
        (raylet,) = {
            parent.pid
            for worker in training_workers(*(node.pid for node in cluster.running_nodes()))[:1]
            if (parent := psutil.Process(worker.pid).parent())
        }
        os.kill(raylet, signal.SIGKILL)
        cluster.add_node()
        told, _ = driver.communicate(timeout=300)
        assert driver.returncode == 0, told
    check_one_history(run)
