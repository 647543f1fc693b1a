"""A finished training in MLflow's file store."""

import importlib.util
import json
from pathlib import Path

import mlflow
import pytest

from datasets.errors import BadUsageError
from datasets.storage import open_storage
from jobs.parts.train.config import TrainConfig
from jobs.parts.train.mlflow_log import check_tracking, track

POINTS = [
    {"kind": "train", "step": 20, "losses": {"l1": 0.5, "gan": 1.0}},
    {"kind": "holdout", "step": 20, "seconds": 3.0, "ciede2000": 9.0, "colorfulness": 30.0},
    {"kind": "train", "step": 40, "losses": {"l1": 0.25, "gan": 1.5}},
]


def test_a_run_is_logged_with_settings_losses_and_held_out_metrics(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(point) + "\n" for point in POINTS))
    store = tmp_path / "store"
    config = TrainConfig(data="shards", run=str(tmp_path), base_channels=8, mlflow=str(store))

    check_tracking(config)
    track(open_storage(str(tmp_path)), config)

    client = mlflow.MlflowClient(tracking_uri=store.as_uri())
    experiment = client.get_experiment_by_name("mangahue")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["model.base_channels"] == "8"
    assert run.data.params["batch_size"] == "4"
    assert run.data.metrics["holdout.ciede2000"] == 9.0
    history = client.get_metric_history(run.info.run_id, "train.l1")
    assert [(point.step, point.value) for point in history] == [(20, 0.5), (40, 0.25)]


def test_without_the_option_nothing_is_logged(tmp_path: Path) -> None:
    track(open_storage(str(tmp_path)), TrainConfig(data="shards", run=str(tmp_path)))

    assert not list(tmp_path.iterdir())


def test_without_the_package_the_option_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mlflow" else find(name))

    with pytest.raises(BadUsageError, match=r"--mlflow needs the package: pip install -e '\.\[tracking\]'"):
        check_tracking(TrainConfig(data="shards", run="run", mlflow="store"))
    check_tracking(TrainConfig(data="shards", run="run"))
