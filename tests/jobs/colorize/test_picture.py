"""One picture as the source: it is coloured, kept or flagged as a page of a chapter is, and published as a picture."""

import io
from pathlib import Path

import pytest
from PIL import Image

from datasets.archive import find_chapters
from datasets.errors import BadUsageError
from datasets.storage import open_storage
from jobs.parts.colorize.hints import parse_hints
from jobs.parts.verify.check import check_row
from tests.jobs.colorize.chapters import color_page, gray_page
from tests.jobs.colorize.library import Library


@pytest.fixture
def library(tmp_path: Path, model: Path) -> Library:
    return Library(tmp_path, model)


def written(library: Library) -> list[str]:
    keys = [entry.key for entry in open_storage(str(library.out)).list()]
    return sorted(key for key in keys if not key.startswith("_mangahue/"))


def test_a_gray_picture_is_coloured(library: Library) -> None:
    library.put("in/page.png", gray_page(1))
    library.put("in/beside.png", gray_page(2))
    manifest = library.run("in/page.png")["page.png"]
    assert (manifest.status, manifest.output) == ("done", "page.jpg")
    assert written(library) == ["page.jpg"]
    with Image.open(io.BytesIO((library.out / "page.jpg").read_bytes())) as page:
        assert (page.format, page.mode, page.size) == ("JPEG", "RGB", (40, 56))
    library.run("in/page.png")
    assert library.computed == set()


def test_a_picture_in_colour_keeps_its_name_and_bytes(library: Library) -> None:
    library.put("in/page.png", color_page())
    assert library.run("in/page.png")["page.png"].output == "page.png"
    assert (library.out / "page.png").read_bytes() == color_page()


def test_a_broken_picture_is_flagged(library: Library) -> None:
    library.put("in/page.png", gray_page(1)[:60])
    manifest = library.run("in/page.png")["page.png"]
    assert (manifest.status, manifest.output, manifest.pages[0].action) == ("partial", "page.png", "flagged")


def test_a_picture_that_changes_is_done_again_and_leaves_nothing_behind(library: Library) -> None:
    library.put("in/page.png", color_page())
    library.run("in/page.png")
    library.put("in/page.png", gray_page(1))
    assert library.run("in/page.png")["page.png"].output == "page.jpg"
    assert written(library) == ["page.jpg"]


def test_a_picture_of_somebody_else_is_not_overwritten(library: Library) -> None:
    library.put("in/page.png", gray_page(1))
    library.put("out/page.jpg", b"of somebody else")
    assert library.run("in/page.png")["page.png"].status == "failed"
    assert (library.out / "page.jpg").read_bytes() == b"of somebody else"


def test_a_published_picture_is_verified(library: Library) -> None:
    library.put("in/page.png", gray_page(1))
    library.run("in/page.png")
    assert check_row({"rel": "page.png"}, ledger=library.ledger)["code"] == ""
    (library.out / "page.jpg").write_bytes(b"x")
    assert check_row({"rel": "page.png"}, ledger=library.ledger)["code"] == "SIZE"


def test_hints_name_a_picture_by_its_name(library: Library) -> None:
    hints = parse_hints(b"page,x,y,radius,colour\npage.png,1,2,3,red\n", "hints.csv")
    (chapter,) = hints.by_chapter(["page.png"]).values()
    assert list(chapter.by_page) == ["page.png"]
    with pytest.raises(BadUsageError, match=r"page.png.* lies in no chapter"):
        hints.by_chapter(["ch01.cbz"])


@pytest.mark.parametrize("name", ["nothing.png", "folder.png"])
def test_a_name_of_a_picture_may_be_none(tmp_path: Path, name: str) -> None:
    """A folder may have such a name too."""
    open_storage(str(tmp_path)).put("folder.png/1.png", gray_page(1))
    if name == "folder.png":
        assert [ref.kind for ref in find_chapters(str(tmp_path / name))] == ["folder"]
        return
    with pytest.raises(BadUsageError, match="does not exist"):
        list(find_chapters(str(tmp_path / name)))
