"""Chapters of every format, whole, hostile and broken; real archives of many programs where they are at hand."""

import io
import os
import random
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from datasets.archive import find_chapters
from datasets.chapters import Chapter, open_chapter
from datasets.chapters import unar as unar_module
from datasets.chapters.zipped import OpenedZip
from datasets.errors import ChapterUnreadableError, Code, MangahueError, MissingToolError, PageUnreadableError
from datasets.limits import Limits
from datasets.names import safe_name
from datasets.storage import open_storage
from tests.archives import encrypted_pdf, epub, overlapping, packed, rar5, rar5_encrypted, raw_zip, tarred, zipped

REAL = Path(os.environ.get("MANGAHUE_REAL_ARCHIVES", "/nonexistent"))  # a folder of archives that people have made
PAGES = {"p10.jpg": b"ten" * 400, "p2.jpg": b"two" * 300, "ComicInfo.xml": b"<ComicInfo/>", "sub/p1.png": b"one" * 200}


def opened(folder: Path, name: str, data: bytes, limits: Limits | None = None, *, salvage: bool = False) -> Chapter:
    (folder / name).write_bytes(data)
    (ref,) = find_chapters(str(folder / name))
    return open_chapter(ref, limits, salvage=salvage)


def refusal(folder: Path, name: str, data: bytes, limits: Limits | None = None) -> ChapterUnreadableError:
    with pytest.raises(ChapterUnreadableError) as caught:
        opened(folder, name, data, limits)
    return caught.value


def content(chapter: Chapter) -> dict[str, bytes]:
    return {member.name: chapter.read(member) for member in chapter.members}


def seven_zip(folder: Path, name: str, *options: str) -> bytes:
    """Return PAGES packed by 7-Zip."""
    for member, data in PAGES.items():
        (folder / "in" / member).parent.mkdir(parents=True, exist_ok=True)
        (folder / "in" / member).write_bytes(data)
    subprocess.run(["7z", "a", *options, str(folder / name), "."], cwd=folder / "in", check=True, capture_output=True)
    return (folder / name).read_bytes()


