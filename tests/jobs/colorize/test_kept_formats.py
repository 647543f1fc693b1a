"""--keep-format: a PDF stays a PDF and an EPUB an EPUB, with new pictures and all else as it was."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pypdfium2
import pytest
from imagecodecs import jpegxl_encode
from PIL import Image

from datasets.page import decode
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.plan import output_of
from jobs.parts.colorize.tasks import CHUNK_MEMBERS, ChapterTask, Chunk
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.source.policy import Policy
from tests.archives import raw_zip
from tests.books import book, package, xhtml
from tests.jobs.colorize.chapters import SIZE, color_chapter, color_page, gray_levels, saved, stages_of, task_of
from tests.pdfs import FIRST, SHOWN, jpeg_object, made_pdf

KEPT = Policy(keep_format=True)
PAGE = '<img src="../Images/{}"/>'


def kept_task(folder: Path, name: str, data: bytes) -> ChapterTask:
    task = task_of(str(folder), {name: data}, KEPT)
    return replace(task, output=output_of(task.ref, keep_format=True))


def recoloured(folder: Path, name: str, data: bytes, settings: PageSettings | None = None) -> Manifest:
    """Take a chapter through the stages, with one colour for every page."""

    def one_colour(chunk: Chunk) -> Chunk:
        for page in chunk.pages:
            page.chroma = np.full((SIZE, SIZE, 2), 30, np.float16)
        return chunk

    return color_chapter(kept_task(folder, name, data), stages_of(folder, settings or PageSettings()), one_colour)


def in_colour(page: np.ndarray) -> bool:
    return bool(np.ptp(page.astype(int), axis=2).max() > 30)


def files_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


GRAY = {f"{kind}.{suffix}": saved(gray_levels(number), kind) for number, (kind, suffix) in enumerate(
    [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif"), ("BMP", "png"), ("PNG", "jpg")])}  # fmt: skip
TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}


def whole_book() -> bytes:
    pictures = {**GRAY, "colour.png": color_page()}
    items = {f"i{name}": (f"Images/{name}", TYPES[name.rpartition(".")[2]]) for name in pictures}
    documents = {f"p{name}": (f"Text/{name}.xhtml", "application/xhtml+xml") for name in pictures}
    documents["css"] = ("Text/css.xhtml", "application/xhtml+xml")
    documents["text"] = ("Text/text.xhtml", "application/xhtml+xml")
    files: dict[str, str | bytes] = {f"Text/{name}.xhtml": xhtml(PAGE.format(name)) for name in pictures}
    files["Text/css.xhtml"] = xhtml('<p style="background:url(../Images/behind.png)">&#160;</p>')
    files["Text/text.xhtml"] = xhtml("<p>The end</p>")
    files |= {f"Images/{name}": data for name, data in pictures.items()}
    files |= {"Images/behind.png": saved(gray_levels(9)), "font.ttf": b"\0font", "toc.ncx": "<ncx/>"}
    return book(files, package({**items, **documents}, [*documents, "pJPEG.jpg"]))


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp"])
def test_an_epub_stays_an_epub_with_new_pictures(tmp_path: Path, image_format: str) -> None:
    source = whole_book()
    manifest = recoloured(tmp_path, "ep.epub", source, PageSettings(image_format))  # type: ignore[arg-type]
    assert manifest.status == "done", manifest
    assert manifest.output == "ep.epub"
    assert [page.action for page in manifest.pages] == ["coloured"] * 6 + ["kept"] + ["coloured"] * 2
    made = (tmp_path / "out/ep.epub").read_bytes()
    assert (made[30:58], manifest.size) == (b"mimetypeapplication/epub+zip", len(made))
    before, after = files_of(source), files_of(made)
    assert list(before) == list(after)
    changed = {name for name in before if before[name] != after[name]}
    new = {f"OEBPS/Images/{name}" for name in [*GRAY, "behind.png"]}
    assert changed == {*new, "OEBPS/book.opf"}
    for name in new:
        assert in_colour(decode(after[name]))
        was, is_now = (Image.open(io.BytesIO(side[name])).format for side in (before, after))
        assert is_now == (was if was in ("JPEG", "PNG", "WEBP") else "PNG")
    gif = b'media-type="image/%s"'
    assert after["OEBPS/book.opf"] == before["OEBPS/book.opf"].replace(gif % b"gif", gif % b"png")
    for name in after:
        if name.endswith((".xhtml", ".opf", ".xml", ".ncx")):
            ElementTree.fromstring(after[name])


def test_a_picture_that_pillow_does_not_open_becomes_png(tmp_path: Path) -> None:
    items = {"p": ("Images/p.jxl", "image/jxl"), "d": ("Text/d.xhtml", "application/xhtml+xml")}
    files: dict[str, str | bytes] = {
        "Text/d.xhtml": xhtml(PAGE.format("p.jxl")),
        "Images/p.jxl": bytes(jpegxl_encode(gray_levels(1))),
    }
    manifest = recoloured(tmp_path, "ep.epub", book(files, package(items, ["d"])))
    assert (manifest.status, [page.action for page in manifest.pages]) == ("done", ["coloured"])
    after = files_of((tmp_path / "out/ep.epub").read_bytes())
    assert Image.open(io.BytesIO(after["OEBPS/Images/p.jxl"])).format == "PNG"
    assert in_colour(decode(after["OEBPS/Images/p.jxl"]))
    assert b'media-type="image/png"' in after["OEBPS/book.opf"]


def test_a_book_of_many_pages_is_assembled_from_its_chunks(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(CHUNK_MEMBERS + 3)]
    documents = {f"d{name}": (f"Text/{name}.xhtml", "application/xhtml+xml") for name in names}
    files: dict[str, str | bytes] = {f"Text/{name}.xhtml": xhtml(PAGE.format(name)) for name in names}
    files |= {f"Images/{name}": saved(gray_levels(number, 24, 20)) for number, name in enumerate(names)}
    files["Images/3.png"] = b"damaged"
    manifest = recoloured(tmp_path, "ep.epub", book(files, package(documents, list(documents))))
    assert (manifest.status, len(manifest.pages)) == ("partial", len(names))
    after = files_of((tmp_path / "out/ep.epub").read_bytes())
    assert after.pop("OEBPS/Images/3.png") == b"damaged"
    assert all(in_colour(decode(data)) for name, data in after.items() if name.endswith(".png"))


def test_names_times_and_comment_of_a_book_stay(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole_book())) as source, zipfile.ZipFile(out, "w") as made:
        made.comment = b"tags"
        for info in source.infolist():
            data = source.read(info).replace(b"PNG.png", "größe.png".encode())
            named = zipfile.ZipInfo(info.filename.replace("PNG.png", "größe.png"), (2001, 2, 3, 4, 5, 6))
            named.compress_type = zipfile.ZIP_STORED if info.filename == "mimetype" else zipfile.ZIP_BZIP2
            made.writestr(named, data)
    assert recoloured(tmp_path, "ep.epub", out.getvalue()).status == "done"
    with zipfile.ZipFile(tmp_path / "out/ep.epub") as archive:
        assert archive.comment == b"tags"
        assert {info.date_time for info in archive.infolist()} == {(2001, 2, 3, 4, 5, 6)}
        assert archive.namelist() == zipfile.ZipFile(out).namelist()
        assert in_colour(decode(archive.read("OEBPS/Images/größe.png")))
        assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED


def test_a_book_with_backslashes_in_its_names_unpacks_into_folders(tmp_path: Path) -> None:
    members = [(name.replace("/", "\\"), data) for name, data in files_of(whole_book()).items()]
    assert recoloured(tmp_path, "ep.epub", raw_zip([*members, ("OEBPS\\Fonts\\", b"")])).status == "done"
    made = files_of((tmp_path / "out/ep.epub").read_bytes())
    assert list(made) == list(files_of(whole_book()))
    assert in_colour(decode(made["OEBPS/Images/PNG.png"]))


def test_what_is_only_called_epub_is_refused(tmp_path: Path) -> None:
    manifest = recoloured(tmp_path, "ep.epub", saved(gray_levels()))
    assert (manifest.status, manifest.code) == ("quarantined", "BROKEN")


@pytest.mark.parametrize("image_format", ["jpeg", "png"])
def test_the_halves_of_a_spread_stay_halves_in_a_pdf(tmp_path: Path, image_format: str) -> None:
    left, right = (np.kron(gray_levels(seed), np.ones((4, 4), np.uint8)) for seed in (1, 2))
    wide = io.BytesIO()
    Image.fromarray(np.hstack([left, right])).save(wide, "JPEG", quality=95)
    content = b"q 320 0 0 224 0 0 cm /I Do Q"
    halves = [(b"/MediaBox [0 0 320 224] /CropBox [%d 0 %d 224] " % (x, x + 160) + SHOWN, content) for x in (0, 160)]
    source = made_pdf(halves, {FIRST: jpeg_object(wide.getvalue(), 320, 224)})
    manifest = recoloured(tmp_path, "ep.pdf", source, PageSettings(image_format))  # type: ignore[arg-type]
    assert manifest.status == "done", manifest
    made, before = pypdfium2.PdfDocument(tmp_path / "out/ep.pdf"), pypdfium2.PdfDocument(source)
    for number in (0, 1):
        assert made[number].get_cropbox() == before[number].get_cropbox()
        drawn = np.asarray(made[number].render(scale=1).to_pil().convert("RGB"))
        was = np.asarray(before[number].render(scale=1).to_pil().convert("L"))
        assert in_colour(drawn)
        assert np.abs(np.asarray(Image.fromarray(drawn).convert("L")).astype(int) - was).mean() < 16
