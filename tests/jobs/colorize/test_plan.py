"""What can't be listed, named or read while a job is planned costs that entry only, and is in the report."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from datasets.archive import find_chapters
from datasets.errors import AccessDeniedError, MangahueError, StorageError, UnreachableError
from datasets.storage import Entry
from datasets.storage_disk import LocalStorage
from jobs.parts.colorize.conclude import conclude
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.plan import JobState, plan
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.ingest.pairing import find_editions
from jobs.parts.ledger import ledger as ledger_module
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.runtime.outcome import Exit
from jobs.parts.verify.check import open_published
from tests.archives import zipped
from tests.jobs.colorize.chapters import SIZE, color_chapter, gray_page
from tests.refusing import refusing

ONE = zipped({"1.png": gray_page()})


@pytest.fixture(scope="module")
def variant() -> models.Variant:
    torch.manual_seed(0)
    return models.build("pix2pix", {"image_size": SIZE, "base_channels": 4})


@pytest.fixture
def job(tmp_path: Path, model: Path) -> JobSettings:
    """A job with one good chapter."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/good.cbz").write_bytes(ONE)
    return JobSettings.of(ColorizeConfig(model=str(model), source=str(tmp_path / "in"), out=str(tmp_path / "out")))


def colorize(job: JobSettings, variant: models.Variant) -> tuple[Exit, JobState, dict[str, dict[str, Any]]]:
    """What jobs/colorize.py does, without Ray: its exit code, its state, and the report's lines by name."""
    ledger = Ledger(job.out, job.fingerprint)
    state = plan(job.config["source"], ledger, job, replace=False)
    for task in state.tasks:
        state.record(color_chapter(task, Stages(ledger, job.pages, SIZE), Predictor(variant, 4)))
    code = conclude(state, ledger, job)
    lines = json.loads((Path(job.out) / HOME / "report.json").read_bytes())["lines"]
    source = job.config["source"]
    return code, state, {line["source"].removeprefix(f"{source}/"): line for line in lines}


@pytest.fixture
def unlistable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders named `locked` can't be listed, not even by root."""
    real = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.usefixtures("unlistable")
@pytest.mark.parametrize("place", ["locked", "a/b/locked"])
def test_a_folder_that_can_not_be_listed_is_in_the_report(
    job: JobSettings, variant: models.Variant, tmp_path: Path, place: str
) -> None:
    (tmp_path / "in" / place).mkdir(parents=True)
    (tmp_path / "in/z.cbz").write_bytes(ONE)
    code, _, lines = colorize(job, variant)
    assert code is Exit.PARTLY
    assert {name: line["status"] for name, line in lines.items()} == {
        "good.cbz": "done",
        "z.cbz": "done",
        place: "failed",
    }
    assert lines[place]["code"] == "AccessDeniedError"
    assert "Permission denied" in lines[place]["message"]


@pytest.mark.usefixtures("unlistable")
def test_a_folder_of_pages_beside_one_that_can_not_be_listed_is_coloured(
    job: JobSettings, variant: models.Variant, tmp_path: Path
) -> None:
    (tmp_path / "in/ep1/locked").mkdir(parents=True)
    (tmp_path / "in/ep1/1.png").write_bytes(gray_page())
    code, _, lines = colorize(job, variant)
    assert code is Exit.PARTLY
    assert lines["ep1"]["status"] == "done"
    assert lines["ep1/locked"]["status"] == "failed"


@pytest.mark.usefixtures("unlistable")
def test_a_source_that_can_not_be_listed_itself_ends_the_job(job: JobSettings, tmp_path: Path) -> None:
    (tmp_path / "in").rename(tmp_path / "locked")
    with pytest.raises(AccessDeniedError, match="locked"):
        plan(str(tmp_path / "locked"), Ledger(job.out, job.fingerprint), job, replace=False)


