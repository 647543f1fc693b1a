"""Chapters as people keep them, on disk and on a real S3 server: found, opened, read, and written back."""

import io
import os
import random
import unicodedata
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.archive import ChapterRef, chapter_and_page, find_chapters, plain, write_zip
from datasets.chapters import Chapter, open_chapter
from datasets.errors import BadUsageError, ChapterUnreadableError, MangahueError, PageUnreadableError
from datasets.names import is_image
from datasets.storage import open_storage
from datasets.storage_disk import LocalStorage
from tests.archives import zipped


@pytest.fixture(params=["local", "s3"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of an empty folder, named 'series', on each kind of storage."""
    root = str(tmp_path) if request.param == "local" else request.getfixturevalue("s3")
    return f"{root}/series"


def fill(uri: str, files: Mapping[str, bytes]) -> None:
    storage = open_storage(uri)
    for key, data in files.items():
        storage.put(key, data)


def read(chapter: Chapter, name: str) -> bytes:
    """Return the bytes of the member with this name."""
    (member,) = (member for member in chapter.members if member.name == name)
    return chapter.read(member)


def found(uri: str) -> dict[str, ChapterRef]:
    refs = list(find_chapters(uri))
    assert len({ref.rel for ref in refs}) == len(refs)
    return {ref.rel: ref for ref in refs}


ONE = zipped({"1.jpg": b"page"})


def test_chapters_at_any_depth(source: str) -> None:
    fill(
        source,
        {
            "ep1.cbz": ONE,
            "volume 1/ep2.ZIP": ONE,
            "volume 1/ep3/1.jpg": b"a",
            "volume 1/ep3/2.png": b"b",
            "volume 1/ep3/extras/cover.webp": b"c",
            "volume 1/ep3/zz.jpg": b"d",
            "volume 1/ep3-colour/1.jpg": b"e",
            "volume 2/deep/er/1.avif": b"f",
            "volume 2/ep4.cbr": b"Rar!",
            "volume 2/notes/readme.txt": b"no chapter",
            "__MACOSX/volume 1/1.jpg": b"junk",
            "volume 2/._ep4.cbz": b"junk",
            "volume 2/junk/._1.jpg": b"junk",
        },
    )
    refs = found(source)
    assert {rel: ref.kind for rel, ref in refs.items()} == {
        "ep1.cbz": "archive",
        "volume 1/ep2.ZIP": "archive",
        "volume 1/ep3": "folder",
        "volume 1/ep3/extras": "folder",
        "volume 1/ep3-colour": "folder",
        "volume 2/deep/er": "folder",
        "volume 2/ep4.cbr": "archive",
    }
    assert refs["volume 1/ep3"].size == 3  # what lies deeper is another chapter
    assert refs["volume 1/ep2.ZIP"].name == "ep2"
    assert refs["volume 1/ep3"].name == "ep3"
    assert refs["ep1.cbz"].uri == f"{source}/ep1.cbz"
    chapter = open_chapter(refs["volume 1/ep3"])
    assert [page.name for page in chapter.pages] == ["1.jpg", "2.png", "zz.jpg"]
    assert read(chapter, "zz.jpg") == b"d"


def test_what_nas_bins_and_sync_leave_is_left_out_and_said_once(source: str, caplog: pytest.LogCaptureFixture) -> None:
    left = [
        "S/@eaDir/ep1.cbz/SYNOPHOTO_THUMB_M.jpg", "S/ep2/@eaDir/1.jpg/T.jpg", "#recycle/old.cbz", "@Recycle/2.jpg",
        "$RECYCLE.BIN/S-1/$R1.cbz", ".Trash-1000/files/1.jpg", "S/.stversions/ep1.cbz", "S/.@__thumb/1.jpg",
        ".yacreaderlibrary/covers/1.jpg", "lost+found/1.jpg", "S/.sync/1.rar",
    ]  # fmt: skip
    fill(source, {"S/ep1.cbz": ONE, "S/ep2/1.jpg": b"a", **dict.fromkeys(left, ONE)})
    with caplog.at_level("WARNING", "mangahue"):
        assert sorted(found(source)) == ["S/ep1.cbz", "S/ep2"]
    assert [record.getMessage().partition(" are left out")[0] for record in caplog.records] == [
        f"{len(left)} files of {source}"
    ]
    assert "'@eaDir'" in caplog.text


def test_a_bin_that_can_not_be_listed_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(str(tmp_path), {"ep1.cbz": ONE, "lost+found/1.jpg": b"a", "#recycle/1.jpg": b"a", "own/1.jpg": b"a"})
    kept = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name in ("lost+found", "#recycle", "own"):
            raise PermissionError(13, "Permission denied", str(path))
        return kept(path)

    monkeypatch.setattr(os, "scandir", refuse)
    refused: list[str] = []
    refs = list(find_chapters(str(tmp_path), lambda ref, error: refused.append(ref.rel)))
    assert [ref.rel for ref in refs] == ["ep1.cbz"]
    assert refused == ["own"]
    assert "2 files of" in caplog.text


def test_source_that_is_an_archive(source: str) -> None:
    fill(source, {"ep1.cbz": ONE, "ep2.cbz": ONE})
    (ref,) = find_chapters(f"{source}/ep1.cbz")
    assert (ref.rel, ref.kind, ref.size) == ("ep1.cbz", "archive", len(ONE))
    assert read(open_chapter(ref), "1.jpg") == b"page"
    assert ref.uri == f"{source}/ep1.cbz"
    assert ref.version == found(source)["ep1.cbz"].version  # the same chapter, however it was named


def test_source_that_is_a_folder_of_images(source: str) -> None:
    fill(source, {"1.jpg": b"a", "2.jpg": b"b", "ep1.cbz": ONE})
    refs = found(source)
    assert sorted(refs) == ["ep1.cbz", "series"]
    assert (refs["series"].key, refs["series"].kind, refs["series"].uri) == ("", "folder", source)
    chapter = open_chapter(refs["series"])
    assert [(member.name, member.index) for member in chapter.members] == [("1.jpg", 0), ("2.jpg", 1)]
    assert read(chapter, "2.jpg") == b"b"


def test_folder_named_like_its_source(source: str) -> None:
    fill(source, {"1.jpg": b"a", "series/1.jpg": b"b"})
    refs = list(find_chapters(source))
    assert len(refs) == 2
    assert len({ref.rel for ref in refs}) == 2


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_source_is_found_in_the_other_unicode_form(source: str, form: Literal["NFC", "NFD"]) -> None:
    mixed = f"{source}/\u30ac\u30f3/\u30bf\u3099"  # a part of each form
    fill(mixed, {"\u307b\u309a.cbz": ONE, "\xe9/1.jpg": b"a"})
    given = unicodedata.normalize(form, mixed)
    assert sorted(found(given)) == ["\xe9", "\u307b\u309a.cbz"]
    (ref,) = find_chapters(unicodedata.normalize(form, f"{mixed}/\u307d.cbz"))
    assert ref.uri == f"{mixed}/\u307b\u309a.cbz"
    assert read(open_chapter(ref), "1.jpg") == b"page"


def test_nothing_there(source: str) -> None:
    for uri in (source, f"{source}/ep1.cbz"):
        with pytest.raises(BadUsageError, match="does not exist"):
            list(find_chapters(uri))
    fill(source, {"notes.txt": b"no chapter"})
    assert list(find_chapters(source)) == []


def test_version_changes_with_the_content(source: str) -> None:
    fill(source, {"ep1.cbz": ONE, "ep2/1.jpg": b"a", "ep2/2.jpg": b"b", "ep3/1.jpg": b"a"})
    before = found(source)
    assert {rel: ref.version for rel, ref in found(source).items()} == {rel: ref.version for rel, ref in before.items()}
    fill(source, {"ep1.cbz": zipped({"1.jpg": b"PAGE"}), "ep2/2.jpg": b"c"})
    after = found(source)
    assert len(before["ep1.cbz"].version) > 0
    assert after["ep1.cbz"].version != before["ep1.cbz"].version
    assert after["ep2"].version != before["ep2"].version
    assert after["ep3"].version == before["ep3"].version
    fill(source, {"ep3/2.jpg": b"new"})
    assert found(source)["ep3"].version != after["ep3"].version


def test_members_keep_their_order_and_pages_are_read_in_natural_order(source: str) -> None:
    names = ["p10.jpg", "ComicInfo.xml", "p2.jpg", "extra/notes.txt", "p1.png", "sub/", "notes.txt"]
    fill(source, {"ep1.cbz": zipped({name: name.encode() for name in names})})
    chapter = open_chapter(found(source)["ep1.cbz"])
    assert [member.name for member in chapter.members] == [name for name in names if name != "sub/"]
    assert [page.name for page in chapter.pages] == ["p1.png", "p2.jpg", "p10.jpg"]
    assert [member.index for member in chapter.members] == [2, None, 1, None, 0, None]
    assert [chapter.read(member) for member in chapter.members] == [member.name.encode() for member in chapter.members]


def encrypted(data: bytes) -> bytes:
    """Return the archive with the bit of encryption set, in its local header and its directory."""
    marked = bytearray(data)
    marked[data.index(b"PK\x03\x04") + 6] |= 1
    marked[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(marked)


def nameless(data: bytes) -> bytes:
    """Return the archive without its member's name in the directory."""
    place = data.index(b"PK\x01\x02")
    length = int.from_bytes(data[place + 28 : place + 30], "little")
    end = data.index(b"PK\x05\x06")
    directory = data[place : place + 28] + b"\0\0" + data[place + 30 : place + 46] + data[place + 46 + length : end]
    size = len(directory).to_bytes(4, "little")
    return data[:place] + directory + data[end : end + 12] + size + data[end + 16 :]


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("ep.cbz", b"", "EMPTY"),
        ("ep.cbz", ONE[:-30], "CUT_OFF"),
        ("ep.cbz", b"<html>not found</html>", "BROKEN"),
        ("ep.cbz", nameless(ONE), "BROKEN"),
        ("ep.cbz", encrypted(ONE), "PASSWORD"),
        ("ep.zip", zipped({"readme.txt": b"x", "__MACOSX/1.jpg": b"x"}), "NO_PAGES"),
        ("ep.cbr", b"Rar!\x1a\x07\0", "BROKEN"),
        ("ep.PDF", b"%PDF-1.7", "BROKEN"),
    ],
    ids=["nothing", "cut off", "HTML", "nameless", "encrypted", "no pages", "RAR", "PDF"],
)
def test_chapters_that_can_not_be_read(source: str, name: str, data: bytes, code: str) -> None:
    fill(source, {name: data})
    with pytest.raises(ChapterUnreadableError) as caught:
        open_chapter(found(source)[name])
    assert caught.value.code == code


