"""Predictors hang, exit or run out of memory. No job waits for ever, and no page is lost."""

import json
import zipfile
from pathlib import Path

import pytest

from datasets.storage import open_storage
from tests.faults.harness import Faults, check_whole, colorize, write_library
from tests.ray_cluster import RayCluster

PAGES = 4


LONG = pytest.mark.long


@pytest.mark.long
@pytest.mark.parametrize("how", ["hang", "exit", "memory"])
def test_a_predictor_that_fails_once_costs_nothing(
    deadly: RayCluster, faults: Faults, tiny_model: Path, tmp_path: Path, how: str
) -> None:
    names = write_library(tmp_path / "in", 2, PAGES)
    faults.plan("predict", how)
    out = open_storage(str(tmp_path / "out"))
    made = deadly.job("colorize", *colorize(tiny_model, tmp_path / "in", out.uri, "--page-seconds", "1"))
    assert made.returncode == 0, made.stdout
    assert faults.waiting == []
    check_whole(out, names, PAGES)


@pytest.mark.parametrize("how", ["exit", pytest.param("memory", marks=LONG)])
def test_a_page_that_always_ends_its_predictor_is_flagged(
    deadly: RayCluster, faults: Faults, tiny_model: Path, tmp_path: Path, how: str
) -> None:
    (name,) = write_library(tmp_path / "in", 1, PAGES)
    # The batch, then the first page alone, each time it is tried. With "memory" the batch is halved twice before.
    faults.plan("predict", how, 3)
    out = open_storage(str(tmp_path / "out"))
    made = deadly.job("colorize", *colorize(tiny_model, tmp_path / "in", out.uri))
    assert made.returncode == 3, made.stdout
    manifest = json.loads(out.read(f"_mangahue/chapters/{name}.json"))
    code = "CRASHED" if how == "exit" else "MEMORY"
    assert [page["action"] for page in manifest["pages"]] == ["flagged", *["coloured"] * (PAGES - 1)]
    assert manifest["pages"][0]["code"] == code
    with zipfile.ZipFile(tmp_path / "in" / name) as source, out.open(name) as file, zipfile.ZipFile(file) as chapter:
        assert chapter.read("001.png") == source.read("001.png")
        assert chapter.namelist() == ["001.png", *[f"{page:03d}.jpg" for page in range(2, PAGES + 1)]]


@pytest.mark.long
def test_a_model_that_can_not_be_loaded_ends_the_job(deadly: RayCluster, tiny_model: Path, tmp_path: Path) -> None:
    names = write_library(tmp_path / "in", 2)
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "model.json").write_bytes((tiny_model / "model.json").read_bytes())
    (broken / "model.safetensors").write_bytes((tiny_model / "model.safetensors").read_bytes()[:-100])
    made = deadly.job("colorize", *colorize(broken, tmp_path / "in", str(tmp_path / "out")))
    assert made.returncode == 3, made.stdout
    assert "model.safetensors" in made.stdout or "weights" in made.stdout
    report = json.loads((tmp_path / "out/_mangahue/report.json").read_text())
    assert report["chapters"]["failed"] == len(names)