FORMATS: dict[str, Callable[[Path], bytes]] = {
    "ep.cbz": lambda folder: zipped(PAGES),
    "bzip2.cbz": lambda folder: zipped(PAGES, zipfile.ZIP_BZIP2),
    "lzma.cbz": lambda folder: zipped(PAGES, zipfile.ZIP_LZMA),
    "deflate64.zip": lambda folder: seven_zip(folder, "a.zip", "-tzip", "-mm=Deflate64"),
    "ppmd.zip": lambda folder: seven_zip(folder, "a.zip", "-tzip", "-mm=PPMd"),
    "ep.cbr": lambda folder: rar5(PAGES),
    "solid.rar": lambda folder: rar5(PAGES, solid=True),
    "ep.cb7": lambda folder: packed(PAGES, folder / "a.7z", "7zip"),
    "lzma2.7z": lambda folder: seven_zip(folder, "a.7z"),
    "ep.cbt": lambda folder: tarred(PAGES),
    "ep.tar.gz": lambda folder: tarred(PAGES, "w:gz"),
    "ep.tar.xz": lambda folder: tarred(PAGES, "w:xz"),
    "ep.tar.zst": lambda folder: packed(PAGES, folder / "a.tar.zst", "ustar", "zstd"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_gives_every_member(tmp_path: Path, name: str) -> None:
    chapter = opened(tmp_path, name, FORMATS[name](tmp_path))
    assert content(chapter) == PAGES
    assert [page.name for page in chapter.pages] == ["p2.jpg", "p10.jpg", "sub/p1.png"]
    for member in reversed(chapter.members):  # in any order
        assert chapter.read(member) == PAGES[member.name]


@pytest.mark.parametrize(
    ("name", "wanted"), [("ep.cbr", False), ("solid.rar", True), ("ep.cb7", True), ("ep.cbz", False)]
)
def test_whether_members_are_had_one_after_the_other_only(tmp_path: Path, name: str, wanted: bool) -> None:
    assert opened(tmp_path, name, FORMATS[name](tmp_path)).directory().sequential is wanted


@pytest.mark.parametrize("name", ["ep.cbr", "ep.cb7", "deflate64.zip"])
def test_archives_in_a_bucket(tmp_path: Path, s3: str, name: str) -> None:
    open_storage(s3).put(name, FORMATS[name](tmp_path))
    (ref,) = find_chapters(f"{s3}/{name}")
    assert content(open_chapter(ref)) == PAGES


@pytest.mark.parametrize(
    ("name", "made", "said"),
    [("ep.cbz", "ep.cbr", "named .cbz, and is RAR5"), ("ep.cbr", "ep.cbz", "named .cbr, and is ZIP"),
     ("ep.cbz", "ep.cb7", "named .cbz, and is 7z"), ("ep.cb7", "ep.cb7", "")],
)  # fmt: skip
def test_the_type_is_told_by_content(tmp_path: Path, name: str, made: str, said: str) -> None:
    chapter = opened(tmp_path, name, FORMATS[made](tmp_path))
    assert content(chapter) == PAGES
    assert [warning for warning in chapter.warnings if "named" in warning] == (
        [f"{said}: read as what it is"] if said else []
    )


def test_links_and_devices_are_left_out_and_said(tmp_path: Path) -> None:
    chapter = opened(tmp_path, "ep.cbt", tarred(PAGES))
    assert list(content(chapter)) == list(PAGES)
    assert any(all(name in warning for name in ("link.jpg", "hard.jpg", "null.jpg")) for warning in chapter.warnings)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("1.jpg", b"page")
        link = zipfile.ZipInfo("passwd.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    chapter = opened(tmp_path, "ep.cbz", out.getvalue())
    assert content(chapter) == {"1.jpg": b"page"}
    assert any("passwd.jpg" in warning for warning in chapter.warnings)


def test_what_systems_leave_behind_is_left_out_and_said(tmp_path: Path) -> None:
    junk = ["__MACOSX/._1.jpg", "._1.jpg", "Thumbs.db", "a/.DS_Store", "@eaDir\\1.jpg"]
    chapter = opened(tmp_path, "ep.cbz", zipped({"1.jpg": b"page", **dict.fromkeys(junk, b"junk")}))
    assert list(content(chapter)) == ["1.jpg"]
    assert all(repr(name) in chapter.warnings[0] for name in junk)


@pytest.mark.parametrize("name", ["ep.cbz", "ep.cbr", "ep.cb7", "ep.cbt"])
def test_thumbnails_of_a_nas_are_no_pages_of_any_format(tmp_path: Path, name: str) -> None:
    pages = {"1.jpg": b"page", "@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg": b"thumbnail", ".sync/1.jpg": b"old"}
    makers = {"ep.cbz": zipped, "ep.cbr": rar5, "ep.cbt": tarred, "ep.cb7": lambda m: packed(m, tmp_path / "a", "7zip")}
    chapter = opened(tmp_path, name, makers[name](pages))
    assert content(chapter) == {"1.jpg": b"page"}
    assert any("SYNOPHOTO_THUMB_M" in warning for warning in chapter.warnings)


def test_a_chapter_of_nothing_else_tells_what_was_left_out(tmp_path: Path) -> None:
    error = refusal(tmp_path, "ep.cbz", zipped({".hack/1.jpg": b"page"}))
    assert error.code == Code.NO_PAGES
    assert ".hack/1.jpg" in error.message


@pytest.mark.parametrize("says_utf8", [True, False])
def test_names_that_are_no_utf_8(tmp_path: Path, says_utf8: bool) -> None:
    data = zipped({"ä1.jpg": b"first", "2.jpg": b"second"}, zipfile.ZIP_STORED)  # the one name is marked as UTF-8
    data = data.replace("ä1.jpg".encode(), b"\xff\xfe1.jpg")
    if not says_utf8:
        data = data.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x08", b"PK\x01\x02\x14\x03\x14\x00\x00\x00")
        data = data.replace(b"PK\x03\x04\x14\x00\x00\x08", b"PK\x03\x04\x14\x00\x00\x00")
    chapter = opened(tmp_path, "ep.cbz", data)
    assert sorted(content(chapter).values()) == [b"first", b"second"]
    assert [safe_name(member.name) for member in chapter.members] == [member.name for member in chapter.members]


# Bad chapters.


@pytest.mark.parametrize(
    ("name", "made", "code"),
    [
        ("nothing.cbr", lambda folder: b"", Code.EMPTY),
        ("nothing.pdf", lambda folder: b"", Code.EMPTY),
        ("volume.cbr", lambda folder: rar5(PAGES, volume=True), Code.VOLUME),
        ("headers.cbr", lambda folder: rar5_encrypted(), Code.PASSWORD),
        ("secret.7z", lambda folder: seven_zip(folder, "a.7z", "-psecret"), Code.PASSWORD),
        ("headers.7z", lambda folder: seven_zip(folder, "a.7z", "-psecret", "-mhe=on"), Code.PASSWORD),
        ("secret.cbz", lambda folder: seven_zip(folder, "a.zip", "-tzip", "-psecret"), Code.PASSWORD),
        ("secret.pdf", lambda folder: encrypted_pdf(), Code.PASSWORD),
        ("locked.epub", lambda folder: epub({"1.png": b"page"}, drm=True), Code.DRM),
        ("no-container.epub", lambda folder: zipped({"mimetype": b"application/epub+zip", "1.png": b"x"}), Code.BROKEN),
        ("junk.cbr", lambda folder: b"Rar!\x1a\x07\x00 and so on", Code.BROKEN),
        ("half.7z", lambda folder: packed(PAGES, folder / "a.7z", "7zip")[:100], Code.BROKEN),
        ("html.cbz", lambda folder: b"<html>403 Forbidden</html>", Code.BROKEN),
        ("html.epub", lambda folder: b"<html>403 Forbidden</html>", Code.BROKEN),
        ("bomb.cbz", lambda folder: overlapping(bytes(5000), 10), Code.LIMIT),
        ("nested.zip", lambda folder: zipped({"1.cbz": zipped(PAGES), "2.cbz": b""}), Code.LIMIT),
        ("text.cbz", lambda folder: zipped({"a.txt": b"text"}), Code.NO_PAGES),
        ("text.cbt", lambda folder: tarred({"a.txt": b"text"}), Code.NO_PAGES),
    ],
)  # fmt: skip
def test_a_bad_chapter_is_refused_by_its_code(
    tmp_path: Path, name: str, made: Callable[[Path], bytes], code: Code
) -> None:
    error = refusal(tmp_path, name, made(tmp_path))
    assert error.code == code
    assert error.message


@pytest.mark.parametrize(
    ("limits", "option"),
    [
        (Limits(members=3), "--max-members"),
        (Limits(member_bytes=1000), "--max-member-mb"),
        (Limits(unpacked_bytes=2000), "--max-unpacked-mb"),
    ],
)
@pytest.mark.parametrize("name", ["ep.cbz", "ep.cbr", "ep.cb7", "ep.cbt"])
def test_limits_are_kept_and_named(tmp_path: Path, name: str, limits: Limits, option: str) -> None:
    error = refusal(tmp_path, name, FORMATS[name](tmp_path), limits)
    assert error.code == Code.LIMIT
    assert option in error.message


def test_a_bomb_is_told_by_its_ratio(tmp_path: Path) -> None:
    bomb = zipped({f"{i}.jpg": bytes(30 * 2**20) for i in range(3)})
    assert len(bomb) < 2**20
    assert "--max-ratio" in refusal(tmp_path, "ep.cbz", bomb).message
    assert opened(tmp_path, "ep.cbz", bomb, Limits(ratio=2000)).members


def listing_again(data: bytes, numbers: list[int]) -> bytes:
    """Return the archive with these entries of its directory listed once more."""
    opened = zipfile.ZipFile(io.BytesIO(data))
    opened.filelist += [opened.filelist[number] for number in numbers]
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as archive:
        archive.filelist[:] = opened.filelist
        archive._didModify = True  # type: ignore[attr-defined]
    return out.getvalue()


@pytest.mark.parametrize(
    "numbers", [[0], [3], [1, 1], [0, 1, 2, 3], [2] * 500, [0, 1, 2, 3] * 3], ids=lambda numbers: str(numbers)[:20]
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_listed_again_at_its_place_is_read_once(tmp_path: Path, numbers: list[int], method: int) -> None:
    data = listing_again(zipped(PAGES, method), numbers)
    assert len(zipfile.ZipFile(io.BytesIO(data)).infolist()) == 4 + len(numbers)
    chapter = opened(tmp_path, "ep.cbz", data, Limits(members=5))
    assert content(chapter) == PAGES
    assert [member.name for member in chapter.members] == list(PAGES)


def test_a_member_listed_again_is_read_by_other_programs_too(tmp_path: Path) -> None:
    data = listing_again(seven_zip(tmp_path, "a.zip", "-tzip", "-mm=PPMd"), [0, 1])
    assert content(opened(tmp_path, "ep.cbz", data)) == PAGES


def test_a_book_whose_directory_lists_members_twice_is_read(tmp_path: Path) -> None:
    data = listing_again(epub({"1.png": b"page"}), [0, 2, 3])
    assert content(opened(tmp_path, "ep.epub", data)) == {"0001 1.png": b"page"}


def test_one_place_under_two_names_is_still_a_bomb(tmp_path: Path) -> None:
    assert refusal(tmp_path, "ep.cbz", overlapping(bytes(5000), 2)).code == Code.LIMIT


def test_the_comment_of_an_archive_is_its_own(tmp_path: Path) -> None:
    tags = b'{"ComicBookInfo/1.0":{"series":"S"}}'
    assert opened(tmp_path, "ep.cbz", raw_zip([("1.png", b"x")], tags)).directory().comment == tags
    assert opened(tmp_path, "ep.cbr", rar5({"1.png": b"x"}, comment=tags)).directory().comment == tags
    assert opened(tmp_path, "ep.cb7", packed(PAGES, tmp_path / "a", "7zip")).directory().comment == b""
    for tags in (b"x" * 70_000, b"PK\x05\x06" + bytes(30)):  # a ZIP can't have them
        directory = opened(tmp_path, "ep.cbr", rar5({"1.png": b"x"}, comment=tags)).directory()
        assert (directory.comment, len(directory.warnings)) == (b"", 1)


@pytest.mark.parametrize("inner", ["1.cbz", "vol/2.CBR", "3.pdf", "4.tar.gz", "5.part1.rar", "6.7z", "7.epub"])
@pytest.mark.parametrize("made", [zipped, tarred, rar5], ids=["zip", "tar", "rar"])
def test_archives_in_an_archive_are_told(tmp_path: Path, inner: str, made: Callable[[dict[str, bytes]], bytes]) -> None:
    error = refusal(tmp_path, "ep.cbt", made({inner: b"inner", "b.cbz": b"inner"}))
    assert error.code == Code.LIMIT
    assert f"{inner!r} and 1 more" in error.message
    assert "unpack it one level, into a folder of its name: then each is a chapter" in error.message
    chapter = opened(tmp_path, "ep.cbt", made({inner: b"inner", "1.jpg": b"page"}))
    assert content(chapter) == {inner: b"inner", "1.jpg": b"page"}
    assert (
        sum("unpack it one level to colour them" in warning and inner in warning for warning in chapter.warnings) == 1
    )


def test_a_cut_off_zip_that_is_encrypted_is_told_when_it_is_opened(tmp_path: Path) -> None:
    data = seven_zip(tmp_path, "a.zip", "-tzip", "-psecret")
    assert refusal(tmp_path, "ep.cbz", data).code == Code.PASSWORD
    assert refusal(tmp_path, "ep.cbz", data[:-60]).code == Code.PASSWORD
    (ref,) = find_chapters(str(tmp_path / "ep.cbz"))
    with pytest.raises(ChapterUnreadableError, match="PASSWORD"):
        open_chapter(ref, salvage=True)


def test_a_tar_whose_first_file_is_a_pdf_is_a_tar(tmp_path: Path) -> None:
    document = pdf(Image.effect_noise((20, 30), 60))
    assert content(opened(tmp_path, "ep.cbt", tarred({"a.pdf": document, **PAGES}))) == {"a.pdf": document, **PAGES}
    assert refusal(tmp_path, "ep.tar", tarred({"a.pdf": document, "b.pdf": document})).code == Code.LIMIT


def test_a_cut_off_zip_tells_what_could_be_saved(tmp_path: Path) -> None:
    pages = {f"{i}.jpg": random.Random(i).randbytes(4000) for i in range(5)}
    whole = zipped(pages)
    data = whole[: whole.index(b"3.jpg") + 2000]
    error = refusal(tmp_path, "ep.cbz", data)
    assert error.code == Code.CUT_OFF
    assert "3 of its pages" in error.message
    assert "--salvage" in error.message

    chapter = opened(tmp_path, "ep.cbz", data, salvage=True)
    assert "3 whole pages" in chapter.damage
    *saved, last = chapter.members
    assert {member.name: chapter.read(member) for member in saved} == dict(list(pages.items())[:3])
    with pytest.raises(PageUnreadableError):
        chapter.read(last)
    assert pages["3.jpg"].startswith(chapter.salvage(last))


@pytest.mark.parametrize("name", ["ep.cbz", "ep.cbr", "ep.cb7"])
def test_a_flipped_bit_is_noticed(tmp_path: Path, name: str) -> None:
    page = random.Random(0).randbytes(3000)
    makers = {"ep.cbz": lambda m: zipped(m, zipfile.ZIP_STORED), "ep.cbr": rar5,
              "ep.cb7": lambda m: packed(m, tmp_path / "a.7z", "7zip")}  # fmt: skip
    data = bytearray(makers[name]({"1.jpg": page, "2.jpg": page[::-1]}))
    place = data.find(page[1000:1100])
    place = place if place > 0 else 400  # 7z: somewhere in the packed stream
    data[place] ^= 1
    chapter = opened(tmp_path, name, bytes(data))
    with pytest.raises(PageUnreadableError) as caught:
        content(chapter)
    assert caught.value.code == Code.READ
    if name == "ep.cbr":
        assert len(chapter.salvage(chapter.members[0])) == len(page)


def test_without_unar_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = seven_zip(tmp_path, "a.zip", "-tzip", "-mm=Deflate64")
    monkeypatch.setattr(unar_module.shutil, "which", lambda name: None)
    chapter = opened(tmp_path, "ep.cbz", data)
    with pytest.raises(MissingToolError, match="apt-get install unar"):
        content(chapter)


# PDF and EPUB.


def pdf(*pages: Image.Image) -> bytes:
    out = io.BytesIO()
    pages[0].save(out, "PDF", save_all=True, append_images=pages[1:])
    return out.getvalue()


def test_a_pdf_of_pictures_gives_those_very_pictures(tmp_path: Path) -> None:
    noise = Image.effect_noise((120, 180), 60)
    data = pdf(noise, noise.rotate(180))
    chapter = opened(tmp_path, "ep.pdf", data)
    assert [member.name for member in chapter.members] == ["0001.jpg", "0002.jpg"]
    for picture in content(chapter).values():
        assert picture in data  # the bytes as they stand in the file
        assert Image.open(io.BytesIO(picture)).size == (120, 180)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real archives here")
def test_a_pdf_of_text_is_drawn() -> None:
    (ref,) = find_chapters(str(REAL / "test_pdf.pdf"))
    chapter = open_chapter(ref)
    page = Image.open(io.BytesIO(chapter.read(chapter.members[1])))
    assert chapter.members[1].name == "0002.png"
    assert min(page.size) > 1000  # 200 dpi
    low, high = page.convert("L").getextrema()
    assert low < 100 < high  # type: ignore[operator]


def test_a_pdf_with_a_huge_page_is_drawn_smaller(tmp_path: Path) -> None:
    box = b"[0 0 14400 14400]"
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
               b"<</Type/Page/Parent 2 0 R/MediaBox" + box + b">>"]  # fmt: skip
    body = b"%PDF-1.4\n" + b"".join(b"%d 0 obj%sendobj\n" % (n, text) for n, text in enumerate(objects, 1))
    chapter = opened(tmp_path, "ep.pdf", body + b"trailer<</Root 1 0 R/Size 4>>")
    width, height = Image.open(io.BytesIO(chapter.read(chapter.members[0]))).size
    assert width * height <= 41_000_000


def test_a_pdf_that_says_it_has_a_hundred_thousand_pages_is_refused(tmp_path: Path) -> None:
    body = (b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
            b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 100000>>endobj\n"
            b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R/Size 4>>")  # fmt: skip
    assert refusal(tmp_path, "ep.pdf", body).code == Code.LIMIT


def test_an_epub_gives_its_pictures_in_the_order_of_the_spine(tmp_path: Path) -> None:
    pages = {"z.png": b"first", "a.png": b"second", "m.png": b"third"}
    chapter = opened(tmp_path, "ep.epub", epub(pages))
    assert content(chapter) == {"0001 z.png": b"first", "0002 a.png": b"second", "0003 m.png": b"third"}


def test_an_epub_whose_xml_is_without_measure_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.chapters.epub.DefusedXMLParser", lambda **options: pytest.fail("it was parsed"))
    with zipfile.ZipFile(tmp_path / "made", "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("mimetype", b"application/epub+zip", zipfile.ZIP_STORED)
        book.writestr("META-INF/container.xml", b"<container>" + b"<a/>" * 2**23 + b"</container>")
    error = refusal(tmp_path, "ep.epub", (tmp_path / "made").read_bytes())
    assert error.code == Code.LIMIT
    assert "META-INF/container.xml" in error.message


def test_of_a_long_document_of_an_epub_the_beginning_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    kept = OpenedZip.read

    def counted(self: OpenedZip, *arguments: Any) -> bytes:
        data = kept(self, *arguments)
        read.append(len(data))
        return data

    monkeypatch.setattr(OpenedZip, "read", counted)
    book = zipfile.ZipFile(io.BytesIO(epub({"1.png": b"page"})))
    members = {name: book.read(name) for name in book.namelist()}
    members["OPS/p0.xhtml"] += bytes(12 * 2**20)
    chapter = opened(tmp_path, "ep.epub", zipped(members, zipfile.ZIP_STORED))
    page, rest = chapter.pages
    assert chapter.read(page) == b"page"
    with pytest.raises(PageUnreadableError) as caught:
        chapter.read(rest)
    assert caught.value.code == Code.LIMIT
    assert max(read) == 4 * 2**20 + 1


def test_a_picture_that_an_epub_lacks_keeps_its_place(tmp_path: Path) -> None:
    pages = {"z.png": b"first", "a.png": b"second", "m.png": b"third"}
    chapter = opened(tmp_path, "ep.epub", epub(pages, absent=("a.png",)))
    assert len(chapter.pages) == 3
    with pytest.raises(PageUnreadableError) as caught:
        chapter.read(chapter.pages[1])
    assert caught.value.code == Code.MISSING
    assert chapter.read(chapter.pages[2]) == b"third"


@pytest.mark.skipif(not REAL.is_dir(), reason="no real archives here")
@pytest.mark.parametrize(
    ("name", "pages", "kind"),
    [("rar4.rar", 3, "PNG"), ("rar5.rar", 1, "PNG"), ("7zip.7z", 1, "PNG"),
     ("Captain Science #001-cix-cbi.cbr", 5, "JPEG"),
     ("Captain Science #001.cb7", 5, "JPEG"), ("page-blanche.epub", 6, "JPEG")],
)  # fmt: skip
def test_real_archives_of_many_programs(name: str, pages: int, kind: str) -> None:
    (ref,) = find_chapters(str(REAL / name))
    chapter = open_chapter(ref)
    assert len(chapter.pages) >= pages
    for page in chapter.pages:
        assert Image.open(io.BytesIO(chapter.read(page))).format == kind


def test_errors_are_ours(tmp_path: Path) -> None:
    (tmp_path / "ep.cbr").write_bytes(FORMATS["ep.cbr"](tmp_path))
    (ref,) = find_chapters(str(tmp_path / "ep.cbr"))
    (tmp_path / "ep.cbr").unlink()
    with pytest.raises(MangahueError):
        open_chapter(ref)
