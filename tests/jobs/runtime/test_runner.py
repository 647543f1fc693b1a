"""Which runner --runner auto takes, and why."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from datasets.errors import BadUsageError
from jobs.parts.evaluate.config import EvaluateConfig
from jobs.parts.runtime import runner
from jobs.parts.runtime.runner import choose_runner


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without cluster and GPUs, whatever this one has."""
    for name in ("RAY_ADDRESS", "TMPDIR", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    run(monkeypatch, "python")
    monkeypatch.setattr(runner, "DEVICES", tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    processes = [SimpleNamespace(info={"name": name}) for name in names]
    monkeypatch.setattr(runner.psutil, "process_iter", lambda attributes: processes)


def test_one_machine_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert choose_runner("auto", "auto") == "local"
    assert "on this machine, without Ray" in caplog.text


@pytest.mark.parametrize("address", ["auto", "local", "127.0.0.1:6379", "ray://head:10001"])
def test_an_address_of_any_value_is_of_ray(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert choose_runner("auto", "auto") == "ray"
    monkeypatch.setenv("RAY_ADDRESS", "")  # as a shell unsets it for one command
    assert choose_runner("auto", "auto") == "local"


@pytest.mark.parametrize(("processes", "address", "chosen"), [
    (["bash", "raylet"], True, "ray"),
    (["bash"], True, "local"),  # it was killed, and left its file
    (["bash", "raylet"], False, "local"),  # the private cluster of another program
])  # fmt: skip
def test_a_cluster_that_runs_here_is_joined(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, processes: list[str], address: bool, chosen: str
) -> None:
    run(monkeypatch, *processes)
    if address:
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray/ray_current_cluster").write_text("127.0.0.1:6379")
    assert choose_runner("auto", "auto") == chosen


@pytest.mark.parametrize(("gpus", "visible", "device", "chosen"), [
    (1, None, "auto", "local"), (2, None, "auto", "ray"), (2, None, "cuda", "ray"), (2, None, "cpu", "local"),
    (8, "3", "auto", "local"), (8, "3,4", "auto", "ray"), (8, "", "auto", "local"),
])  # fmt: skip
def test_several_gpus_are_for_ray(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpus: int, visible: str | None, device: str, chosen: str
) -> None:
    for name in [*(f"nvidia{number}" for number in range(gpus)), "nvidiactl", "nvidia-uvm"]:
        (tmp_path / name).touch()
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert choose_runner("auto", device) == chosen


def test_several_workers_are_for_ray(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert choose_runner("auto", "auto", actors=1) == "ray"
    assert "because --num-actors is given" in caplog.text


@pytest.mark.parametrize("asked", ["local", "ray"])
def test_what_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert choose_runner(asked, "auto", actors=2) == asked  # type: ignore[arg-type]


def test_the_local_runner_has_one_network() -> None:
    with pytest.raises(BadUsageError, match="--num-actors is '2'; --runner local has one network"):
        EvaluateConfig(model=("m",), data="d", out="o", num_actors="2", runner="local")
