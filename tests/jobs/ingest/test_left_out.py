"""Near-duplicates of an ingest: left out of the shards, told in the report, never trained on where one is held out."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from datasets.errors import StorageError
from datasets.shards import Shard, ShardSet
from jobs import ingest
from jobs.parts.dataset.written import Written
from jobs.parts.ingest import left_out, reading, shards
from jobs.parts.ingest.config import IngestConfig
from jobs.parts.ingest.pairing import ChapterPlan
from jobs.parts.runtime import cluster
from jobs.parts.runtime.outcome import Exit
from tests.jobs.dataset.test_duplicates import facts
from tests.jobs.ingest.test_shards import archive, picture


def smaller(data: bytes) -> bytes:
    """The same page in another file."""
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).resize((96, 144)).save(out, "JPEG", quality=80)
    return out.getvalue()


PAGES = [picture(number, (120, 180)) for number in range(5)]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three chapters of two pages, each a group of its own, ingested without Ray; three files show the first page."""
    archive(tmp_path / "in/ch0.cbz", {"0.png": PAGES[0], "1.png": PAGES[1]})
    archive(tmp_path / "in/ch1.cbz", {"0.jpg": smaller(PAGES[0]), "1.png": PAGES[2]})
    archive(tmp_path / "in/ch2.cbz", {"0.png": PAGES[3], "1.png": PAGES[4], "2.jpg": smaller(PAGES[0])})

    def here(groups: Sequence[list[ChapterPlan]], numbers: Sequence[int], out: str) -> Iterator[tuple[int, Written]]:
        for number in numbers:
            yield number, Written.of(json.loads(json.dumps(asdict(shards.read_group(groups[number], out)))))

    def rewritten(groups: Sequence[Sequence[Shard]], dropped: left_out.Rows, out: str) -> Iterator[tuple[int, Any]]:
        for number, group in enumerate(groups):
            yield number, left_out.rewrite(group, dropped, out)

    monkeypatch.setattr(shards, "read_groups", here)
    monkeypatch.setattr(left_out, "rewrite_groups", rewritten)
    monkeypatch.setattr(shards, "_LEAST_GROUP", 1)
    monkeypatch.setattr(cluster, "connect", lambda: None)
    return tmp_path


def run(library: Path, **options: Any) -> Exit:
    return ingest.main(IngestConfig(color=str(library / "in"), out=str(library / "out"), **options))


def rows(library: Path) -> list[tuple[str, str, str]]:
    read = ShardSet.open(str(library / "out"))
    return sorted((page.split, page.chapter, page.name) for split in ("train", "holdout") for page in read.read(split))


@pytest.mark.parametrize(
    ("holdout", "stays"),
    [("", ("train", "ch0", "0.png")), ("ch1", ("holdout", "ch1", "0.jpg")), ("ch2", ("holdout", "ch2", "2.jpg"))],
)
def test_one_file_of_a_page_stays_and_a_held_out_one_before_others(
    library: Path, holdout: str, stays: tuple[str, str, str]
) -> None:
    assert run(library, holdout=holdout) == Exit.DONE
    found = rows(library)
    same = {("ch0", "0.png"), ("ch1", "0.jpg"), ("ch2", "2.jpg")}
    assert [row for row in found if row[1:] in same] == [stays]
    assert len(found) == 5
    card = ShardSet.open(str(library / "out")).card
    assert sum(card["pages"].values()) == 5
    out = sorted(f"{library}/in/{chapter}.cbz/{name}" for chapter, name in same - {stays[1:]})
    kept = f"{library}/in/{stays[1]}.cbz/{stays[2]}"
    assert card["near_duplicates"] == [{"source": source, "kept": kept} for source in out]
    assert {shard["key"] for shard in card["shards"]} == {
        str(path.relative_to(library / "out")) for path in (library / "out").rglob("*.parquet")
    }
    assert run(library, holdout=holdout) == Exit.DONE
    assert rows(library) == found


def test_the_mean_colours_are_those_of_the_rows_that_stay(library: Path) -> None:
    run(library, holdout="ch2")
    thinned = ShardSet.open(str(library / "out"))
    archive(library / "in/ch0.cbz", {"1.png": PAGES[1]})
    archive(library / "in/ch1.cbz", {"1.png": PAGES[2]})
    run(library, holdout="ch2", replace=True)
    assert thinned.mean_chroma == pytest.approx(ShardSet.open(str(library / "out")).mean_chroma)


def test_an_unfinished_set_keeps_all_rows_until_it_is_finished(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = reading.reader.fetch

    def away(ref: Any, *arguments: Any) -> Any:
        if ref.name == "ch2":
            raise StorageError("away")
        return fetch(ref, *arguments)

    class Here:
        def call(self, function: Any, *arguments: Any, seconds: float) -> Any:
            return function(*arguments)

    monkeypatch.setattr(reading, "sandbox", Here)
    monkeypatch.setattr(reading.reader, "fetch", away)
    assert run(library, holdout="") == Exit.PARTLY
    assert len(rows(library)) == 4
    assert "Unfinished" in (library / "out/report.html").read_text()
    monkeypatch.setattr(reading.reader, "fetch", fetch)
    assert run(library, holdout="") == Exit.DONE
    assert len(rows(library)) == 5
    assert "Unfinished" not in (library / "out/report.html").read_text()


def test_what_an_earlier_version_has_written_is_taken_up() -> None:
    written = Written.of({"shards": [], "failures": [], "chroma": [0, 0], "colored": 0, "paired": 0, "unfinished": 1})
    assert (written.facts, written.previews) == ([], [])


def test_previews_are_spread_over_the_pages() -> None:
    written = Written()
    for number in range(100):
        page = facts(number, number)
        written.note(page)
        written.show(page, lambda: b"jpeg", 4)
    assert [row[1] for row, _ in written.previews] == list(range(0, 100, 16))
