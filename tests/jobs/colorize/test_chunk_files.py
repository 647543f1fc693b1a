"""Chunk files that were cut off or altered: they are deleted, and their chunks are computed again."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import models
from datasets.archive import write_zip
from datasets.errors import UnreachableError
from datasets.storage import open_storage
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import ChapterTask
from tests.archives import zipped
from tests.jobs.colorize.chapters import LONG, LONG_OUT, color, members_of, stages_of, task_of
from tests.jobs.colorize.test_stages import chunk_files, run, variant
from tests.refusing import refusing

__all__ = ["variant"]  # the fixture


def repacked(data: bytes, change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]) -> bytes:
    """A chunk file, whole as a ZIP, with other members."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        made = write_zip(change([(info.filename, archive.read(info)) for info in archive.infolist()]))
    assert made is not None
    return made


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "garbage": lambda data: bytes(len(data)),
    "a ZIP of garbage": lambda data: zipped({"x": b"garbage"}),
    "a ZIP of nothing": lambda data: zipped({}),
    "a flipped bit": lambda data: flipped(data, len(data) // 2),
    "no manifest": lambda data: repacked(data, lambda members: [("manifest.json", b"{}"), *members[1:]]),
    "another page": lambda data: repacked(data, lambda members: [*members[:-1], (members[-1][0], b"another")]),
    "a page less": lambda data: repacked(data, lambda members: members[:-1]),
    "a page more": lambda data: repacked(data, lambda members: [*members, ("more.jpg", b"x")]),
    "another name": lambda data: repacked(data, lambda members: [*members[:-1], ("other.jpg", members[-1][1])]),
}


@pytest.fixture
def begun(tmp_path: Path, variant: models.Variant) -> tuple[ChapterTask, Stages, list[str]]:
    """A long chapter of which all chunks but the last are done, and the keys of their files."""
    task, stages = task_of(str(tmp_path), {"ep.cbz": zipped(LONG)}), stages_of(tmp_path)
    run(task, stages, variant, skip=[2])
    return task, stages, chunk_files(f"{tmp_path}/out")


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_chunk_is_computed_again_in_the_same_run(
    tmp_path: Path, variant: models.Variant, begun: tuple[ChapterTask, Stages, list[str]], kind: str
) -> None:
    task, _, (_, second) = begun
    whole = (tmp_path / "out" / second).read_bytes()
    (tmp_path / "out" / second).write_bytes(DAMAGE[kind](whole))
    opened = list(stages_of(tmp_path).open(task))
    assert [chunk.ready for chunk in opened] == [True, False, False]
    assert not (tmp_path / "out" / second).exists()
    assert color(task, tmp_path, variant).status == "done"
    assert list(members_of((tmp_path / "out/ep.cbz").read_bytes())) == LONG_OUT


@pytest.mark.parametrize(
    ("source", "kind"), [*(("archive", kind) for kind in DAMAGE), ("folder", "cut off"), ("folder", "another page")]
)
def test_a_chunk_damaged_before_it_is_assembled_is_left_to_the_next_run(
    tmp_path: Path, variant: models.Variant, source: str, kind: str
) -> None:
    files = {"ep.cbz": zipped(LONG)} if source == "archive" else {f"ep.cbz/{name}": LONG[name] for name in LONG}
    task, stages = task_of(str(tmp_path), files), stages_of(tmp_path)
    run(task, stages, variant)
    (_, second, _) = chunk_files(f"{tmp_path}/out")
    path = tmp_path / "out" / second
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    outcome = stages.assemble(task, 3)
    assert outcome.status == "failed"
    assert second in outcome.message
    assert "run again" in outcome.message
    assert not path.exists()
    assert len(chunk_files(f"{tmp_path}/out")) == 2
    assert color(task, tmp_path, variant).status == "done"


def test_storage_that_fails_costs_no_chunk(
    tmp_path: Path, variant: models.Variant, begun: tuple[ChapterTask, Stages, list[str]]
) -> None:
    task, _, (_, second) = begun
    with refusing() as refusals:
        refusals.refuse("000001.zip", UnreachableError("no answer"), "open", "read")
        outcome = color(task, tmp_path, variant)
    assert (outcome.status, outcome.message) == ("failed", "no answer")
    assert (tmp_path / "out" / second).exists()


def test_a_damaged_chunk_that_can_not_be_deleted_is_named(
    tmp_path: Path, variant: models.Variant, begun: tuple[ChapterTask, Stages, list[str]]
) -> None:
    task, _, (_, second) = begun
    open_storage(f"{tmp_path}/out").put(second, b"")
    with refusing() as refusals:
        refusals.refuse("000001.zip", UnreachableError("no answer"), "delete")
        outcome = color(task, tmp_path, variant)
    assert outcome.status == "failed"
    assert second in outcome.message
    assert "delete it" in outcome.message
