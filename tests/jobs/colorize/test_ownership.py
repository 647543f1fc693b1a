"""Who wrote what lies in the output: only what manifests name is overwritten, and nothing of it is left behind."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from datasets.errors import Code
from jobs.parts.colorize.hints import parse_hints
from jobs.parts.ledger.ledger import HOME
from jobs.parts.ledger.revisions import Revisions
from jobs.parts.verify.check import Finding, check_row, mark, open_published
from tests.jobs.colorize.chapters import color_page, gray_levels, gray_page
from tests.jobs.colorize.library import Library, good, published


@pytest.fixture
def library(tmp_path: Path, model: Path) -> Library:
    return Library(tmp_path, model)


def whole(library: Library, rel: str) -> bool:
    """What verify says of a chapter."""
    ledger = open_published(str(library.out)).ledger
    return not check_row({"rel": rel}, ledger=ledger)["code"]


def test_a_cover_beside_a_series_archives_is_a_chapter_of_its_own(library: Library) -> None:
    library.put("in/series/ch01.cbz", good(1))
    library.put("in/series/ch02.cbz", good(2))
    library.put("in/series/cover.png", gray_page(3))
    results = library.run()
    assert {rel: one.status for rel, one in results.items()} == {
        "series": "done", "series/ch01.cbz": "done", "series/ch02.cbz": "done"
    }  # fmt: skip
    assert sorted(published(library, "series")) == ["ch01.cbz", "ch02.cbz", "cover.jpg"]
    assert library.run() == library.run()
    assert library.computed == set()


@pytest.mark.parametrize(
    ("first", "second"),
    [("\u30ab\u3099.cbz", "\u30ac.cbz"), ("e\u0301.cbz", "\xe9.cbr"), ("S/\u1112\u1161.cbz", "S/\ud558.cbz")],
)
def test_chapters_whose_names_look_the_same_collide(library: Library, first: str, second: str) -> None:
    for number, name in enumerate((first, second)):
        library.put(f"in/{name}", good(number))
    results = library.run()
    assert (results[first].status, results[second].code) == ("done", "COLLISION")
    assert [path.name for path in library.out.rglob("*.cbz") if path.is_file()] == [Path(first).name]


def test_a_hint_goes_to_the_chapter_that_lies_deepest() -> None:
    rows = b"page,x,y,radius,colour\nseries/ch01.cbz/001.jpg,1,1,1,red\nseries/cover.jpg,1,1,1,red\n"
    chapters = parse_hints(rows, "hints.csv").by_chapter(["series", "series/ch01.cbz"])
    assert {rel: list(hints.by_page) for rel, hints in chapters.items()} == {
        "series/ch01.cbz": ["001.jpg"], "series": ["cover.jpg"]
    }  # fmt: skip


def test_a_folder_leaves_no_pages_of_another_format_behind(library: Library) -> None:
    library.put("in/ch/1.png", gray_page(1))
    library.put("in/ch/2.png", gray_page(2))
    library.run()
    assert sorted(published(library, "ch")) == ["1.jpg", "2.jpg"]
    assert library.run(replace=True, format="png")["ch"].status == "done"
    assert sorted(published(library, "ch")) == ["1.png", "2.png"]


def test_a_page_that_left_the_source_leaves_the_output(library: Library) -> None:
    library.put("in/ch/1.png", gray_page(1))
    library.put("in/ch/2.png", gray_page(2))
    library.run()
    (library.home / "in/ch/2.png").unlink()
    assert library.run()["ch"].status == "done"
    assert sorted(published(library, "ch")) == ["1.jpg"]


def test_in_a_folder_a_file_of_somebody_else_stays(library: Library) -> None:
    library.put("in/ch/1.png", gray_page(1))
    library.run()
    library.put("out/ch/2.jpg", b"mine")
    library.put("in/ch/2.png", gray_page(2))
    refused = library.run()["ch"]
    assert refused.status == "failed"
    assert "ch/2.jpg is there already, and not by this job" in refused.message
    assert published(library, "ch")["2.jpg"] == b"mine"


def test_a_file_of_somebody_else_stays_however_often_the_chapter_is_tried(library: Library) -> None:
    """A run says what it will put before it puts it, and fails at what lies there. That does not make it its own."""
    library.put("in/ch/1.png", gray_page(1))
    library.put("out/ch/1.jpg", b"mine")
    for _ in range(3):
        assert library.run()["ch"].status == "failed"
        assert published(library, "ch") == {"1.jpg": b"mine"}
    assert library.run(replace=True, format="png")["ch"].status == "done"
    assert sorted(published(library, "ch")) == ["1.jpg", "1.png"]
    assert published(library, "ch")["1.jpg"] == b"mine"


def test_a_folder_that_meets_a_file_of_somebody_else_replaces_none_of_its_own(library: Library) -> None:
    library.put("in/ch/1.png", gray_page(1))
    assert library.run()["ch"].status == "done"
    before = published(library, "ch")
    library.put("out/ch/2.jpg", b"mine")
    library.put("in/ch/1.png", gray_page(7))
    library.put("in/ch/2.png", gray_page(2))
    assert library.run()["ch"].status == "failed"
    assert published(library, "ch") == {**before, "2.jpg": b"mine"}


def test_a_folder_half_overwritten_by_a_killed_run_is_done_again(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the source is again as it was when the folder was published, time and all."""
    for number in (1, 2):
        library.put(f"in/ch/{number}.png", gray_page(number))
    assert library.run()["ch"].status == "done"
    before, status = published(library, "ch"), (library.home / "in/ch/2.png").stat()
    library.put("in/ch/2.png", gray_page(7))

    def killed(self: Revisions, *arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Revisions, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            library.run()
    mixed = published(library, "ch")
    assert mixed["2.jpg"] != before["2.jpg"]
    library.put("in/ch/2.png", gray_page(2))
    os.utime(library.home / "in/ch/2.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert library.run()["ch"].status == "done"
    assert whole(library, "ch")
    assert published(library, "ch")["1.jpg"] == before["1.jpg"]
    assert published(library, "ch")["2.jpg"] != mixed["2.jpg"]
    assert library.run()["ch"].status == "done"
    assert library.computed == set()


def test_a_folder_that_a_killed_run_began_is_finished(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.put("in/ch/1.png", gray_page(1))
    library.put("in/ch/2.png", gray_page(2))

    def killed(self: Revisions, *arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Revisions, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            library.run()
    library.put("in/ch/2.png", gray_page(7))  # and the source has changed since
    assert library.run()["ch"].status == "done"
    assert whole(library, "ch")


def test_a_folder_damaged_and_marked_is_done_again_without_leftovers(library: Library) -> None:
    library.put("in/ch/1.png", gray_page(1))
    library.put("in/ch/2.png", color_page())  # kept, with nothing to say of it
    library.run()
    (library.out / "ch/1.jpg").write_bytes(b"damaged")
    opened = open_published(str(library.out))
    mark(opened, [Finding("ch", Code.ALTERED, "ch/1.jpg has other bytes than were published")])
    (library.home / "in/ch/2.png").unlink()
    assert library.run()["ch"].status == "done"
    assert sorted(published(library, "ch")) == ["1.jpg"]
    assert whole(library, "ch")


def pdf() -> bytes:
    out = io.BytesIO()
    Image.fromarray(gray_levels(1)).save(out, "PDF", save_all=True, append_images=[Image.fromarray(gray_levels(2))])
    return out.getvalue()


def test_another_format_of_a_chapter_does_not_stay_beside_the_new_one(library: Library) -> None:
    library.put("in/ep.pdf", pdf())
    library.run()
    assert (library.out / "ep.cbz").exists()
    assert library.run(replace=True, keep_format=True)["ep.pdf"].status == "done"
    assert (library.out / "ep.pdf").exists()
    assert not (library.out / "ep.cbz").exists()


def test_another_format_does_not_overwrite_what_somebody_else_put_there(library: Library) -> None:
    library.put("in/ep.pdf", pdf())
    library.run()
    library.put("out/ep.pdf", b"mine")
    assert library.run(replace=True, keep_format=True)["ep.pdf"].status == "failed"
    assert (library.out / "ep.pdf").read_bytes() == b"mine"
    assert (library.out / "ep.cbz").exists()


def test_a_folder_asks_whose_the_output_is(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another job has taken the folder over while this one ran."""
    from jobs.parts.colorize import stages

    library.put("in/ch/1.png", gray_page(1))
    postprocess = stages.Stages.postprocess

    def taken_over(self: stages.Stages, chunk: stages.Chunk) -> stages.Chunk:
        job = library.out / HOME / "job.json"
        job.write_text(job.read_text().replace(self.ledger.fingerprint, "c3" * 32))
        return postprocess(self, chunk)

    monkeypatch.setattr(stages.Stages, "postprocess", taken_over)
    refused = library.run()["ch"]
    assert refused.status == "failed"
    assert "taken over" in refused.message
    assert not (library.out / "ch").exists()
