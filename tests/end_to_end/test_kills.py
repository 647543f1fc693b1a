"""Real processes are killed. What was done stays done, and the next run does the rest."""

import json
import os
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets.errors import ObjectNotFoundError
from datasets.storage import Storage, open_storage
from tests.ray_cluster import RayCluster, training_workers

PATIENCE = 240.0  # seconds


def wait_for(what: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.1)


def known_step(run: Storage) -> int:
    """The step of the last checkpoint that a rerun would find; 0 for none."""
    snapshot = "checkpoints/checkpoint_manager_snapshot.json"
    try:
        latest = json.loads(run.read(snapshot))["latest_checkpoint_result"]
    except (ObjectNotFoundError, ValueError):  # ValueError: it is being written
        return 0
    return int(latest["metrics"]["step"]) if latest else 0


def library(series: Path, folder: Path, copies: int) -> list[str]:
    """Many small chapters. Each is a copy of a page of the series, under its own name."""
    with zipfile.ZipFile(series / "ink/ch01.cbz") as archive:
        page = archive.read("001.png")
    names = [f"volume {i % 3}/chapter {i:02d}.cbz" for i in range(copies)]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as chapter:
            chapter.writestr("page 1.png", page)
    return names


def manifests(out: Storage) -> dict[str, str]:
    return {entry.key: entry.version for entry in out.list("_mangahue/chapters/")}


def test_a_killed_colouring_goes_on_where_it_was(
    cluster: RayCluster, series: Path, model: Path, s3: str, tmp_path: Path
) -> None:
    names = library(series, tmp_path / "in", 24)
    out = open_storage(f"{s3}/out")
    command = ("--model", str(model), "--source", str(tmp_path / "in"), "--out", f"{s3}/out")
    driver = cluster.start("colorize", *command)
    wait_for("some published chapters", lambda: len(manifests(out)) >= 4 or driver.poll() is not None)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_for("the end of what still ran", lambda: settled(out))
    done = manifests(out)
    published = {entry.key: entry.version for entry in out.list() if entry.key.endswith(".cbz")}
    assert 0 < len(done) < len(names), "the kill came too late to show anything"

    rerun = cluster.job("colorize", *command)
    assert rerun.returncode == 0, rerun.stdout
    assert f"24 chapters, {len(published)} done already, {24 - len(published)} to do" in rerun.stdout
    report = json.loads(out.read("_mangahue/report.json"))
    assert report["inputs"] == report["chapters"]["done"] == 24
    assert report["computed"] == 24 - len(published)
    after = {entry.key: entry.version for entry in out.list()}
    assert {key: after[key] for key in published} == published  # none was written again
    assert sorted(key for key in after if key.endswith(".cbz")) == sorted(names)
    assert not [key for key in after if key.startswith(("_mangahue/staged", "_mangahue/pieces"))]
    for name in names:
        with out.open(name) as file, zipfile.ZipFile(file) as chapter:
            assert chapter.namelist() == ["page 1.jpg"]
            assert chapter.testzip() is None


def settled(out: Storage) -> bool:
    """Whether orphaned workers have stopped writing."""
    before = {entry.key: entry.version for entry in out.list()}
    time.sleep(3)
    return before == {entry.key: entry.version for entry in out.list()}


@pytest.mark.timeout(900)
def test_training_survives_a_killed_worker_and_a_killed_driver(
    cluster: RayCluster, series: Path, tmp_path: Path
) -> None:
    shards, run = tmp_path / "shards", open_storage(str(tmp_path / "run"))
    ingest = cluster.job("ingest", "--color", str(series / "color"), "--out", str(shards), "--holdout", "ch03")
    assert ingest.returncode == 0, ingest.stdout
    command = (
        "--variant", "pix2pix",
        "--data", str(shards), "--run", run.uri, "--base-channels", "4", "--image-size", "64", "--batch-size", "1",
        "--num-workers", "2", "--max-steps", "600", "--eval-every", "100",
    )  # fmt: skip

    def steps() -> list[int]:
        if run.stat("metrics.jsonl") is None:
            return [0]
        return [json.loads(line)["step"] for line in run.read("metrics.jsonl").splitlines()]

    driver = cluster.start("train", *command)
    wait_for("a checkpoint", lambda: max(steps()) >= 100 or driver.poll() is not None)
    victims = training_workers(cluster.pid)
    assert len(victims) == 2
    os.kill(victims[1].pid, signal.SIGKILL)
    killed_at = max(steps())
    wait_for("steps after the kill", lambda: max(steps()) >= killed_at + 100 or driver.poll() is not None)
    # Ray Train asks its workers for checkpoints every two seconds: these make hundreds of steps meanwhile.
    wait_for("a known checkpoint", lambda: known_step(run) >= 100 or driver.poll() is not None)
    assert driver.poll() is None, driver.stdout.read() if driver.stdout else ""
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    reached = max(steps())
    wait_for("the workers' end", lambda: not training_workers(cluster.pid))

    rerun = cluster.job("train", *command)
    assert rerun.returncode == 0, rerun.stdout
    card = json.loads(run.read("model/model.json"))
    assert card["steps"] == 600
    told = [int(line.split("step ")[1].split(":")[0]) for line in rerun.stdout.splitlines() if "step " in line]
    assert min(told) > 100, rerun.stdout  # it resumed from a checkpoint, not from the start
    assert reached >= 200
    points = [json.loads(line) for line in run.read("metrics.jsonl").splitlines()]
    trained = [point["step"] for point in points if point["kind"] == "train"]
    assert trained == sorted(set(trained))  # one history, each step once
    assert trained[-1] == 600
    first, last = points[0]["losses"]["l1"], [p for p in points if p["kind"] == "train"][-1]["losses"]["l1"]
    assert last < first
