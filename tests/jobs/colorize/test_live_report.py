"""The report of a job that is at work."""

import json
from pathlib import Path
from typing import Any

import pytest

from datasets.archive import ChapterRef
from datasets.errors import StorageError
from datasets.storage_disk import LocalStorage
from jobs.parts.colorize import live_report
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.live_report import EVERY, LiveReport
from jobs.parts.colorize.local import LocalRunner
from jobs.parts.colorize.plan import JobState
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.tasks import CHUNK_MEMBERS, ChapterTask, ChunkDone
from jobs.parts.ledger.ledger import PROGRESS, REPORT_PAGE, Ledger
from jobs.parts.ledger.manifest import Manifest, PageRecord
from tests.archives import zipped
from tests.jobs.colorize.chapters import FINGERPRINT, gray_page, task_of

CHAPTERS = 4


class Clock:
    """The time that the report goes by; it stands still but for `pass_by`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        import time

        return getattr(time, name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stands_still = Clock()
    monkeypatch.setattr(live_report, "time", stands_still)
    return stands_still


@pytest.fixture
def state(tmp_path: Path) -> JobState:
    refs = [ChapterRef(str(tmp_path), f"{n}.cbz", f"{n}.cbz", "archive", 1, "v") for n in range(CHAPTERS)]
    return JobState(refs, [ChapterTask(ref, ref.rel, 0) for ref in refs], {})


def manifest(n: int, code: str = "") -> Manifest:
    pages = [
        PageRecord(f"{p}.png", f"{p}.jpg", p, "coloured", "", code=code, width=20, height=30,
                   preview=f"previews/{n}.cbz/{f'0-{p}' if code else f'page-{p}'}")
        for p in range(10)
    ]  # fmt: skip
    return Manifest(f"{n}.cbz", f"/in/{n}.cbz", "v", FINGERPRINT, "done", f"{n}.cbz", pages, seconds=1.0)


def end(live: LiveReport, state: JobState, ended: Manifest) -> None:
    state.record(ended)
    live.add(ended)


def test_a_long_chapter_is_told_chunk_by_chunk(tmp_path: Path, state: JobState, clock: Clock) -> None:
    ledger = Ledger(str(tmp_path / "out"), FINGERPRINT)

    def told() -> list[Any]:
        progress = json.loads(ledger.storage.read(PROGRESS))
        return [progress[name] for name in ("done", "pages", "flagged", "seconds_left")]

    with LiveReport(state, ledger, {}) as live:
        for _ in range(2):
            clock.now += EVERY
            live.add_chunk(ChunkDone("0.cbz", 4, 1, 0.25))
        assert told() == [0, 8, 2, pytest.approx((CHAPTERS - 0.5) * 2 * EVERY / 0.5, abs=0.1)]
        clock.now += EVERY
        end(live, state, manifest(0))
        live.add_chunk(ChunkDone("0.cbz", 4, 1, 0.25))  # it was at work when another ended the chapter
        assert told() == [1, 10, 0, pytest.approx((CHAPTERS - 1) * 3 * EVERY, abs=0.1)]
        clock.now += EVERY
        end(live, state, manifest(1))
        assert told()[:3] == [2, 20, 0]


def test_a_runner_tells_of_the_chunks_of_a_long_chapter(tmp_path: Path, model: Path) -> None:
    pages = CHUNK_MEMBERS + 3
    task = task_of(str(tmp_path), {"long.cbz": zipped({f"{n:02}.png": gray_page(n) for n in range(pages)})})
    config = ColorizeConfig(model=str(model), source=str(tmp_path / "in"), out=str(tmp_path / "out"), backend="torch")
    settings = JobSettings.of(config)
    ledger = Ledger(config.out, settings.fingerprint)
    runner = LocalRunner(settings, ledger)
    with runner:
        first, last = runner.chapters([task])
    assert isinstance(first, ChunkDone)
    assert (first.rel, first.share) == ("long.cbz", 0.5)
    assert first.pages in (CHUNK_MEMBERS, 3)
    assert isinstance(last, Manifest)
    assert len(last.pages) == pages


def test_it_tells_how_far_the_job_is(tmp_path: Path, state: JobState, clock: Clock) -> None:
    ledger = Ledger(str(tmp_path / "out"), FINGERPRINT)

    def progress() -> dict[str, Any]:
        return json.loads(ledger.storage.read(PROGRESS))

    def page() -> str:
        return ledger.storage.read(REPORT_PAGE).decode()

    with LiveReport(state, ledger, {"source": "/in"}) as live:
        assert (progress()["done"], progress()["chapters"], progress()["seconds_left"]) == (0, CHAPTERS, None)
        assert "0 of 4 chapters" in page()
        clock.now += 1
        end(live, state, manifest(0))
        assert progress()["done"] == 0  # not after each chapter
        clock.now += EVERY
        end(live, state, manifest(1, "DULL"))
        told = progress()
        assert {name: told[name] for name in ("done", "pages", "flagged", "ended")} == {
            "done": 2, "pages": 20, "flagged": 10, "ended": False,
        }  # fmt: skip
        assert told["pages_per_second"] == pytest.approx(20 / 21, abs=0.001)
        assert told["seconds_left"] == pytest.approx(21, abs=0.1)
        html = page()
        assert "2 of 4 chapters" in html
        assert '<meta http-equiv="refresh" content="20">' in html
        assert 'src="previews/0.cbz/page-0.jpg"' in html
        assert 'src="previews/0.cbz/page-0.words.svg"' not in html  # it has no layers
        assert 'src="previews/1.cbz/0-0.words.svg"' in html
        assert html.count('src="previews/1.cbz/0-0.jpg"') == 1
    assert progress()["ended"]


def test_one_that_takes_long_is_written_seldom(
    tmp_path: Path, state: JobState, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    put = LocalStorage.put

    def slow(self: LocalStorage, key: str, *given: Any, **named: Any) -> Any:
        written.append(key)
        clock.now += 1
        return put(self, key, *given, **named)

    monkeypatch.setattr(LocalStorage, "put", slow)
    with LiveReport(state, Ledger(str(tmp_path / "out"), FINGERPRINT), {}) as live:
        assert written == [PROGRESS, REPORT_PAGE]
        clock.now += 95
        end(live, state, manifest(0))
        assert len(written) == 2
        clock.now += 5
        end(live, state, manifest(1))
        assert len(written) == 4


def test_storage_that_refuses_it_ends_no_job(
    tmp_path: Path, state: JobState, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: LocalStorage, key: str, *given: Any, **named: Any) -> Any:
        raise StorageError("no room")

    monkeypatch.setattr(LocalStorage, "put", refuse)
    with LiveReport(state, Ledger(str(tmp_path / "out"), FINGERPRINT), {}) as live:
        end(live, state, manifest(0))
    assert "could not be stored: no room" in caplog.text