def test_damaged_member_is_told_and_its_neighbours_are_read(source: str) -> None:
    pages = {f"{i}.jpg": random.Random(i).randbytes(500) for i in range(3)}
    data = bytearray(zipped(pages, zipfile.ZIP_STORED))
    data[data.index(pages["1.jpg"]) + 100] ^= 0xFF
    fill(source, {"ep.cbz": bytes(data)})
    chapter = open_chapter(found(source)["ep.cbz"])
    with pytest.raises(PageUnreadableError) as caught:
        read(chapter, "1.jpg")
    assert caught.value.code == "READ"
    assert "1.jpg" in caught.value.message
    assert read(chapter, "2.jpg") == pages["2.jpg"]
    with pytest.raises(PageUnreadableError):
        read(open_chapter(found(source)["ep.cbz"]), "1.jpg")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_member_of_any_compression(tmp_path: Path, method: int) -> None:
    page = random.Random(0).randbytes(500) * 4
    data = bytearray(zipped({"1.jpg": page}, method))
    packed = zipfile.ZipFile(io.BytesIO(bytes(data))).infolist()[0].compress_size
    start = data.index(b"1.jpg") + 5
    data[start + 12 : start + packed - 12] = bytes([0x55]) * (packed - 24)
    fill(str(tmp_path), {"ep.cbz": bytes(data)})
    chapter = open_chapter(found(str(tmp_path))["ep.cbz"])
    with pytest.raises(PageUnreadableError, match="READ"):
        read(chapter, "1.jpg")


