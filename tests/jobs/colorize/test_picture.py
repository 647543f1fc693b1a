"""One picture as the source: it is coloured, kept or flagged as a page of a chapter is, and published as a picture."""

import io
from pathlib import Path

import pytest
from PIL import Image

from datasets.archive import find_chapters
from datasets.errors import BadUsageError
from datasets.storage import open_storage
from jobs.parts.colorize.hints import parse_hints
from jobs.parts.ledger.publication import _content_type
from jobs.parts.verify.check import check_row
from tests.archives import tarred, zipped
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


@pytest.mark.parametrize("out", ["in", "a link"])
@pytest.mark.parametrize("key", ["in/page.png", "in/page.jpg", "in/ch01.cbz"])
def test_a_file_is_not_coloured_into_its_own_folder(library: Library, key: str, out: str) -> None:
    """What lies there is the source. A page that is kept has its very bytes, so it would count as published here."""
    data = zipped({"1.png": color_page()}) if key.endswith(".cbz") else color_page()
    library.put(key, data)
    (library.home / "a link").symlink_to(library.home / "in")
    library.out = library.home / out
    with pytest.raises(BadUsageError, match="is the folder of --source"):
        library.run(key)
    assert (library.home / key).read_bytes() == data
    assert not (library.home / "in/_mangahue").exists()


def test_an_archive_that_becomes_another_may_lie_beside_it(library: Library) -> None:
    library.put("in/ch01.cbt", tarred({"1.png": gray_page(1)}))
    library.out = library.home / "in"
    assert library.run("in/ch01.cbt")["ch01.cbt"].output == "ch01.cbz"


def test_a_published_picture_is_verified(library: Library) -> None:
    library.put("in/page.png", gray_page(1))
    library.run("in/page.png")
    assert check_row({"rel": "page.png"}, ledger=library.ledger)["code"] == ""
    (library.out / "page.jpg").write_bytes(b"x")
    assert check_row({"rel": "page.png"}, ledger=library.ledger)["code"] == "SIZE"


@pytest.mark.parametrize(("name", "told"), [
    ("page.jpg", "image/jpeg"), ("page.png", "image/png"), ("ch01.pdf", "application/pdf"),
    ("ch01.cbz", "application/vnd.comicbook+zip"), ("ch01.zip", "application/vnd.comicbook+zip"),
])  # fmt: skip
def test_a_browser_is_told_what_it_is(name: str, told: str) -> None:
    assert _content_type(name) == told


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
