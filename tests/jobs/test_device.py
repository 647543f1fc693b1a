"""Where a network runs is decided by --device and by what Ray assigned, not by what the node has."""

import ast
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models
from datasets.page import Page
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.evaluate import measure
from jobs.parts.evaluate.cost import measured_cost
from jobs.parts.evaluate.measure import Models
from jobs.parts.model.inference import device_of, predict_chroma, to_device
from jobs.parts.runtime import ROOT
from jobs.parts.runtime.cluster import Cluster
from jobs.parts.train.trainer import worker_environment
from tests.jobs.colorize.test_predictor import SIZE, chunk_of, tracing
from tests.jobs.ingest.test_shards import picture

CPU = torch.device("cpu")


@pytest.fixture
def gpu_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with a GPU that was not assigned: torch sees it, and nothing may touch it."""

    def refuse(name: str) -> Callable[..., Any]:
        def touched(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError(f"{name} was called")

        return touched

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("empty_cache", "synchronize", "reset_peak_memory_stats", "memory_allocated", "max_memory_allocated",
                 "is_bf16_supported", "set_device", "_lazy_init"):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, refuse(f"torch.cuda.{name}"))
    monkeypatch.setattr(torch.nn.Module, "cuda", refuse("Module.cuda"))
    monkeypatch.setattr(torch.Tensor, "cuda", refuse("Tensor.cuda"))
    monkeypatch.setattr(torch.Tensor, "pin_memory", refuse("Tensor.pin_memory"))


@pytest.fixture
def variant() -> models.Variant:
    torch.manual_seed(0)
    return models.build("pix2pix", {"image_size": SIZE, "base_channels": 4})


@pytest.mark.usefixtures("gpu_node")
def test_a_network_stays_on_the_cpu(variant: models.Variant) -> None:
    threads = torch.get_num_threads()
    to_device(variant, threads, on_gpu=False)
    assert device_of(variant) == CPU
    assert predict_chroma(variant, np.zeros((2, SIZE, SIZE), np.uint8)).shape == (2, SIZE, SIZE, 2)


@pytest.mark.usefixtures("gpu_node")
def test_a_batch_that_is_halved_frees_no_gpu(variant: models.Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = tracing(monkeypatch, 1, MemoryError())
    Predictor(variant, 2)(chunk_of(2))
    assert sizes == [2, 1, 1]


@pytest.mark.usefixtures("gpu_node")
def test_the_cost_of_a_step_is_that_of_the_device_it_ran_on() -> None:
    with measured_cost(CPU) as cost:
        kept = np.ones(20_000_000)
    assert kept.size
    assert cost.seconds > 0


@pytest.mark.usefixtures("gpu_node")
def test_a_model_is_measured_on_the_cpu(variant: models.Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "load_model", lambda uri: variant)
    page = Page("s", "ch1", 0, "1.png", None, picture(1), "lightness", 40, 60, "holdout", "in/ch1/1.png")
    row = {name: getattr(page, name) for name in page.__dataclass_fields__}
    (measured,) = Models([("ours", "uri")], 1, on_gpu=False)(row)
    assert measured["predicted"]


def test_a_training_worker_without_a_gpu_sees_none() -> None:
    """Ray Train gives each worker its device by what was assigned, and PyTorch's optimizers look for a GPU anyway."""
    assert worker_environment(on_gpu=False) == {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}
    assert worker_environment(on_gpu=True) == {}


def test_a_gpu_that_was_assigned_and_is_not_there_is_told(
    variant: models.Variant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    to_device(variant, torch.get_num_threads(), on_gpu=True)
    assert device_of(variant) == CPU
    assert "assigned a GPU" in caplog.text


@pytest.mark.parametrize(
    ("device", "gpus", "on_gpu"),
    [("auto", 0, False), ("auto", 2, True), ("cpu", 2, False), ("cuda", 0, True), ("cuda", 2, True)],
)
def test_what_a_job_decides_is_logged(device: str, gpus: float, on_gpu: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mangahue"):
        assert Cluster(4, gpus).on_gpu(device) is on_gpu
    assert f"--device {device}: networks run on {'GPUs' if on_gpu else 'CPUs'}" in caplog.text


def test_no_other_module_asks_torch_for_a_gpu() -> None:
    asking = [
        str(path.relative_to(ROOT))
        for room in ("jobs", "models", "datasets", "imaging")
        for path in sorted(Path(ROOT, room).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith("cuda.is_available")
    ]
    assert set(asking) == {"jobs/parts/model/inference.py"}  # whether a GPU that was assigned, or that is here, works
