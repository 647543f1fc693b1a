"""Logs a finished training to MLflow. TensorBoard files and metrics.jsonl are written in any case."""

import importlib.util
import json
import logging
import os
from pathlib import Path

from datasets.errors import BadUsageError
from datasets.storage import Storage
from jobs.parts.model.folder import METRICS
from jobs.parts.train.config import TrainConfig

log = logging.getLogger("mangahue")
_EXPERIMENT = "mangahue"


def check_tracking(config: TrainConfig) -> None:
    """Raises BadUsageError where --mlflow is given and MLflow is not installed."""
    if config.mlflow and importlib.util.find_spec("mlflow") is None:
        raise BadUsageError("--mlflow needs the package: pip install -e '.[tracking]'")


def track(run: Storage, config: TrainConfig) -> None:
    """Log settings, losses and held-out metrics of the run to the store of --mlflow. Without it, do nothing."""
    if not config.mlflow:
        return
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow  # an optional dependency

    uri = config.mlflow
    mlflow.set_tracking_uri(uri if "://" in uri else Path(uri).absolute().as_uri())
    mlflow.set_experiment(_EXPERIMENT)
    with mlflow.start_run(run_name=run.uri):
        settings = config.as_settings()
        model = settings.pop("model")
        mlflow.log_params({**settings, **{f"model.{name}": value for name, value in model.items()}})
        for line in run.read(METRICS).splitlines():
            point = json.loads(line)
            values = point.pop("losses", None) or {
                name: point[name] for name in ("ciede2000", "colorfulness") if name in point
            }
            mlflow.log_metrics({f"{point['kind']}.{name}": value for name, value in values.items()}, step=point["step"])
    log.info("logged to MLflow at %s", uri)
