"""Every variant through the jobs: DDP, a killed worker, a rerun that goes on, a coloured chapter.

This takes about twelve minutes. `make test-variants` runs it; `make test` does not.
"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import models
from tests.end_to_end.drive_variants import FIRST, LOOK, THEN
from tests.ray_cluster import ROOT, RayCluster

pytestmark = pytest.mark.timeout(1600)
LOSS = {  # the loss that shows how close the colours are; adversarial losses swing
    "cyclegan": "cycle",
    "pix2pix": "l1",
    "pix2pixhd": "features",
    "colornet": "squared",
    "hypercolumn": "cross_entropy",
    "zhang": "cross_entropy",
    "exemplar": "chroma",
}


@pytest.fixture(scope="module")
def driven(cluster: RayCluster, series: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One driver takes every variant through its steps. What happened is in <variant>.json."""
    folder = tmp_path_factory.mktemp("variants")
    ingest = cluster.job(
        "ingest", "--color", str(series / "color"), "--out", str(folder / "shards"), "--holdout", "ch03"
    )
    assert ingest.returncode == 0, ingest.stdout
    command = [sys.executable, "-m", "tests.end_to_end.drive_variants", str(cluster.pid), str(folder / "shards")]
    command += [str(series / "ink/ch03.cbz"), str(folder), *models.VARIANTS]
    ended = subprocess.run(
        command, cwd=ROOT, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=1500,
    )  # fmt: skip
    (folder / "driver.log").write_text(ended.stdout)
    return folder


def told(driven: Path, name: str) -> dict[str, Any]:
    happened: dict[str, Any] = json.loads((driven / f"{name}.json").read_text())
    assert "error" not in happened, happened["error"] + (driven / "driver.log").read_text()[-4000:]
    return happened


def losses(points: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(point["step"], point["losses"][LOSS[name]]) for point in points if point["kind"] == "train"]


@pytest.mark.parametrize("name", models.VARIANTS)
def test_a_killed_worker_costs_nothing_but_time(driven: Path, name: str) -> None:
    happened = told(driven, name)

    assert len(happened["killed"]) == 1
    assert happened["exits"][0] == 0
    steps = [step for step, _ in losses(happened["before"], name)]
    assert steps == sorted(set(steps))  # one history, each step once
    assert steps[-1] == FIRST


@pytest.mark.parametrize("name", models.VARIANTS)
def test_a_rerun_goes_on_from_where_the_training_was(driven: Path, name: str) -> None:
    happened = told(driven, name)

    assert happened["exits"][1] == 0
    before, after = losses(happened["before"], name), losses(happened["after"], name)
    assert after[: len(before)] == before
    assert after[-1][0] == THEN
    assert happened["card"]["steps"] == THEN
    first, last, resumed = before[0][1], before[-1][1], after[len(before)][1]
    assert abs(resumed - last) < abs(resumed - first) or abs(resumed - last) < 0.3 * last


@pytest.mark.parametrize("name", models.VARIANTS)
def test_a_published_model_colours_a_chapter(driven: Path, name: str) -> None:
    happened = told(driven, name)

    assert happened["exits"][2] == 0
    assert happened["card"]["variant"] == name
    assert happened["card"]["metrics"]["ciede2000"] > 0
    with zipfile.ZipFile(driven / name / "coloured/ch03.cbz") as chapter:
        assert [member for member in chapter.namelist() if member.endswith(".jpg")] == ["001.jpg", "002.jpg", "003.jpg"]
        assert chapter.testzip() is None
    assert (driven / name / "run/model/model.raw.safetensors").exists()
    assert len(list((driven / name / "run/samples").glob("*.png"))) >= THEN // LOOK


def test_a_deterministic_training_repeats_itself(driven: Path) -> None:
    assert told(driven, "options")["same"]


def test_a_training_stops_early_and_publishes_its_best(driven: Path) -> None:
    early = told(driven, "options")["early"]

    evaluated = [point["ciede2000"] for point in early["points"] if point["kind"] == "holdout"]
    assert len(evaluated) < 200  # 600 steps, a held-out evaluation every 3
    best = min(evaluated)
    assert evaluated.index(best) == len(evaluated) - 3  # two evaluations without a better one
    assert early["card"]["metrics"]["ciede2000"] == best
    assert early["card"]["steps"] in [3 * (number + 1) for number, value in enumerate(evaluated) if value == best]
    assert early["checkpoints"] <= 2  # the best, and the last to resume from
    assert early["card"]["origin"]["init"]["model"] == str(driven / "cyclegan/run/model")


def test_several_models_share_one_table_and_one_report(driven: Path) -> None:
    assert told(driven, "options")["evaluated"] == 0
    result = json.loads((driven / "report/metrics.json").read_text())
    names = ["run", "once", "twice"]
    assert set(result["means"]) == {*names, "gray page", "mean chroma", "truth"}
    assert all(described["variant"] == "cyclegan" for described in result["models"].values())
    assert result["means"]["once"] == result["means"]["twice"] != result["means"]["run"]  # the first two are equal
    for name in names:
        cost = result["costs"][name]
        assert cost["parameters"] > 0.001
        assert cost["pages_per_second"] > 0
        assert cost["memory"] >= cost["parameters"] * 4  # MB: its weights at least
    html = (driven / "report/report.html").read_text()
    assert "Side by side" in html
    for page in result["pages"]:
        for picture in page["pictures"].values():
            assert (driven / "report" / picture).stat().st_size > 500