def test_page_that_went_away(source: str) -> None:
    fill(source, {"ep/1.jpg": b"a", "ep/2.jpg": b"b"})
    chapter = open_chapter(found(source)["ep"])
    open_storage(source).delete("ep/2.jpg")
    with pytest.raises(PageUnreadableError, match="READ"):
        read(chapter, "2.jpg")


_SEEDS = [zipped({"1.jpg": b"abcd" * 20, "2.png": bytes(90)}, m) for m in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]


@st.composite
def mutated(draw: Callable[..., Any]) -> bytes:
    data = bytearray(draw(st.sampled_from(_SEEDS)))
    for where, value in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=5)):
        data[where] = value
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])


@settings(max_examples=300)
@given(data=st.one_of(st.binary(max_size=100), mutated(), mutated()))
def test_any_bytes_are_a_chapter_or_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz" / "ep.cbz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    (ref,) = find_chapters(str(path))
    try:
        chapter = open_chapter(ref)
    except ChapterUnreadableError:
        return
    for member in chapter.members:
        with suppress(PageUnreadableError):
            assert isinstance(chapter.read(member), bytes)


def test_write_zip(tmp_path: Path) -> None:
    members = [("p10.jpg", b"ten"), ("ComicInfo.xml", b"<x/>"), ("p2.jpg", b"two"), ("カラー/1.jpg", b"one")]
    data = write_zip(iter(members))
    assert data is not None
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert [(info.filename, archive.read(info)) for info in archive.infolist()] == members
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None
    assert write_zip(members) == data
    assert write_zip(members, tmp_path / "out.cbz") is None
    assert (tmp_path / "out.cbz").read_bytes() == data
    assert write_zip(reversed(members)) != data


