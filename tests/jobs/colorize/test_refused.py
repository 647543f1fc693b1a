"""Whatever goes wrong with a chapter becomes its outcome: no stage raises."""

import dataclasses
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import models
from datasets.archive import ChapterRef, Kind
from datasets.errors import AccessDeniedError, StorageError, UnreachableError
from datasets.storage import Entry, open_storage
from jobs.parts.colorize import stages as stages_module
from jobs.parts.colorize.chunk_files import ChunkFiles
from jobs.parts.colorize.plan import output_of
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.publish import ChapterPublisher
from jobs.parts.colorize.reuse import PublishedPages
from jobs.parts.colorize.tasks import ChapterTask, Chunk, from_row, to_row
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.runtime.signals import Stopped
from tests.archives import zipped
from tests.jobs.colorize.chapters import LONG, LONG_OUT, color, gray_page, members_of, stages_of, task_of
from tests.jobs.colorize.test_stages import run, variant
from tests.refusing import Refusals, refusing

__all__ = ["variant"]  # the fixture

DENIED = AccessDeniedError("s3://b/in/ep.cbz: refused (403); check what the credentials may do")
BUSY = UnreachableError("s3://b/in/ep.cbz: SlowDown (503)")
FULL = StorageError("/out/x: No space left on device")


@pytest.fixture
def refusals() -> Iterator[Refusals]:
    with refusing() as refusals:
        yield refusals


def short_chapter(folder: Path) -> ChapterTask:
    return task_of(str(folder), {"ep.cbz": zipped({"1.png": gray_page(1), "2.png": gray_page(2)})})


def committed(folder: Path) -> dict[str, Manifest]:
    return Ledger(f"{folder}/out", "").manifests()


@pytest.mark.parametrize("error", [DENIED, BUSY], ids=["403", "503"])
def test_an_object_that_is_refused_fails_its_chapter(
    refusals: Refusals, tmp_path: Path, variant: models.Variant, error: Exception
) -> None:
    task = short_chapter(tmp_path)
    refusals.refuse("/in/ep.cbz", error)
    outcome = color(task, tmp_path, variant)
    assert (outcome.status, outcome.code, outcome.message) == ("failed", type(error).__name__, str(error))
    assert committed(tmp_path) == {}
    refusals.by_call.clear()
    assert color(task, tmp_path, variant).status == "done"


def test_an_object_that_is_refused_in_the_middle_fails_its_chapter(
    refusals: Refusals, tmp_path: Path, variant: models.Variant
) -> None:
    task, stages = short_chapter(tmp_path), stages_of(tmp_path)
    (chunk,) = stages.open(task)
    refusals.refuse("/in/ep.cbz", DENIED, "stat")
    chunk = stages.postprocess(Predictor(variant, 4)(stages.prepare(chunk)))
    assert chunk.outcome is not None
    assert (chunk.outcome.status, chunk.outcome.message) == ("failed", str(DENIED))


@pytest.mark.parametrize("data", [b"", zipped({"1.png": gray_page()})[:-60]], ids=["empty", "cut off"])
def test_a_quarantine_that_can_not_be_stored_is_a_failure(
    refusals: Refusals, tmp_path: Path, variant: models.Variant, data: bytes
) -> None:
    refusals.refuse("/chapters/", FULL, "put")
    outcome = color(task_of(str(tmp_path), {"ep.cbz": data}), tmp_path, variant)
    assert outcome.status == "failed"
    assert outcome.code in ("EMPTY", "CUT_OFF")
    assert "quarantined" in outcome.message
    assert str(FULL) in outcome.message


def test_chunk_files_that_can_not_be_listed_fail_the_chapter(
    refusals: Refusals, tmp_path: Path, variant: models.Variant
) -> None:
    task = task_of(str(tmp_path), {"ep.cbz": zipped(LONG)})
    refusals.refuse("/pieces/", DENIED, "list")
    outcome = color(task, tmp_path, variant)
    assert (outcome.status, outcome.message) == ("failed", str(DENIED))


def test_chunk_files_that_can_not_be_deleted_cost_nothing(
    refusals: Refusals, tmp_path: Path, variant: models.Variant
) -> None:
    task = task_of(str(tmp_path), {"ep.cbz": zipped(LONG)})
    refusals.refuse("/pieces/", DENIED, "delete")
    assert color(task, tmp_path, variant).status == "done"
    assert list(members_of((tmp_path / "out/ep.cbz").read_bytes())) == LONG_OUT


def test_a_foreign_file_among_the_chunk_files_is_left_alone(tmp_path: Path, variant: models.Variant) -> None:
    task, stages = task_of(str(tmp_path), {"ep.cbz": zipped(LONG)}), stages_of(tmp_path)
    run(task, stages, variant, skip=[1])
    (entry, *_) = stages.ledger.storage.list(f"{HOME}/pieces/")
    stages.ledger.storage.put(f"{entry.key.rpartition('/')[0]}/.DS_Store", b"x")
    assert [chunk.ready for chunk in stages.open(task)] == [True, False, True]


