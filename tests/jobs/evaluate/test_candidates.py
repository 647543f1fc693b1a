"""The names of models that are compared: each has a column, a row of pictures and picture files of its own."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from datasets.errors import BadUsageError
from datasets.page import Page
from datasets.storage import open_storage
from jobs.parts.evaluate import candidates
from jobs.parts.evaluate.candidates import GRAY, INK, MEAN, OURS, TRUTH, Candidate, find_candidates
from jobs.parts.evaluate.config import EvaluateConfig
from jobs.parts.evaluate.measure import measure_row
from jobs.parts.evaluate.results import publish
from tests.jobs.ingest.test_shards import picture

CARD = {"variant": "pix2pix", "config": {"target": "ab"}, "weights_sha256": "a1", "steps": 1, "seconds": 1.0}


def names(monkeypatch: pytest.MonkeyPatch, *uris: str) -> list[str]:
    monkeypatch.setattr(candidates, "read_card", lambda uri: CARD)
    monkeypatch.setattr(candidates, "refuse_not_finite", lambda uri: None)
    return [candidate.name for candidate in find_candidates(uris)]


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        (["runs/ink/model"], [OURS]),
        (["runs/a/model", "runs/b/model"], ["a", "b"]),
        (["s3://bucket/one/a/model", "s3://bucket/two/a/model", "s3://bucket/b/model"], ["one/a", "two/a", "b"]),
        (["runs/a_b/model", "runs/a-b/model"], ["a_b", "a-b"]),
        (["model", "runs/a/model"], ["model", "a"]),
    ],
)
def test_ordinary_names_stay(monkeypatch: pytest.MonkeyPatch, uris: list[str], expected: list[str]) -> None:
    assert names(monkeypatch, *uris) == expected


@pytest.mark.parametrize("taken", [INK, OURS, GRAY, MEAN, TRUTH])
def test_a_run_is_not_named_like_a_column(monkeypatch: pytest.MonkeyPatch, taken: str) -> None:
    assert names(monkeypatch, f"runs/{taken}/model", "runs/b/model") == [f"runs/{taken}", "b"]
    assert names(monkeypatch, f"/{taken}/model", "runs/b/model") == [f"{taken} (2)", "b"]
    assert names(monkeypatch, f"/x/{taken}/model", f"/y/{taken}/model") == [f"x/{taken}", f"y/{taken}"]


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        (["x/a_b/model", "y/a/b/model", "z/c/b/model"], ["a_b", "y/a/b", "c/b"]),
        (["y/a/b/model", "z/c/b/model", "x/a_b/model"], ["a/b", "c/b", "x/a_b"]),
        (["y/a/b/model", "z/c/b/model", "/a_b/model"], ["a/b", "c/b", "a_b (2)"]),
        (["/a/b/model", "z/c/b/model", "/a_b/model"], ["a/b", "c/b", "a_b (2)"]),
    ],
)
def test_names_differ_as_file_names_too(monkeypatch: pytest.MonkeyPatch, uris: list[str], expected: list[str]) -> None:
    assert names(monkeypatch, *uris) == expected


def test_two_models_of_one_folder_are_two_models(monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(monkeypatch, "imported/zhang", "imported/pix2pix", "runs/a/model") == ["zhang", "pix2pix", "a"]
    for again in ("runs/a/model", "runs/a/model/", "runs//a/model"):
        with pytest.raises(BadUsageError, match="named twice"):
            names(monkeypatch, "runs/a/model", again)


def test_every_model_has_figures_and_pictures_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uris = [f"runs/{name}/model" for name in (INK, TRUTH, GRAY, MEAN, OURS, "x/a/b", "y/c/b", "a_b")]
    found = names(monkeypatch, *uris)
    page = Page("s", "ch1", 0, "1.png", None, picture(1), "lightness", 40, 60, "holdout", "in/ch1/1.png")
    row = {name: getattr(page, name) for name in page.__dataclass_fields__}
    row["predicted"] = pickle.dumps({name: np.full((8, 8, 2), i, np.float16) for i, name in enumerate(found)})
    row["costs"] = json.dumps({name: {"parameters": 1.0, "seconds": 1.0, "memory": 1.0} for name in found})
    measured = json.loads(measure_row(row, out=str(tmp_path), mean_chroma=(20.0, 20.0))["measured"])

    columns = [*found, GRAY, MEAN, TRUTH]
    assert sorted(measured["figures"]) == sorted(columns)
    assert len(set(measured["pictures"].values())) == len(found) + 2
    assert len(list(tmp_path.rglob("*.jpg"))) == len(found) + 2

    config = EvaluateConfig(model=tuple(uris), data="shards", out=str(tmp_path))
    publish(open_storage(str(tmp_path)), config, [Candidate(name, f"{tmp_path}/x/model", CARD) for name in found],
            [measured])  # fmt: skip
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    means = metrics["means"]
    assert sorted(means) == sorted(columns)
    methods = sorted({*columns} - {TRUTH})
    assert sorted(measured["areas"]) == sorted(metrics["color_names"]) == methods
    assert all({"clouds", "colorfulness_share"} <= set(means[method]) for method in methods)
    assert means[GRAY]["colorfulness_share"] == 0
    assert means[MEAN]["colorfulness_share"] == pytest.approx(
        means[MEAN]["colorfulness"] / means[TRUTH]["colorfulness"]
    )
    assert measured["areas"][GRAY]["names"] == metrics["color_names"][GRAY]
    assert len({json.dumps(means[name]) for name in found}) == len(found)
