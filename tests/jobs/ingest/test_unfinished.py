"""An ingest whose storage failed is unfinished: the same command reads again what is missing, and nothing else."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from datasets.archive import ChapterRef
from datasets.chapters import Member
from datasets.errors import (
    AccessDeniedError,
    ChapterUnreadableError,
    Code,
    MangahueError,
    MissingToolError,
    StorageError,
    UnreachableError,
)
from datasets.shards import CARD, ShardSet
from jobs import ingest
from jobs.parts.dataset.written import Written
from jobs.parts.ingest import reading, shards
from jobs.parts.ingest.config import IngestConfig
from jobs.parts.ingest.pairing import ChapterPlan
from jobs.parts.runtime import cluster
from jobs.parts.runtime.outcome import Exit
from jobs.parts.runtime.sandbox import SandboxError
from jobs.parts.source import reader
from tests.jobs.ingest.test_shards import archive, picture


class Here:
    """A sandbox that is no other process, so that a test can make its calls fail."""

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        return function(*arguments)


class Library:
    """A source whose reads fail as the test says, by the name of chapter or chapter/page. Notes what is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails: dict[str, MangahueError] = {}
        self.read: list[str] = []
        look_inside, fetch = reader.look_inside, reader.fetch

        def looked(ref: ChapterRef, policy: Any) -> Any:
            self._may(ref.rel)
            return look_inside(ref, policy)

        def fetched(ref: ChapterRef, policy: Any, member: Member) -> Any:
            self._may(f"{ref.rel}/{member.name}")
            return fetch(ref, policy, member)

        monkeypatch.setattr(reading, "sandbox", Here)
        monkeypatch.setattr(reading.reader, "look_inside", looked)
        monkeypatch.setattr(reading.reader, "fetch", fetched)

    def _may(self, name: str) -> None:
        self.read.append(name)
        if name in self.fails:
            raise self.fails[name]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Three chapters of two pages, each a group of its own, ingested without Ray."""
    for chapter in range(3):
        archive(tmp_path / f"in/ch{chapter}.cbz", {f"{page}.png": picture(10 * chapter + page) for page in range(2)})

    def here(groups: Sequence[list[ChapterPlan]], numbers: Sequence[int], out: str) -> Iterator[tuple[int, Written]]:
        for number in numbers:
            yield number, shards.read_group(groups[number], out)

    monkeypatch.setattr(shards, "read_groups", here)
    monkeypatch.setattr(shards, "_LEAST_GROUP", 1)
    monkeypatch.setattr(cluster, "connect", lambda: None)
    return Library(monkeypatch)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Exit]:
    def job(**options: Any) -> Exit:
        return ingest.main(IngestConfig(color=str(tmp_path / "in"), out=str(tmp_path / "out"), **options))

    return job


def names(tmp_path: Path) -> list[tuple[str, str]]:
    read = ShardSet.open(str(tmp_path / "out"))
    return sorted((page.chapter, page.name) for split in ("train", "holdout") for page in read.read(split))


ALL = [(f"ch{chapter}", f"{page}.png") for chapter in range(3) for page in range(2)]
OF_STORAGE = [
    StorageError("s3://x: InternalError"),
    AccessDeniedError("s3://x: refused"),
    UnreachableError("s3://x: no answer"),
    SandboxError(Code.TIMEOUT, "not done in 600 s"),
    MissingToolError("unar is not on this node"),
]


@pytest.mark.parametrize("error", OF_STORAGE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("what", ["ch1.cbz", "ch1.cbz/1.png"])
def test_what_storage_withheld_is_read_again(
    library: Library, run: Callable[..., Exit], tmp_path: Path, error: MangahueError, what: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    library.fails[what] = error
    assert run() == Exit.PARTLY
    assert "run the same command again" in caplog.text
    first = names(tmp_path)
    assert 4 <= len(first) < 6

    library.read.clear()
    assert run() == Exit.PARTLY  # it still fails: what is there stays
    assert names(tmp_path) == first

    library.read.clear()
    library.fails.clear()
    assert run() == Exit.DONE
    assert names(tmp_path) == ALL
    assert {name.partition("/")[0] for name in library.read} == {"ch1.cbz"}
    assert "unfinished" not in json.loads((tmp_path / "out" / CARD).read_text())
    kept = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.parquet")}
    assert kept == {shard["key"] for shard in ShardSet.open(str(tmp_path / "out")).card["shards"]}

    library.read.clear()
    assert run() == Exit.DONE
    assert library.read == []


def test_an_ingest_that_was_finished_later_is_the_same_as_one_that_never_failed(
    library: Library, run: Callable[..., Exit], tmp_path: Path
) -> None:
    library.fails["ch1.cbz/0.png"] = StorageError("away")
    run()
    library.fails.clear()
    run()
    later = json.loads((tmp_path / "out" / CARD).read_text())
    run(replace=True)
    at_once = json.loads((tmp_path / "out" / CARD).read_text())
    for card in (later, at_once):
        del card["created"], card["settings"]
    assert later == at_once


@pytest.mark.parametrize(
    "error",
    [SandboxError(Code.CRASHED, "the decoder's process ended"), ChapterUnreadableError(Code.BROKEN, "no archive")],
    ids=lambda error: error.code,
)
def test_what_a_page_is_stays_as_it_was_found(library: Library, run: Callable[..., Exit], error: MangahueError) -> None:
    library.fails["ch1.cbz/1.png"] = error
    assert run() == Exit.PARTLY
    library.read.clear()
    library.fails.clear()
    assert run() == Exit.PARTLY
    assert library.read == []


def test_a_page_whose_decoding_takes_too_long_is_final(
    library: Library, run: Callable[..., Exit], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = reading.decode, []

    def slow(data: bytes) -> Any:
        calls.append(data)
        if len(calls) == 3:
            raise SandboxError(Code.TIMEOUT, "not done in 60 s")
        return real(data)

    monkeypatch.setattr(reading, "decode", slow)
    assert run() == Exit.PARTLY
    library.read.clear()
    assert run() == Exit.PARTLY
    assert library.read == []


def test_storage_that_fails_worse_the_second_time_takes_nothing_away(
    library: Library, run: Callable[..., Exit], tmp_path: Path
) -> None:
    library.fails["ch1.cbz/1.png"] = StorageError("away")
    run()
    first = names(tmp_path)
    library.fails["ch1.cbz"] = StorageError("away")
    assert run() == Exit.PARTLY
    assert names(tmp_path) == first


def test_a_card_of_an_earlier_version_with_failures_of_storage_is_unfinished(
    library: Library, run: Callable[..., Exit], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library.fails["ch1.cbz"] = StorageError("away")
    run()
    card = json.loads((tmp_path / "out" / CARD).read_text())
    del card["unfinished"]  # they knew no such thing
    (tmp_path / "out" / CARD).write_text(json.dumps(card))
    caplog.clear()
    ShardSet.open(str(tmp_path / "out"))
    assert "is unfinished" in caplog.text

    library.fails.clear()
    assert run() == Exit.DONE
    assert names(tmp_path) == ALL


def test_a_job_that_uses_unfinished_shards_is_warned(
    library: Library, run: Callable[..., Exit], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library.fails["ch1.cbz"] = StorageError("away")
    run()
    caplog.clear()
    ShardSet.open(str(tmp_path / "out"))
    assert f"{tmp_path}/out is unfinished" in caplog.text
    assert "ingest" in caplog.text


def test_chapters_of_one_name_are_read_all(library: Library, run: Callable[..., Exit], tmp_path: Path) -> None:
    archive(tmp_path / "in/ch1.zip", {"9.png": picture(99)})
    library.fails["ch1.cbz"] = StorageError("away")
    assert run() == Exit.PARTLY
    library.fails.clear()
    assert run() == Exit.DONE
    assert names(tmp_path) == sorted([*ALL, ("ch1", "9.png")])


def test_a_report_of_a_group_travels_as_text() -> None:
    written = Written(unfinished=2, failures=[{"source": "a", "code": "STORAGE", "message": "b"}])
    assert Written.from_json(json.dumps(asdict(written))) == written
