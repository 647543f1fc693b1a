"""Pages told by their first bytes: in folders, in archives of each kind, alone; and what that costs."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagecodecs import jpegxl_encode, jpegxl_encode_jpeg

from datasets.archive import find_chapters
from datasets.chapters import open_chapter
from datasets.errors import AccessDeniedError, BadUsageError, ChapterUnreadableError, PageUnreadableError, StorageError
from datasets.names import is_image, may_be_image
from datasets.page import decode
from datasets.signatures import HEAD_BYTES, picture_format
from datasets.storage import open_storage
from datasets.storage_disk import LocalStorage
from tests.archives import packed, rar5, tarred, zipped
from tests.pictures import mpo, ramp, saved
from tests.s3_recording import record, recorded

LEVELS = ramp()
JPEG, PNG = saved(LEVELS, "JPEG"), saved(LEVELS)
BOXES = b"\0\0\0\x1cftyp%b\0\0\0\0mif1miafMA1B"
PICTURES = {
    "JPEG": [JPEG, mpo(LEVELS, LEVELS), b"\xff\xd8\xff\xdb"],
    "PNG": [PNG],
    "GIF": [saved(LEVELS, "GIF")],
    "WEBP": [saved(LEVELS, "WEBP")],
    "BMP": [saved(LEVELS, "BMP")],
    "TIFF": [saved(LEVELS, "TIFF"), saved(LEVELS, "TIFF", big_tiff=True), b"MM\0*\0\0\0\x08"],
    "AVIF": [saved(LEVELS, "AVIF"), BOXES % b"avif", BOXES % b"avis"],
    "PPM": [saved(LEVELS, "PPM"), b"P5\n# made by hand\n48 32\n255\n", b"P1 8 8 "],
    "JPEG2000": [saved(LEVELS, "JPEG2000"), saved(LEVELS, "JPEG2000", no_jp2=True)],
    "JPEG XL": [
        bytes(jpegxl_encode(LEVELS)),
        bytes(jpegxl_encode_jpeg(JPEG)),
        b"\xff\x0a\xfa\x7f\x01",
        b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ",
    ],
    "JPEG XR": [b"II\xbc\x01\x20\0\0\0"],
    "HEIC": [BOXES % b"heic", b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc"],
}
NO_PICTURES = [
    b"", b"\xff", b"\xff\xd8", b"BM", b"BM is a firm, and this a note", b"P5", b"P5 is a page", b"PK\x03\x04", b"II*",
    b"GIF88a", b"%PDF-1.7", b"Rar!\x1a\x07\x00", b"<html>", b"RIFF\0\0\0\0WAVEfmt ", b"8BPS",
    b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
]  # fmt: skip


@pytest.mark.parametrize("wanted", PICTURES)
def test_every_format_is_told(wanted: str) -> None:
    assert [picture_format(data[:HEAD_BYTES]) for data in PICTURES[wanted]] == [wanted] * len(PICTURES[wanted])


@pytest.mark.parametrize("data", NO_PICTURES)
def test_what_is_no_picture(data: bytes) -> None:
    assert picture_format(data[:HEAD_BYTES]) == ""


@given(st.binary(max_size=HEAD_BYTES))
def test_any_bytes_have_a_format_or_none(head: bytes) -> None:
    assert picture_format(head) in {*PICTURES, ""}


NAMES = ["1.jpg_large", "1.jpg!t800", "1", "page 1", "Vol. 1", "1.img", "1.jpg~", "1.jpg-orig", "1.dat", "a/b.c/001"]
KNOWN = ["1.jpg", "1.JFIF", "1.jpe", "1.jp2", "1.jxl", "1.heic"]
OTHERS = [
    "ComicInfo.xml",
    "notes.TXT",
    "ep.cbz",
    "ep.r00",
    "ep.z01",
    ".nomedia",
    "._1",
    "__MACOSX/1",
    "a/Thumbs.db",
    "1.psd",
]


def test_only_names_that_leave_it_open_are_asked() -> None:
    assert [name for name in NAMES if not may_be_image(name) or is_image(name)] == []
    assert [name for name in KNOWN if may_be_image(name) or not is_image(name)] == []
    assert [name for name in OTHERS if may_be_image(name) or is_image(name)] == []


MAKERS: dict[str, Callable[[dict[str, bytes], Path], bytes]] = {
    "ep.cbz": lambda members, _: zipped(members),
    "stored.cbz": lambda members, _: zipped(members, zipfile.ZIP_STORED),
    "ep.cbr": lambda members, _: rar5(members),
    "solid.cbr": lambda members, _: rar5(members, solid=True),
    "ep.cb7": lambda members, folder: packed(members, folder / "made", "7zip"),
    "ep.cbt": lambda members, _: tarred(members),
    "ep.tar.gz": lambda members, _: tarred(members, "w:gz"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_pages_of_any_name_in_any_archive(tmp_path: Path, kind: str) -> None:
    others = {"LICENSE": b"no picture", "ComicInfo.xml": b"<ComicInfo/>", "empty": b"", "short": b"\xff"}
    members = {"z.jpg": PNG} | dict.fromkeys(NAMES, JPEG) | others
    (tmp_path / kind).write_bytes(MAKERS[kind](members, tmp_path))
    (ref,) = find_chapters(str(tmp_path / kind))
    chapter = open_chapter(ref)
    assert {page.original for page in chapter.pages} == {"z.jpg", *NAMES}
    assert {member.original for member in chapter.members} == set(members)
    for page in chapter.pages:
        assert chapter.read(page) == members[page.original]


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("name", ["1.jfif", "1", "1.jpg_large"])
def test_archives_of_nothing_else(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / kind).write_bytes(MAKERS[kind]({name: JPEG, "2" + name: JPEG}, tmp_path))
    (ref,) = find_chapters(str(tmp_path / kind))
    assert [page.name for page in open_chapter(ref).pages] == [name, "2" + name]


def test_a_cut_archive(tmp_path: Path) -> None:
    data = zipped({"1": JPEG, "2.jpg!t800": PNG, "notes.txt": JPEG * 9}, zipfile.ZIP_STORED)
    (tmp_path / "ep.cbz").write_bytes(data[: data.index(JPEG * 9) + 900])
    (ref,) = find_chapters(str(tmp_path / "ep.cbz"))
    with pytest.raises(ChapterUnreadableError, match="2 of its pages are whole"):
        open_chapter(ref)
    assert [page.name for page in open_chapter(ref, salvage=True).pages] == ["1", "2.jpg!t800"]


def test_an_archive_of_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "ep.cbz").write_bytes(zipped({"1": b"text", "2.dat": b"\0" * 90}))
    (ref,) = find_chapters(str(tmp_path))
    with pytest.raises(ChapterUnreadableError, match="NO_PAGES"):
        open_chapter(ref)


@pytest.fixture(params=["local", "s3"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    root = str(tmp_path) if request.param == "local" else request.getfixturevalue("s3")
    return f"{root}/series"


def fill(uri: str, files: dict[str, bytes]) -> None:
    for key, data in files.items():
        open_storage(uri).put(key, data)


@pytest.mark.parametrize("name", NAMES + KNOWN)
def test_folders_of_nothing_else(source: str, name: str) -> None:
    fill(source, {f"ep/{name}": JPEG, "notes/LICENSE": b"no picture", "notes/empty": b""})
    (ref,) = find_chapters(source)
    assert (ref.kind, f"{ref.rel}/{name.rpartition('/')[2]}") == ("folder", f"ep/{name}")
    assert [page.original for page in open_chapter(ref).pages] == [name.rpartition("/")[2]]


def test_pages_of_any_name_in_a_folder(source: str) -> None:
    names = [name for name in NAMES if "/" not in name]
    fill(source, dict.fromkeys(names, JPEG) | {"z.png": PNG, "LICENSE": b"text", "notes.txt": JPEG})
    (ref,) = find_chapters(source)
    assert (ref.key, ref.rel) == ("", "series")
    assert {page.name for page in open_chapter(ref).pages} == {*names, "z.png"}


@pytest.mark.parametrize("name", ["page", "page.jpg_large", "page.jpg!t800"])
def test_a_picture_alone(source: str, name: str) -> None:
    fill(source, {name: JPEG, f"{name}.txt": b"text"})
    (ref,) = find_chapters(f"{source}/{name}")
    assert (ref.kind, ref.rel) == ("picture", name)
    chapter = open_chapter(ref)
    assert [chapter.read(page) for page in chapter.pages] == [JPEG]
    for nothing in (f"{name}.txt", f"{name}-gone"):
        with pytest.raises(BadUsageError):
            list(find_chapters(f"{source}/{nothing}"))


ORDINARY = {
    "ep1.cbz": zipped({"1.jpg": JPEG, "2.png": PNG, "ComicInfo.xml": b"<ComicInfo/>"}),
    "ep2/1.jpg": JPEG,
    "ep2/2.webp": JPEG,
    "ep2/LICENSE": b"beside pages that are known by their names",
    "ep2/.nomedia": b"",
    "ep3.pdf": b"%PDF-1.7",
    "cover.jpg": JPEG,
    "series.json": b"{}",
    "info/notes.txt": b"text",
    "info/Thumbs.db": b"junk",
}


def test_planning_an_ordinary_library_asks_for_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: str
) -> None:
    for root in (str(tmp_path), s3):
        fill(f"{root}/series", ORDINARY)
    asked: list[tuple[str, str]] = []
    for name in ("stat", "read", "read_range", "open"):
        real = getattr(LocalStorage, name)

        def note(self: LocalStorage, key: str, *more: Any, name: str = name, real: Callable = real) -> Any:
            asked.append((name, key))
            return real(self, key, *more)

        monkeypatch.setattr(LocalStorage, name, note)
    assert len(list(find_chapters(f"{tmp_path}/series"))) == 4
    assert asked == []
    log = tmp_path / "requests"
    record(str(log))
    assert len(list(find_chapters(f"{s3}/series"))) == 4
    assert {request.operation for request in recorded(log)} == {"ListObjectsV2"}
    fill(f"{tmp_path}/series", {"ep4/1": JPEG, "ep4/2": JPEG, "info/LICENSE": b"text"})
    assert len(list(find_chapters(f"{tmp_path}/series"))) == 5
    assert [key for name, key in asked if name == "read_range"] == ["ep4/1", "info/LICENSE"]  # up to the first page


def test_opening_an_ordinary_chapter_reads_no_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(str(tmp_path), {key: data for key, data in ORDINARY.items() if key != "ep2/LICENSE"})
    refs = {ref.rel: ref for ref in find_chapters(str(tmp_path))}
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("a member was read"))
    assert len(open_chapter(refs["ep1.cbz"]).pages) == 2
    monkeypatch.setattr(LocalStorage, "read_range", lambda *_: pytest.fail("a file was read"))
    assert len(open_chapter(refs["ep2"]).pages) == 2


def test_a_file_that_can_not_be_asked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(str(tmp_path), {"ep1/1": JPEG, "ep2.cbz": zipped({"1.jpg": JPEG})})

    def refuse(self: LocalStorage, key: str, start: int, length: int) -> bytes:
        raise AccessDeniedError(f"{key}: refused")

    monkeypatch.setattr(LocalStorage, "read_range", refuse)
    told: dict[str, Exception] = {}
    assert [ref.rel for ref in find_chapters(str(tmp_path), lambda ref, error: told.update({ref.rel: error}))] == [
        "ep2.cbz"
    ]
    assert [type(error) for error in told.values()] == [AccessDeniedError]
    with pytest.raises(StorageError, match="refused"):
        list(find_chapters(str(tmp_path)))


def page_formats() -> Iterator[tuple[str, bytes]]:
    for name, made in PICTURES.items():
        yield from ((name, data) for data in made if len(data) > HEAD_BYTES)


@pytest.mark.parametrize(
    ("name", "data"), list(page_formats()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_is_told_is_decoded(name: str, data: bytes) -> None:
    assert decode(data).shape == (*LEVELS.shape, 3)


@pytest.mark.parametrize("name", ["JPEG XR", "HEIC"])
def test_what_is_not_read_is_flagged(name: str) -> None:
    for data in PICTURES[name]:
        with pytest.raises(PageUnreadableError, match=f"{name} of a kind that is not read; save it as PNG") as caught:
            decode(data + bytes(200))
        assert caught.value.code == "UNSUPPORTED"
