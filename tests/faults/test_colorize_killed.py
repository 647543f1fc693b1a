"""Jobs are killed at named points of publishing. Nothing is lost or doubled. `make faults` is the long form."""

import json
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from datasets.storage import Storage, open_storage
from tests.faults.harness import Faults, check_whole, colorize, unfinished, write_library
from tests.local_machine import LocalMachine
from tests.ray_cluster import RayCluster

POINTS = ("before put", "after put", "after manifest")


@pytest.fixture(params=["ray", "local"])
def runner(request: pytest.FixtureRequest, faults: Faults) -> RayCluster | LocalMachine:
    """Each runner in turn, with jobs that can be made to die."""
    if request.param == "local":
        return LocalMachine(faults.environment())
    deadly: RayCluster = request.getfixturevalue("deadly")
    return deadly


def ended(driver: "subprocess.Popen[str]") -> str:
    told, _ = driver.communicate(timeout=200)
    return told


@pytest.mark.parametrize("victim", ["self", pytest.param("predictor", marks=pytest.mark.long)])
def test_a_worker_dies_at_each_point(
    deadly: RayCluster, faults: Faults, tiny_model: Path, tmp_path: Path, victim: str
) -> None:
    names = write_library(tmp_path / "in", 12)
    for point in POINTS:
        faults.plan(point, victim)
    out = open_storage(str(tmp_path / "out"))
    made = deadly.job("colorize", *colorize(tiny_model, tmp_path / "in", out.uri))
    assert made.returncode == 0, made.stdout
    assert faults.waiting == []
    check_whole(out, names)
    assert set(faults.counted("put").values()) == {1}
    assert sum(faults.counted("publish").values()) <= len(names) + len(POINTS)
    assert unfinished(out) == []


def test_the_driver_dies_at_each_point(
    runner: RayCluster | LocalMachine, faults: Faults, tiny_model: Path, tmp_path: Path
) -> None:
    names = write_library(tmp_path / "in", 10)
    out = open_storage(str(tmp_path / "out"))
    command = colorize(tiny_model, tmp_path / "in", out.uri)
    for point in POINTS:
        faults.plan(point, "driver" if isinstance(runner, RayCluster) else "self")
        killed = runner.job("colorize", *command)
        assert killed.returncode == -signal.SIGKILL, killed.stdout
    assert faults.waiting == []
    last = runner.job("colorize", *command)
    assert last.returncode == 0, last.stdout
    check_whole(out, names)
    assert set(faults.counted("put").values()) == {1}
    assert unfinished(out) == []


def check_finished_elsewhere(faults: Faults, command: tuple[str, ...], out: Storage, names: list[str]) -> None:
    """Another cluster does the rest of what a dead one left, and every chapter is there once."""
    with RayCluster(faults.environment()) as another:
        last = another.job("colorize", *command)
        assert last.returncode == 0, last.stdout
    check_whole(out, names)
    assert set(faults.counted("put").values()) == {1}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_node_dies_and_the_head_after_it(faults: Faults, tiny_model: Path, tmp_path: Path) -> None:
    names = write_library(tmp_path / "in", 12)
    out = open_storage(str(tmp_path / "out"))
    command = colorize(tiny_model, tmp_path / "in", out.uri)
    with RayCluster(faults.environment(), cpus=0) as cluster:
        (faults.folder / "head.pid").write_text(str(cluster.pid))
        for _ in range(2):
            cluster.add_node()
        for point in POINTS:
            faults.plan(point, "raylet")
        driver = cluster.start("colorize", *command)
        told: list[str] = []
        reader = threading.Thread(target=lambda: told.append(driver.stdout.read() if driver.stdout else ""))
        reader.start()  # Ray logs much about nodes that die, and a full pipe would stop the driver
        deadline = time.monotonic() + 200
        while faults.waiting and time.monotonic() < deadline and driver.poll() is None:
            time.sleep(0.2)
            while len(cluster.running_nodes()) < 2:
                cluster.add_node()
        assert faults.waiting == []
        faults.plan("after put", "head")
        driver.wait(timeout=200)
        reader.join()
        assert driver.returncode != 0 or not faults.waiting, told
    check_finished_elsewhere(faults, command, out, names)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_head_dies_at_each_point(faults: Faults, tiny_model: Path, tmp_path: Path) -> None:
    names = write_library(tmp_path / "in", 10)
    out = open_storage(str(tmp_path / "out"))
    command = colorize(tiny_model, tmp_path / "in", out.uri)
    for point in POINTS:
        with RayCluster(faults.environment()) as cluster:
            (faults.folder / "head.pid").write_text(str(cluster.pid))
            faults.plan(point, "head")
            driver = cluster.start("colorize", *command)
            deadline = time.monotonic() + 120
            while faults.waiting and time.monotonic() < deadline and driver.poll() is None:
                time.sleep(0.1)
            assert faults.waiting == []
            driver.kill()  # it would search for the head for a minute
            driver.communicate()
    check_finished_elsewhere(faults, command, out, names)


