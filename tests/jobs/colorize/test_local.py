"""Colouring on one machine without Ray: the same outcomes as chapter by chapter in one thread, and an end in order."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.errors import BadUsageError, Code
from datasets.storage import open_storage
from imaging.color import F32, U8
from jobs.parts.colorize import predictor
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.local import LocalRunner
from jobs.parts.colorize.plan import JobState, plan
from jobs.parts.colorize.run import color
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.tasks import Chunk, ChunkTally
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.runtime.signals import Stopped
from tests.archives import zipped
from tests.jobs.colorize.chapters import LONG, color_page, gray_page, task_of
from tests.jobs.colorize.library import Library, good

SOURCE = {
    "in/long.cbz": zipped(LONG),
    "in/short.cbz": good(1),
    "in/cut.cbz": good(2)[:-60],
    "in/mixed.cbz": zipped({"1.png": gray_page(3), "2.png": color_page(), "3.png": b"no picture", "n.txt": b"n"}),
    "in/pages/1.png": gray_page(4),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for key, data in SOURCE.items():
        open_storage(str(tmp_path)).put(key, data)
    return tmp_path / "in"


def colored(source: Path, model: Path, out: Path, **options: object) -> JobState:
    """The state of a job after a run on this machine."""
    config = ColorizeConfig(model=str(model), source=str(source), out=str(out), runner="local", **options)  # type: ignore[arg-type]
    settings = JobSettings.of(config)
    ledger = Ledger(config.out, settings.fingerprint, settings.pages.palette)
    state = plan(config.source, ledger, settings, replace=config.replace)
    color(state, ledger, settings)
    return state


def published(out: Path) -> dict[str, bytes]:
    return {entry.key: open_storage(str(out)).read(entry.key) for entry in open_storage(str(out)).list()
            if not entry.key.startswith("_mangahue/")}  # fmt: skip


def previews(out: Path) -> dict[str, bytes]:
    storage = open_storage(str(out))
    return {entry.key: storage.read(entry.key) for entry in storage.list("_mangahue/previews/")}


def test_a_chapter_ends_once(tmp_path: Path) -> None:
    """With the first outcome that a chunk of it has, or when all its chunks have come without one."""
    task = task_of(str(tmp_path), {"ch01.cbz": good(1)})
    tally, ended = ChunkTally(), Ledger(f"{tmp_path}/out", "f").unpublished(task.ref, "failed")
    chunks = [Chunk(task, 0, 3), Chunk(task, 1, 3, outcome=ended), Chunk(task, 2, 3, outcome=ended)]
    assert [tally.ends_chapter(chunk) for chunk in chunks] == [False, True, False]
    assert [ChunkTally().ends_chapter(Chunk(task, 0, of)) for of in (1, 2)] == [True, False]
    tally = ChunkTally()
    assert [tally.ends_chapter(Chunk(task, number, 3)) for number in (2, 0, 1)] == [False, False, True]


def test_it_publishes_what_one_thread_publishes(source: Path, model: Path, tmp_path: Path) -> None:
    state = colored(source, model, tmp_path / "here", batch_size=4, previews="flagged")
    library = Library(tmp_path, model)
    assert {rel: m.status for rel, m in state.results.items()} == {rel: m.status for rel, m in library.run().items()}
    assert published(tmp_path / "here") == published(library.out)
    assert previews(tmp_path / "here") == previews(library.out) != {}
    assert state.stopped == ""
    assert colored(source, model, tmp_path / "here", batch_size=4).computed == set()


def test_a_model_that_can_not_be_loaded_ends_the_job_and_loses_nothing(
    source: Path, model: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.json").write_bytes((model / "model.json").read_bytes())
    (broken / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-100])
    state = colored(source, broken, tmp_path / "out")
    assert state.stopped.startswith(f"--model {broken}: model.safetensors is not the file that model.json describes")
    codes = {rel: manifest.code for rel, manifest in state.results.items()}
    assert codes.pop("cut.cbz") in (Code.CUT_OFF, Code.STOPPED)  # it may have ended before
    assert set(codes.values()) == {Code.STOPPED}
    assert published(tmp_path / "out") == {}


def test_a_gpu_that_is_not_there_is_bad_usage(
    source: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadUsageError, match="--device cuda: PyTorch finds no GPU here"):
        colored(source, model, tmp_path / "out", device="cuda")
    assert published(tmp_path / "out") == {}


def test_a_network_that_fails_ends_the_job_and_keeps_what_is_done(
    source: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = predictor.predict_chroma
    calls = []

    def failing(variant: object, grays: U8, hints: F32 | None = None) -> F32:
        calls.append(len(grays))
        if len(calls) > 2:
            raise RuntimeError("the device is gone")
        return predict(variant, grays, hints)  # type: ignore[arg-type]

    monkeypatch.setattr(predictor, "predict_chroma", failing)
    state = colored(source, model, tmp_path / "out", batch_size=64)
    assert state.stopped == "the network could not go on: RuntimeError: the device is gone"
    assert set(state.results) == {ref.rel for ref in state.inputs}
    monkeypatch.undo()
    again = colored(source, model, tmp_path / "out", batch_size=64)
    assert again.stopped == ""
    assert {m.code for m in again.results.values()} == {"", Code.CUT_OFF}


def test_a_stop_ends_all_that_is_under_way(
    source: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a signal raises it in the main thread, here while a network is at work."""
    at_work = []

    def slow(variant: object, grays: U8, hints: F32 | None = None) -> F32:
        at_work.append(len(grays))
        return np.zeros((*grays.shape, 2), np.float32)

    def chapters(self: LocalRunner, tasks: object) -> Iterator[object]:
        yield from ()
        for _ in run(self, tasks):  # type: ignore[arg-type]
            raise Stopped("SIGTERM")

    run = LocalRunner.chapters
    monkeypatch.setattr(predictor, "predict_chroma", slow)
    monkeypatch.setattr(LocalRunner, "chapters", chapters)
    state = colored(source, model, tmp_path / "out", batch_size=1)
    assert state.stopped == "the job was stopped by SIGTERM"
    assert "Traceback" not in caplog.text  # of what was under way
    assert set(state.results) == {ref.rel for ref in state.inputs}
    assert published(tmp_path / "out").keys() == {
        key
        for manifest in state.results.values()
        if manifest.is_published
        for key in ([manifest.output] if manifest.sha256 else [f"{manifest.output}/{p.output}" for p in manifest.pages])
    }
