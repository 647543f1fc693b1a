"""Whole jobs against a bucket that misbehaves, and against a full disk."""

import json
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from datasets.storage import open_storage
from tests.archives import zipped
from tests.fault_proxy import Fault, FaultProxy, Request
from tests.faults.harness import Faults, check_whole, colorize, saved, unfinished, write_library
from tests.ray_cluster import RayCluster
from tests.s3_server import SeaweedFS


@pytest.fixture(scope="module")
def proxy(s3_server: SeaweedFS) -> Iterator[FaultProxy]:
    assert s3_server.port is not None
    with FaultProxy(s3_server.port) as running:
        yield running


@pytest.fixture(scope="module")
def misled(s3_server: SeaweedFS, proxy: FaultProxy, faults: Faults) -> Iterator[RayCluster]:
    """A cluster whose jobs reach the bucket through the proxy."""
    environment = s3_server.environment() | faults.environment() | {"AWS_ENDPOINT_URL_S3": proxy.endpoint}
    with RayCluster(environment) as running:
        yield running


def test_a_bucket_that_does_all_of_it_at_random(
    misled: RayCluster, proxy: FaultProxy, faults: Faults, s3: str, tiny_model: Path, tmp_path: Path
) -> None:
    names = write_library(tmp_path / "in", 20)
    rng = random.Random(0)
    kinds: list[Fault] = ["slow down", "reset", "lost answer", "gone"]
    proxy.choose = lambda request: rng.choice(kinds) if rng.random() < 0.15 else "none"
    made = misled.job("colorize", *colorize(tiny_model, tmp_path / "in", f"{s3}/out"))
    proxy.choose = lambda request: "none"
    assert made.returncode == 0, made.stdout
    assert all(proxy.met[kind] for kind in kinds), proxy.met
    out = open_storage(f"{s3}/out")
    check_whole(out, names)
    assert unfinished(out) == []


@pytest.mark.long
def test_a_bucket_that_is_gone_for_twenty_seconds(
    misled: RayCluster, proxy: FaultProxy, faults: Faults, s3: str, tiny_model: Path, tmp_path: Path
) -> None:
    names = write_library(tmp_path / "in", 20)
    gone: list[float] = []

    def choose(request: Request) -> Fault:
        if request.method == "PUT" and request.path.split("?")[0].endswith(".cbz") and not gone:
            gone.append(time.monotonic() + 20)
        return "gone" if gone and time.monotonic() < gone[0] else "none"

    proxy.choose = choose
    made = misled.job("colorize", *colorize(tiny_model, tmp_path / "in", f"{s3}/out"))
    proxy.choose = lambda request: "none"
    assert made.returncode == 0, made.stdout
    assert gone
    check_whole(open_storage(f"{s3}/out"), names)


@pytest.mark.long
def test_credentials_that_expire_in_the_middle(
    misled: RayCluster, proxy: FaultProxy, faults: Faults, s3: str, tiny_model: Path, tmp_path: Path
) -> None:
    names = write_library(tmp_path / "in", 20)
    out = open_storage(f"{s3}/out")
    seen: set[str] = set()

    def choose(request: Request) -> Fault:
        path = request.path.split("?")[0]
        if request.method == "PUT" and path.endswith(".cbz"):
            seen.add(path)
        return "expired" if len(seen) > 5 and path.endswith((".cbz", ".cbz.json")) else "none"

    proxy.choose = choose
    command = colorize(tiny_model, tmp_path / "in", out.uri)
    made = misled.job("colorize", *command)
    proxy.choose = lambda request: "none"
    assert made.returncode == 3, made.stdout
    assert "ExpiredToken" in made.stdout
    report = json.loads(out.read("_mangahue/report.json"))
    assert report["chapters"]["done"] + report["chapters"]["failed"] == len(names)
    assert report["chapters"]["failed"] > 5
    last = misled.job("colorize", *command)
    assert last.returncode == 0, last.stdout
    check_whole(out, names)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        pytest.skip(f"can't mount a file system here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.long
def test_a_disk_that_is_full(deadly: RayCluster, small_disk: Path, tiny_model: Path, tmp_path: Path) -> None:
    names = write_library(tmp_path / "in", 12)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(960 * 1024))
    out = open_storage(str(small_disk / "out"))
    command = colorize(tiny_model, tmp_path / "in", out.uri)
    made = deadly.job("colorize", *command)
    assert made.returncode in (1, 3), made.stdout
    assert "No space left on device" in made.stdout
    assert unfinished(out) == []
    ballast.unlink()
    last = deadly.job("colorize", *command)
    assert last.returncode == 0, last.stdout
    check_whole(out, names)


@pytest.mark.long
def test_an_object_store_much_smaller_than_the_library(faults: Faults, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [f"{number:02d}.cbz" for number in range(24)]
    for name in names:  # noise does not compress: 12 MB per chapter
        pages = {f"{page:03d}.png": saved(rng.integers(0, 256, (2000, 1500), np.uint8)) for page in (1, 2, 3, 4)}
        (folder / name).write_bytes(zipped(pages))
    out = open_storage(str(tmp_path / "out"))
    with RayCluster(faults.environment(), store_bytes=100_000_000) as cluster:
        made = cluster.job("colorize", *colorize(tiny_model, folder, out.uri))
    assert made.returncode == 0, made.stdout
    check_whole(out, names, pages=4)