def test_a_preview_that_can_not_be_stored_costs_only_itself(
    refusals: Refusals, tmp_path: Path, variant: models.Variant
) -> None:
    task = dataclasses.replace(short_chapter(tmp_path), sample=True)
    refusals.refuse("/previews/", DENIED, "put")
    outcome = color(task, tmp_path, variant)
    assert (outcome.status, outcome.count("coloured")) == ("done", 2)
    assert [page.preview for page in outcome.pages] == ["", ""]
    assert refusals.met


def test_a_published_chapter_whose_manifest_is_refused_fails(
    refusals: Refusals, tmp_path: Path, variant: models.Variant
) -> None:
    task = dataclasses.replace(short_chapter(tmp_path), over=1)
    refusals.refuse("/chapters/", DENIED, "read")
    outcome = color(task, tmp_path, variant)
    assert (outcome.status, outcome.message) == ("failed", str(DENIED))


# -- faults of our own


def broken(*_: Any, **__: Any) -> Any:
    raise KeyError("a bug")


PLACES = {
    "open": (PublishedPages, "unchanged"),
    "prepare": (PublishedPages, "take"),
    "postprocess": (ChapterPublisher, "publish"),
    "assemble": (ChunkFiles, "manifest"),
    "outcomes": (stages_module.ChapterOutcomes, "done_already"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_bug_fails_its_chapter_and_is_logged(
    tmp_path: Path,
    variant: models.Variant,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: str,
) -> None:
    monkeypatch.setattr(*PLACES[place], broken)
    task = task_of(str(tmp_path), {"ep.cbz": zipped(LONG)})
    with caplog.at_level(logging.ERROR, "mangahue"):
        outcome = color(task, tmp_path, variant)
    assert (outcome.status, outcome.code) == ("failed", "KeyError")
    assert "a bug" in outcome.message
    assert any(record.exc_info and "ep.cbz" in record.getMessage() for record in caplog.records)


def test_an_error_while_a_chapter_is_judged_leaves_the_first(
    refusals: Refusals, tmp_path: Path, variant: models.Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = short_chapter(tmp_path)
    refusals.refuse("/in/ep.cbz", DENIED)
    monkeypatch.setattr(stages_module.ChapterOutcomes, "changed", broken)
    outcome = color(task, tmp_path, variant)
    assert (outcome.status, outcome.message) == ("failed", str(DENIED))


def test_a_bug_that_comes_up_again_while_a_chapter_is_judged(
    tmp_path: Path, variant: models.Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, stages = task_of(str(tmp_path), {"ep.cbz": zipped(LONG)}), stages_of(tmp_path)
    run(task, stages, variant)
    monkeypatch.setattr(stages_module.ChapterOutcomes, "done_already", broken)
    outcome = stages.assemble(task, 3)
    assert (outcome.status, outcome.code) == ("failed", "KeyError")


@pytest.mark.parametrize("stop", [Stopped, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", ["open", "prepare", "postprocess", "assemble"])
def test_a_stop_is_no_fault_of_a_chapter(
    tmp_path: Path,
    variant: models.Variant,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    stop: type[BaseException],
) -> None:
    def stopped(*_: Any, **__: Any) -> Any:
        raise stop

    monkeypatch.setattr(*PLACES[place], stopped)
    with pytest.raises(stop):
        color(task_of(str(tmp_path), {"ep.cbz": zipped(LONG)}), tmp_path, variant)


def test_a_chunk_whose_chapter_has_ended_carries_no_pictures(
    tmp_path: Path, variant: models.Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, stages = short_chapter(tmp_path), stages_of(tmp_path)
    (chunk,) = stages.open(task)
    monkeypatch.setattr(stages_module.Stages, "look", broken)
    ended: Chunk = from_row(to_row(stages.prepare(chunk)))
    assert ended.outcome is not None
    assert ended.pages == []
    assert stages.postprocess(Predictor(variant, 4)(ended)).outcome == ended.outcome


def test_a_full_disk_of_the_node_names_the_fix(
    tmp_path: Path, variant: models.Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, os.strerror(28), "/tmp/mangahue-x/chapter.cbz")

    monkeypatch.setattr(ChapterPublisher, "publish", full)
    outcome = color(short_chapter(tmp_path), tmp_path, variant)
    assert (outcome.status, outcome.code) == ("failed", "OSError")
    assert "/tmp/mangahue-x/chapter.cbz" in outcome.message
    assert "run again" in outcome.message


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("a\\b.cbz", "done"),
        ("a\x1b[2J\n.cbz", "done"),
        ("a\\..\\b.cbz", "failed"),
        ("\\b.cbz", "failed"),
        ("b\\/1.png", "failed"),
    ],
)
def test_odd_names_end_as_an_outcome(tmp_path: Path, variant: models.Variant, name: str, status: str) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(gray_page() if name.endswith(".png") else zipped({"1.png": gray_page()}))
    folder = name.rpartition("/")[0]
    kind: Kind = "folder" if folder else "archive"
    version = (open_storage(str(tmp_path / "in")).stat(name) if status == "done" else None) or Entry("", 0, "v")
    ref = ChapterRef(f"{tmp_path}/in", folder or name, folder or name, kind, 1, version.version)
    outcome = color(ChapterTask(ref, output_of(ref), over=0), tmp_path, variant)
    assert outcome.status == status, outcome
    assert status == "done" or "rename" in outcome.message
