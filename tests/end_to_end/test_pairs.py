"""Pairing on Ray and on this machine, from disk and from a bucket: the same shards; and a training on them."""

import json
from pathlib import Path

import pytest

from datasets.shards import ShardSet
from datasets.storage import open_storage
from tests.jobs.pair.library import write_editions
from tests.local_machine import LocalMachine
from tests.ray_cluster import RayCluster


def given(source: str, out: str) -> tuple[str, ...]:
    return ("--gray", f"{source}/gray", "--color", f"{source}/color", "--out", out, "--holdout", "vol1")


@pytest.mark.timeout(600)
def test_both_runners_write_the_same_shards_and_a_training_takes_them(
    cluster: RayCluster, machine: LocalMachine, s3: str, tmp_path: Path
) -> None:
    write_editions(tmp_path)
    bucket = open_storage(s3)
    for path in sorted(tmp_path.rglob("*.*")):
        bucket.put(path.relative_to(tmp_path).as_posix(), path.read_bytes())
    on_ray = cluster.job("pair", *given(s3, f"{s3}/out"), "--review", f"{s3}/review")
    assert on_ray.returncode == 0, on_ray.stdout
    assert "cluster: 2 CPUs" in on_ray.stdout
    here = machine.job("pair", *given(str(tmp_path), str(tmp_path / "out")))
    assert here.returncode == 0, here.stdout
    assert bucket.stat("review/review.html") is not None
    local, remote = (ShardSet.open(uri) for uri in (str(tmp_path / "out"), f"{s3}/out"))
    assert local.card["paired"] == remote.card["paired"] == 4
    pairs = [json.loads(open_storage(shards.uri).read("pairs.json"))["pairs"] for shards in (local, remote)]
    assert pairs[0] == pairs[1]
    told = ("--max-steps", "2", "--batch-size", "1", "--image-size", "64")
    for variant in ("pix2pix", "cyclegan"):
        run = str(tmp_path / variant)
        trained = cluster.job("train", "--data", local.uri, *told, "--run", run, "--variant", variant)
        assert trained.returncode == 0, trained.stdout
        assert (tmp_path / variant / "model").is_dir()
