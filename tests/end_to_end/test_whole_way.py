"""All jobs on a real cluster and a real S3 server: ingest, train with two workers, colour, evaluate."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.storage import Storage, open_storage
from imaging.color import lightness_of_level, to_lab
from tests.local_machine import LocalMachine
from tests.ray_cluster import RayCluster

QUALITY = ("ciede2000", "psnr", "ssim", "colorfulness", "luminance_ssim")
TRAIN = ["--variant", "pix2pix", "--base-channels", "4", "--image-size", "64", "--batch-size", "2"]


def put_folder(folder: Path, storage: Storage) -> None:
    for file in sorted(folder.rglob("*.cbz")):
        storage.put(file.relative_to(folder).as_posix(), file)


@pytest.mark.timeout(900)
def test_from_chapters_in_a_bucket_to_coloured_chapters(
    cluster: RayCluster, machine: LocalMachine, series: Path, s3: str
) -> None:
    put_folder(series, open_storage(f"{s3}/in"))
    submit = ("--working-dir", ".", "--", "python")

    ingest = cluster.submit(
        *submit, "jobs/ingest.py", "--color", f"{s3}/in/color", "--gray", f"{s3}/in/ink",
        "--out", f"{s3}/shards", "--holdout", "ch03",
    )  # fmt: skip
    assert ingest.returncode == 0, ingest.stdout
    assert "6 training and 3 held-out pages (9 pairs)" in ingest.stdout  # the job's log reaches the submitter

    train = cluster.job(
        "train", *TRAIN, "--data", f"{s3}/shards", "--run", f"{s3}/run", "--num-workers", "2",
        "--max-steps", "12", "--eval-every", "6",
    )  # fmt: skip
    assert train.returncode == 0, train.stdout
    assert "training on 2 CPU worker(s), on demand" in train.stdout  # as this cluster has such nodes
    run = open_storage(f"{s3}/run")
    keys = {entry.key for entry in run.list()}
    assert {"model/model.json", "model/model.safetensors", "samples/step-0000012.png", "metrics.jsonl"} <= keys
    assert any(key.startswith("tensorboard/events") for key in keys)
    card = json.loads(run.read("model/model.json"))
    assert card["steps"] == 12
    assert card["metrics"]["ciede2000"] > 0
    again = cluster.job(
        "train", *TRAIN, "--data", f"{s3}/shards", "--run", f"{s3}/run", "--num-workers", "2", "--max-steps", "12"
    )
    assert again.returncode == 0, again.stdout
    assert "nothing to do" in again.stdout

    colorize = cluster.job(
        "colorize", "--model", f"{s3}/run/model", "--source", f"{s3}/in/ink", "--out", f"{s3}/out", "--format", "png"
    )
    assert colorize.returncode == 0, colorize.stdout
    out = open_storage(f"{s3}/out")
    for chapter in ("ch01", "ch02", "ch03"):
        check_chapter((series / f"ink/{chapter}.cbz").read_bytes(), out.read(f"{chapter}.cbz"))
    before = {entry.key: entry.version for entry in out.list()}
    rerun = cluster.job(
        "colorize", "--model", f"{s3}/run/model", "--source", f"{s3}/in/ink", "--out", f"{s3}/out", "--format", "png"
    )
    assert rerun.returncode == 0, rerun.stdout
    assert "0 computed now" in rerun.stdout
    assert {entry.key: entry.version for entry in out.list()} == before

    evaluate = cluster.job("evaluate", "--model", f"{s3}/run/model", "--data", f"{s3}/shards", "--out", f"{s3}/report")
    assert evaluate.returncode == 0, evaluate.stdout
    report = open_storage(f"{s3}/report")
    result = json.loads(report.read("metrics.json"))
    assert len(result["pages"]) == 3
    assert result["means"]["ours"]["luminance_ssim"] > 0.999
    assert result["means"]["gray page"]["colorfulness"] == 0
    assert 0 < result["means"]["mean chroma"]["colorfulness"] < result["means"]["truth"]["colorfulness"]
    html = report.read("report.html").decode()
    assert all(picture in html for page in result["pages"] for picture in page["pictures"].values())

    words = ("--model", f"{s3}/run/model", "--data", f"{s3}/shards", "--out", f"{s3}/report here")
    here = machine.job("evaluate", *words)
    assert here.returncode == 0, here.stdout
    assert figures_of(open_storage(f"{s3}/report here")) == pytest.approx(figures_of(report), rel=1e-5)


def figures_of(report: Storage) -> dict[tuple[str, str], float]:
    """The means of an evaluation, without what the prediction has cost."""
    means = json.loads(report.read("metrics.json"))["means"]
    return {(method, name): figures[name] for method, figures in means.items() for name in QUALITY if name in figures}


def check_chapter(source: bytes, coloured: bytes) -> None:
    """The members and their order are the same, and the ink has the source's size."""
    with zipfile.ZipFile(io.BytesIO(source)) as was, zipfile.ZipFile(io.BytesIO(coloured)) as made:
        assert made.namelist() == was.namelist()
        assert made.testzip() is None
        assert b"<BlackAndWhite>No</BlackAndWhite>" in made.read("ComicInfo.xml")
        for name in was.namelist():
            if not name.endswith(".png"):
                continue
            ink = np.asarray(Image.open(io.BytesIO(was.read(name))).convert("L"))
            page = np.asarray(Image.open(io.BytesIO(made.read(name))).convert("RGB"))
            off = np.abs(to_lab(page)[..., 0] - lightness_of_level()[ink])
            assert np.percentile(off, 99.9) <= 1


def test_a_bare_job_runs_where_ray_was_started(cluster: RayCluster, series: Path, tmp_path: Path) -> None:
    """No working directory is shipped. The job's exit status comes back as a failed job."""
    command = ("--", "python", "jobs/ingest.py", "--color", str(series / "color"), "--out")
    good = cluster.submit(*command, str(tmp_path / "shards"), cwd=tmp_path)
    assert good.returncode == 0, good.stdout
    assert (tmp_path / "shards/shards.json").exists()
    bad = cluster.submit(*command, str(tmp_path / "other"), "--holdout", "ch77", cwd=tmp_path)
    assert bad.returncode != 0
    assert "--holdout names 'ch77', which is no chapter; there are ch01, ch02, ch03" in bad.stdout