def test_a_job_that_is_told_to_stop(
    runner: RayCluster | LocalMachine, faults: Faults, tiny_model: Path, tmp_path: Path
) -> None:
    names = write_library(tmp_path / "in", 100)
    out = open_storage(str(tmp_path / "out"))
    command = colorize(tiny_model, tmp_path / "in", out.uri)
    driver = runner.start("colorize", *command)
    while len(faults.counted("put")) < 5 and driver.poll() is None:
        time.sleep(0.05)
    driver.send_signal(signal.SIGTERM)
    told = ended(driver)
    assert driver.returncode == 3, told
    assert "stopped by SIGTERM" in told
    report = json.loads(out.read("_mangahue/report.json"))
    published = [entry.key for entry in out.list() if entry.key.endswith(".cbz")]
    assert report["chapters"] == {"done": len(published), "partial": 0, "quarantined": 0,
                                  "failed": len(names) - len(published)}  # fmt: skip
    assert 5 <= len(published) < len(names)
    assert {line["code"] for line in report["lines"]} == {"", "STOPPED"}
    assert out.stat("_SUCCESS") is None

    last = runner.job("colorize", *command)
    assert last.returncode == 0, last.stdout
    assert f"{len(published)} done already" in last.stdout
    check_whole(out, names)
    assert set(faults.counted("put").values()) == {1}


def test_two_jobs_at_once(deadly: RayCluster, faults: Faults, tiny_model: Path, tmp_path: Path) -> None:
    names = write_library(tmp_path / "in", 40, pages=1) + write_volume(tmp_path / "in")
    out = open_storage(str(tmp_path / "out"))
    command = colorize(tiny_model, tmp_path / "in", out.uri)
    jobs = [deadly.start("colorize", *command) for _ in range(2)]
    for job in jobs:
        told = ended(job)
        assert job.returncode == 0, told
    assert sorted(entry.key for entry in out.list() if entry.key.endswith(".cbz")) == sorted(names)
    assert set(faults.counted("put").values()) == {1}
    verified = deadly.job("verify", "--out", out.uri)
    assert verified.returncode == 0, verified.stdout


def write_volume(folder: Path) -> list[str]:
    write_library(folder / "long", 1, pages=70, seed=1)
    return ["long/volume 0/chapter 000.cbz"]


@pytest.mark.long
def test_another_model_takes_over_chapter_by_chapter(
    deadly: RayCluster, faults: Faults, tiny_model: Path, tmp_path: Path
) -> None:
    names = write_library(tmp_path / "in", 10)
    out = open_storage(str(tmp_path / "out"))
    first = colorize(tiny_model, tmp_path / "in", out.uri)
    assert deadly.job("colorize", *first).returncode == 0
    old = {name: out.read(name) for name in names}
    other = (*first, "--format", "png")
    refused = deadly.job("colorize", *other)
    assert refused.returncode == 2, refused.stdout
    faults.reset()
    faults.plan("after put", "driver")
    killed = deadly.job("colorize", *other, "--replace")
    assert killed.returncode == -signal.SIGKILL, killed.stdout
    time.sleep(3)  # what still ran has ended
    changed = [name for name in names if out.read(name) != old[name]]
    assert 0 < len(changed) < len(names)
    last = deadly.job("colorize", *other)  # the folder is now this job's
    assert last.returncode == 0, last.stdout
    verified = deadly.job("verify", "--out", out.uri)
    assert verified.returncode == 0, verified.stdout
    assert all(out.read(name) != old[name] for name in names)
    assert set(faults.counted("put").values()) == {1}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_palette_is_edited_chapter_by_chapter(
    deadly: RayCluster, faults: Faults, tiny_model: Path, tmp_path: Path
) -> None:
    names = write_library(tmp_path / "in", 10)
    out = open_storage(str(tmp_path / "out"))
    palette = tmp_path / "palette.json"
    colors = [{"name": str(light), "ab": [10, 10], "centre": [light, 0, 0, 2], "weight": 0.5} for light in (30, 80)]
    palette.write_text(json.dumps({"colors": colors}))
    command = (*colorize(tiny_model, tmp_path / "in", out.uri), "--palette", str(palette))
    assert deadly.job("colorize", *command).returncode == 0
    old = {name: out.read(name) for name in names}
    colors[0]["ab"] = [-30, -30]
    palette.write_text(json.dumps({"colors": colors}))
    faults.reset()
    faults.plan("after put", "driver")
    killed = deadly.job("colorize", *command)
    assert killed.returncode == -signal.SIGKILL, killed.stdout
    time.sleep(3)  # what still ran has ended
    changed = [name for name in names if out.read(name) != old[name]]
    assert 0 < len(changed) < len(names)
    last = deadly.job("colorize", *command)
    assert last.returncode == 0, last.stdout
    check_whole(out, names)
    assert all(out.read(name) != old[name] for name in names)
    assert set(faults.counted("put").values()) == {1}
    verified = deadly.job("verify", "--out", out.uri)
    assert verified.returncode == 0, verified.stdout