name = st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=60)
@given(members=st.dictionaries(name.map(lambda stem: stem + ".jpg"), st.binary(max_size=40), min_size=1, max_size=8))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, members: dict[str, bytes]) -> None:
    folder = tmp_path_factory.getbasetemp() / "written"
    folder.mkdir(exist_ok=True)
    write_zip(members.items(), folder / "ep.cbz")
    (ref,) = find_chapters(str(folder / "ep.cbz"))
    chapter = open_chapter(ref)
    assert [member.original for member in chapter.members] == list(members)
    assert {member.original: chapter.read(member) for member in chapter.members} == members
    assert sorted(page.index for page in chapter.pages if page.index is not None) == list(range(len(chapter.pages)))


def test_is_image() -> None:
    assert is_image("a/1.JPG")
    assert is_image("1.avif")
    assert not is_image("1.txt")
    assert not is_image("a/__MACOSX/1.jpg")
    assert not is_image("a/._1.jpg")
    assert not is_image("jpg")


def test_chapter_and_page() -> None:
    assert chapter_and_page("012_003") == ("12", "3")
    assert chapter_and_page("Side_Story_010") == ("side_story", "10")
    assert chapter_and_page("page 3") is None
    assert chapter_and_page("_3") is None
    assert chapter_and_page("ep1_cover") is None


@given(st.text(max_size=20))
def test_plain_is_stable(text: str) -> None:
    assert plain(plain(text)) == plain(text)


@given(st.integers(0, 10**6), st.integers(0, 5), st.sampled_from(["Ep ", "ch", "VOL.2 - "]))
def test_plain_forgets_leading_zeros_and_case(number: int, zeros: int, prefix: str) -> None:
    assert plain(f"{prefix}{'0' * zeros}{number}") == plain(f"{prefix.lower()}{number} ")
    assert plain(f"{prefix}{number}") != plain(f"{prefix}{number + 1}")


def test_opening_needs_no_whole_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(str(tmp_path), {"ep.cbz": ONE})
    ref = found(str(tmp_path))["ep.cbz"]

    def refuse(self: LocalStorage, key: str) -> bytes:
        raise AssertionError("the whole archive was read")

    monkeypatch.setattr(LocalStorage, "read", refuse)
    assert read(open_chapter(ref), "1.jpg") == b"page"


def test_storage_errors_stay_ours(tmp_path: Path) -> None:
    gone = ChapterRef(str(tmp_path), "gone.cbz", "gone.cbz", "archive", 10, "v")
    with pytest.raises(MangahueError, match=r"gone\.cbz"):
        open_chapter(gone)


def test_other_compressions_are_read(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        fill(str(tmp_path), {"ep.cbz": zipped({"1.jpg": b"page" * 50}, method)})
        assert read(open_chapter(found(str(tmp_path))["ep.cbz"]), "1.jpg") == b"page" * 50
