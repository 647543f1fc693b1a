"""The long form of the kill tests. Processes are killed at random moments, many times, and the cost is counted.

    python -m tests.faults.kills [--times 20] [--only driver]        # or: make faults

Prints a table of docs/benchmarks.md. Ends with an assertion if anything is lost, doubled or left behind.
"""

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import psutil

from datasets.storage import open_storage
from tests.archives import zipped
from tests.faults.harness import Faults, check_whole, colorize, saved, unfinished
from tests.ray_cluster import RayCluster, kill_group
from tests.s3_server import SeaweedFS
from tests.untrained import publish_untrained

CHAPTERS, PAGES = 60, 2
HANGS = 3600.0  # seconds after which a run is taken for hung, on a slow and busy machine too


@dataclass
class Count:
    """The counts of a campaign.

    kills: processes killed.
    runs: of the job.
    chapters: in all libraries.
    lost: chapters that are missing from the output.
    duplicated: archives that were written more than once.
    computed: chapters that went to the network, counted every time.
    """

    kills: int = 0
    runs: int = 0
    chapters: int = 0
    lost: int = 0
    duplicated: int = 0
    computed: int = 0


def write_pages(folder: Path, seed: int, chapters: int = CHAPTERS) -> list[str]:
    """Write chapters of pages so large that a job takes some time. Returns their names."""
    rng = np.random.default_rng(seed)
    names = [f"volume {number % 3}/chapter {number:03d}.cbz" for number in range(chapters)]
    for name in names:
        levels = [np.kron(rng.integers(0, 256, (70, 50), np.uint8), np.ones((16, 16), np.uint8)) for _ in range(PAGES)]
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(zipped({f"{page + 1:03d}.png": saved(picture) for page, picture in enumerate(levels)}))
    return names


def ray_workers(cluster: RayCluster, predictors: bool) -> Iterator[psutil.Process]:
    """The processes that work on chunks now; if `predictors`, those that hold the network."""
    for process in psutil.process_iter(["cmdline", "environ"]):
        title = " ".join(process.info["cmdline"] or [])
        token = (process.info["environ"] or {}).get("RAY_AUTH_TOKEN")
        if not title.startswith("ray::") or token != cluster.environment["RAY_AUTH_TOKEN"]:
            continue
        if ("MapWorker" in title) == predictors and not any(other in title for other in ("IDLE", "CrashGuard")):
            yield process


def kill_one(victims: list[psutil.Process], rng: random.Random) -> bool:
    with suppress(psutil.NoSuchProcess, IndexError):
        rng.choice(victims).kill()
        return True
    return False


class Campaign:
    """Kills one kind of process until it has done so often enough. It goes through as many libraries as that takes."""

    def __init__(self, kind: str, times: int, seed: int, scratch: Path, server: SeaweedFS) -> None:
        self.kind, self.times, self.rng = kind, times, random.Random(f"{kind} {seed}")
        self.scratch, self.server = scratch / kind, server
        self.model = self.scratch / "model"
        publish_untrained(self.model, base_channels=4, image_size=32)
        self.count = Count()

    def run(self) -> Count:
        library = 0
        with ExitStack() as clusters:
            faults = Faults()
            cluster = self.start(clusters, faults)
            while self.count.kills < self.times:
                source, out = self.scratch / f"in{library}", f"{self.server.uri}/{self.kind}/{library}"
                names = write_pages(source, library)
                faults.reset()
                command = colorize(self.model, source, out)
                while (code := self.one_run(cluster, faults, command)) != 0:
                    if code is None:  # the head is gone
                        cluster = self.start(clusters, faults)
                self.take_stock(out, names, faults)
                library += 1
        return self.count

    def start(self, clusters: ExitStack, faults: Faults) -> RayCluster:
        environment = self.server.environment() | faults.environment()
        cluster = clusters.enter_context(RayCluster(environment, cpus=0 if self.kind == "node" else 2))
        if self.kind == "node":
            for _ in range(2):
                cluster.add_node()
        return cluster

    def one_run(self, cluster: RayCluster, faults: Faults, command: tuple[str, ...]) -> int | None:
        """Run the job. Returns its exit code, or None if the head was killed."""
        self.count.runs += 1
        before = sum(faults.counted("predict").values())
        driver = cluster.start("colorize", *command)
        deadline = time.monotonic() + HANGS
        early = self.rng.random() < 0.2  # sometimes before anything is computed
        pause = self.rng.uniform(0, 12) if early else self.rng.uniform(0, 5)
        while driver.poll() is None:
            assert time.monotonic() < deadline, "a job that never ends"
            time.sleep(0.02)
            begun = early or sum(faults.counted("predict").values()) > before
            if not begun or self.count.kills >= self.times:
                continue
            pause -= 0.02
            if pause > 0:
                continue
            if self.kill(cluster, driver):
                self.count.kills += 1
                click.echo(f"{self.kind}: {self.count.kills} killed", err=True)
                if self.kind == "head":
                    driver.kill()  # it would search for the head for a minute
                    driver.communicate()
                    return None
            pause = self.rng.uniform(0.5, 4)
        told, _ = driver.communicate()
        if driver.returncode not in (0, 3, -9):
            click.echo(told[-3000:], err=True)
            raise AssertionError(f"a run ended with {driver.returncode}")
        return driver.returncode

    def kill(self, cluster: RayCluster, driver: object) -> bool:
        kinds: dict[str, Callable[[], bool]] = {
            "worker": lambda: kill_one(list(ray_workers(cluster, predictors=False)), self.rng),
            "predictor": lambda: kill_one(list(ray_workers(cluster, predictors=True)), self.rng),
            "node": lambda: self.kill_node(cluster),
            "driver": lambda: kill_one([psutil.Process(driver.pid)], self.rng),  # type: ignore[attr-defined]
            "head": lambda: cluster.kill_head() is None,
        }
        return kinds[self.kind]()

    def kill_node(self, cluster: RayCluster) -> bool:
        kill_group(self.rng.choice(cluster.running_nodes()))
        cluster.add_node()
        return True

    def take_stock(self, out: str, names: list[str], faults: Faults) -> None:
        storage = open_storage(out)
        there = {entry.key for entry in storage.list()}
        self.count.chapters += len(names)
        self.count.lost += len(set(names) - there)
        self.count.duplicated += sum(times - 1 for times in faults.counted("put").values())
        self.count.computed += sum(faults.counted("predict").values())
        check_whole(storage, names, PAGES)
        assert unfinished(storage) == []


@click.command(context_settings={"show_default": True})
@click.option("--times", default=20, help="Kills of each kind.")
@click.option("--only", multiple=True, type=click.Choice(["worker", "predictor", "node", "driver", "head"]))
@click.option("--seed", default=0, help="Of the moments.")
def main(times: int, only: tuple[str, ...], seed: int) -> None:
    """Kill, run again, count."""
    click.echo("| killed | times | runs | chapters | lost | duplicated | computed again |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="mangahue-kills-") as scratch, SeaweedFS() as server:
        os.environ.update(server.environment())  # this process reads the bucket too
        for kind in only or ("worker", "predictor", "node", "driver", "head"):
            count = Campaign(kind, times, seed, Path(scratch), server).run()
            again = count.computed - count.chapters
            row = (kind, count.kills, count.runs, count.chapters, count.lost, count.duplicated, again)
            click.echo("| " + " | ".join(map(str, row)) + " |")
            assert not count.lost
            assert not count.duplicated


if __name__ == "__main__":
    main()