@pytest.mark.usefixtures("unlistable")
def test_a_library_of_nothing_but_a_folder_that_can_not_be_listed_fails(
    job: JobSettings, variant: models.Variant, tmp_path: Path
) -> None:
    (tmp_path / "in/good.cbz").unlink()
    (tmp_path / "in/locked").mkdir()
    code, _, lines = colorize(job, variant)
    assert code is Exit.FAILED
    assert list(lines) == ["locked"]


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def looped(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [dangling, looped, os.mkfifo])
@pytest.mark.parametrize("name", ["ch.cbz", "ep1/2.png"])
def test_what_is_no_file_is_in_the_report(
    job: JobSettings, variant: models.Variant, tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir(exist_ok=True)
    make(path)
    make(tmp_path / "in/notes")  # no chapter and no page by its name
    code, _, lines = colorize(job, variant)
    assert code is Exit.PARTLY
    assert {name: line["status"] for name, line in lines.items()} == {"good.cbz": "done", name: "failed"}
    assert name in lines[name]["message"]


def listed_too(monkeypatch: pytest.MonkeyPatch, folder: Path, *keys: str) -> None:
    """Let the listing of `folder` give these keys as well, as that of a bucket does."""
    real = LocalStorage.list

    def list_more(self: LocalStorage, prefix: str = "", *arguments: Any, **options: Any) -> Iterator[Entry]:
        if self.root == folder:
            yield from (Entry(key, 10, "v") for key in keys if key.startswith(prefix))
        yield from real(self, prefix, *arguments, **options)

    monkeypatch.setattr(LocalStorage, "list", list_more)


@pytest.mark.parametrize("key", ["a//ep1.cbz", "/ep1.cbz", "a/../ep1.cbz", "b\\.cbz\\ep1.cbz\\..\\x.cbz", "\\x.cbz"])
def test_a_key_that_is_none_is_in_the_report(
    job: JobSettings, variant: models.Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    listed_too(monkeypatch, tmp_path / "in", key)
    code, state, lines = colorize(job, variant)
    assert code is Exit.PARTLY
    assert {name: (line["status"], line["code"]) for name, line in lines.items()} == {
        "good.cbz": ("done", ""),
        key: ("quarantined", "NAME"),
    }
    assert "rename it" in lines[key]["message"]
    assert len(state.inputs) == 2


@pytest.mark.parametrize("folder", ["a/", "b\\", "a//b", "a/.."])
def test_a_folder_whose_key_is_none_is_in_the_report(
    job: JobSettings, variant: models.Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    listed_too(monkeypatch, tmp_path / "in", f"{folder}/1.png", f"{folder}/2.png")
    (tmp_path / "in/a").mkdir()
    (tmp_path / "in/a/1.png").write_bytes(gray_page())
    code, state, _ = colorize(job, variant)
    assert code is Exit.PARTLY
    assert [state.results[rel].status for rel in ("good.cbz", "a", folder)] == ["done", "done", "quarantined"]


def test_names_that_are_no_text_are_in_the_report(
    job: JobSettings, variant: models.Variant, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "mangahue")  # pytest's workers can't send one another names that are no text
    for name in (b"\xff\x1b[2J.cbz", b"a\nb.cbz"):
        Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/" + name)).write_bytes(ONE)
    code, _, lines = colorize(job, variant)
    assert code is Exit.DONE
    assert len(lines) == 3


@pytest.mark.usefixtures("unlistable")
def test_the_other_jobs_go_on_without_what_can_not_be_listed(job: JobSettings, tmp_path: Path) -> None:
    (tmp_path / "in/locked").mkdir()
    assert [edition.rel for edition in find_editions(str(tmp_path / "in"))] == ["good"]
    with pytest.raises(MangahueError, match="locked"):  # who does not ask to be told is told hard
        list(find_chapters(str(tmp_path / "in")))


# -- the commit log


def test_a_manifest_that_is_refused_fails_its_chapter(
    job: JobSettings, variant: models.Variant, tmp_path: Path
) -> None:
    for name in ("bad.cbz", "new.cbz"):
        (tmp_path / "in" / name).write_bytes(ONE)
    colorize(job, variant)
    published = (tmp_path / "out/bad.cbz").read_bytes()
    (tmp_path / "in/new.cbz").write_bytes(zipped({"1.png": gray_page(5)}))
    with refusing() as refusals:
        refusals.refuse("chapters/bad.cbz.json", AccessDeniedError("bad.cbz.json: refused (403)"), "read")
        code, state, lines = colorize(job, variant)
        with pytest.raises(StorageError, match="403"):
            open_published(job.out)
    assert code is Exit.PARTLY
    assert {name: line["status"] for name, line in lines.items()} == {
        "good.cbz": "done",
        "new.cbz": "done",
        "bad.cbz": "failed",
    }
    assert "403" in lines["bad.cbz"]["message"]
    assert state.computed == {"new.cbz"}
    assert (tmp_path / "out/bad.cbz").read_bytes() == published
    assert colorize(job, variant)[0] is Exit.DONE


def test_storage_that_refuses_all_manifests_ends_the_job(
    job: JobSettings, variant: models.Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    colorize(job, variant)
    monkeypatch.setattr(ledger_module, "_MOST_UNREAD", 0)
    with refusing() as refusals:
        refusals.refuse("/chapters/", UnreachableError("no answer"), "read")
        with pytest.raises(UnreachableError, match="no answer"):
            colorize(job, variant)


def test_a_staged_manifest_that_is_refused_ends_nothing(
    job: JobSettings, variant: models.Variant, tmp_path: Path
) -> None:
    (tmp_path / f"out/{HOME}/staged/good.cbz").mkdir(parents=True)
    staged = tmp_path / f"out/{HOME}/staged/good.cbz/aa.json"
    staged.write_bytes(b"{}")
    os.utime(staged, (0, 0))  # long ago
    with refusing() as refusals:
        refusals.refuse("aa.json", AccessDeniedError("refused"), "read", "delete")
        assert colorize(job, variant)[0] is Exit.DONE
    assert {method for method, _ in refusals.met} == {"read", "delete"}
