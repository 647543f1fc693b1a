"""Exported networks are kept on disk, and a cache that is damaged or can't be used costs the export again, no more."""

import logging
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from jobs.parts.model.backends import cache, export
from jobs.parts.model.backends.cache import cache_folder, cached
from jobs.parts.model.backends.export import exported

CARD = {"weights_sha256": "a" * 64, "variant": "pix2pix", "config": {"image_size": 32, "base_channels": 1}}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[models.Coloring]:
    """What is exported, in the place of an export."""
    seen: list[models.Coloring] = []
    monkeypatch.setattr(export, "export", lambda coloring: seen.append(coloring) or b"onnx")  # type: ignore[func-returns-value]
    return seen


@pytest.fixture(scope="module")
def variant() -> models.Variant:
    return models.build("pix2pix", CARD["config"])  # type: ignore[arg-type]


def test_a_model_is_exported_once(variant: models.Variant, exports: list[Any], home: Path) -> None:
    assert [exported(variant, CARD) for _ in range(3)] == [b"onnx"] * 3
    assert len(exports) == 1
    assert [path.parent for path in home.rglob("*.onnx")] == [home / "mangahue/networks"]


@pytest.mark.parametrize("what", ["weights", "config", "torch", "code"])
def test_another_network_is_another_export(
    variant: models.Variant, exports: list[Any], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(variant, CARD)
    card: dict[str, Any] = dict(CARD)
    if what == "weights":
        card["weights_sha256"] = "b" * 64
    elif what == "config":
        card["config"] = {**CARD["config"], "temperature": 0.5}  # type: ignore[dict-item]
    elif what == "torch":
        monkeypatch.setattr(torch, "__version__", "9.9")
    else:
        monkeypatch.setattr(export, "_code", lambda: "another")
    exported(variant, card)
    assert len(exports) == 2


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:-1] + b"X", lambda data: b""])
def test_a_damaged_file_is_exported_again(
    variant: models.Variant, exports: list[Any], damage: Any, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exported(variant, CARD)
    (path,) = home.rglob("*.onnx")
    path.write_bytes(damage(path.read_bytes()))
    assert exported(variant, CARD) == b"onnx"
    assert "is damaged" in caplog.text
    assert exported(variant, CARD) == b"onnx"
    assert len(exports) == 2


def test_a_folder_that_cannot_be_used_costs_the_export(
    variant: models.Variant, exports: list[Any], home: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    (home / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file/below"))
    with caplog.at_level(logging.WARNING, "mangahue"):
        assert [exported(variant, CARD) for _ in range(2)] == [b"onnx"] * 2
    assert len(exports) == 2
    assert "can't be kept" in caplog.text


def test_only_the_last_networks_are_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST", 2)
    for key in ("1", "2", "3"):
        cached(key, key.encode)
    assert sorted(path.name for path in Path(cache_folder()).iterdir()) == ["2", "3"]


def test_without_xdg_it_is_in_the_users_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(home))
    assert cache_folder() == str(home / ".cache/mangahue/networks")


def test_a_user_without_a_home_pays_for_the_export(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a container that runs under any number."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 987654)
    assert cached("key", lambda: b"made") == b"made"
    assert "set XDG_CACHE_HOME" in caplog.text


def _cached_by_another_process(barrier: Any, results: Any) -> None:
    for number in range(20):
        barrier.wait()
        results.put(cached(f"{number}", lambda: b"x" * 1_000_000) == b"x" * 1_000_000)


def test_two_processes_at_once(home: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_cached_by_another_process, args=(barrier, results)) for _ in range(2)]
    for process in processes:
        process.start()
    assert all(results.get(timeout=60) for _ in range(40))
    for process in processes:
        process.join()
    assert len(list(Path(cache_folder()).iterdir())) == cache._MOST  # and nothing unfinished
