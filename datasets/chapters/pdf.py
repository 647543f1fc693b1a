"""PDF files as chapters: a page that is one JPEG picture gives that picture, and any other page is rendered."""

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image

from datasets.archive import ChapterRef
from datasets.chapters.base import Chapter, Listed, Member, encrypted, unreadable
from datasets.chapters.streamed import Watched
from datasets.errors import ChapterUnreadableError, Code
from datasets.limits import Limits
from datasets.storage import Storage

_DPI = 200  # of rendered pages that have no picture to go by
_MOST_PIXELS = 40_000_000  # of a rendered page: A4 at 650 dpi; a larger page is rendered smaller
_POINTS = 72  # points per inch
_COVERS = 0.98  # share of its page that a picture must cover to be the page
_BITS = 24  # per pixel of RGB
_DAMAGED = (pypdfium2.PdfiumError, ValueError)  # the binding decodes names that may be no UTF-8


@dataclass(frozen=True)
class _Sheet:
    """A page of a PDF.

    number: from 0.
    scale: pixels per point; 0 where the page is a JPEG.
    """

    number: int
    scale: float


class PdfChapter(Chapter):
    """A PDF file; its pages are in reading order."""

    ordered = True

    def __init__(self, storage: Storage, ref: ChapterRef, limits: Limits) -> None:
        self._file = Watched(storage.open(ref.key))
        self._document = _open(self._file)
        count = len(self._document)
        if count > limits.members:
            raise ChapterUnreadableError(Code.LIMIT, f"{count} pages, over {limits.members}; see --max-members")
        looked = [self._look(number) for number in range(count)]
        self._file.check()
        super().__init__(looked, limits)

    def _look(self, number: int) -> Listed:
        scale = _DPI / _POINTS
        size = 0
        try:
            page = self._document[number]
            width, height = page.get_size()
            pictures = list(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE]))
            if jpeg := _only_jpeg(page, pictures, width, height):
                scale, size = 0.0, len(jpeg)
            else:
                scale = _scale(pictures, width, height)
            page.close()
        except _DAMAGED:
            pass  # `read` reports it
        suffix = ".png" if scale else ".jpg"
        return Listed(f"{number + 1:04d}{suffix}", size, _Sheet(number, scale))

    def read(self, member: Member) -> bytes:
        sheet: _Sheet = self.token(member)
        try:
            page = self._document[sheet.number]
            if not sheet.scale:
                picture = next(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE]))
                data = bytes(picture.get_data(decode_simple=False))
                self._file.check()
                return data
            image = page.render(scale=sheet.scale).to_pil()
            page.close()
        except (*_DAMAGED, StopIteration, MemoryError) as error:
            self._file.check()
            raise unreadable(member, error) from error
        self._file.check()  # a part that could not be read is left out of the drawing, without an error
        out = io.BytesIO()
        image.save(out, "PNG", compress_level=1)
        return out.getvalue()

    def close(self) -> None:
        self._document.close()
        self._file.close()


def _only_jpeg(page: Any, pictures: list[Any], width: float, height: float) -> bytes:
    """Return the JPEG that a page is; b"" where it is not just that."""
    if len(pictures) != 1 or pdfium.FPDFPage_CountObjects(page) != 1 or page.get_rotation():
        return b""
    (picture,) = pictures
    left, bottom, right, top = picture.get_bounds()
    covers = max(0.0, right - left) * max(0.0, top - bottom) >= _COVERS * width * height
    matrix = picture.get_matrix()
    upright = abs(matrix.b) < 1e-3 and abs(matrix.c) < 1e-3 and matrix.a > 0 and matrix.d > 0
    if not (covers and upright and picture.get_filters() == ["DCTDecode"] and not _masked(picture)):
        return b""
    return bytes(picture.get_data(decode_simple=False))


def _masked(picture: Any) -> bool:
    """Return whether a picture has transparency, or is stored in other colours than gray or RGB.

    Viewers invert such colours.
    """
    if pdfium.FPDFPageObj_HasTransparency(picture):
        return True
    metadata = picture.get_metadata()
    return metadata.bits_per_pixel > _BITS or metadata.colorspace in (
        pdfium.FPDF_COLORSPACE_DEVICECMYK, pdfium.FPDF_COLORSPACE_INDEXED, pdfium.FPDF_COLORSPACE_SEPARATION,
        pdfium.FPDF_COLORSPACE_DEVICEN, pdfium.FPDF_COLORSPACE_PATTERN,
    )  # fmt: skip


def _scale(pictures: list[Any], width: float, height: float) -> float:
    """Return pixels per point: as many as the finest picture has that matters, within bounds."""
    scale = _DPI / _POINTS
    for picture in pictures:
        left, bottom, right, top = picture.get_bounds()
        if (right - left) * (top - bottom) < 0.25 * width * height:
            continue
        columns, _ = picture.get_px_size()
        scale = max(scale, columns / max(1.0, right - left))
    area = max(1.0, width * height)
    return min(scale, math.sqrt(_MOST_PIXELS / area))


def recolor(source: BinaryIO, pictures: Mapping[int, bytes], out: Path) -> None:
    """Write the PDF with some pages replaced by pictures.

    source: the PDF.
    pictures: encoded, by the page's number from 0; a JPEG goes in as it is.
    out: the file to write.

    Outline, labels, metadata and all other pages stay. Pages keep their size. Raises ChapterUnreadableError where the
    source is not a PDF, StorageError where it can't be read.
    """
    with _opened(source) as document:
        for number, data in pictures.items():
            page = document[number]
            width, height = page.get_size()
            for thing in list(page.get_objects(max_depth=1)):
                page.remove_obj(thing)
            page.set_rotation(0)
            for set_box in (page.set_mediabox, page.set_cropbox):
                set_box(0, 0, width, height)
            picture = pypdfium2.PdfImage.new(document)
            with Image.open(io.BytesIO(data)) as image:
                if image.format == "JPEG":
                    picture.load_jpeg(io.BytesIO(data), inline=True)
                else:
                    picture.set_bitmap(pypdfium2.PdfBitmap.from_pil(image.convert("RGB")))
            picture.set_matrix(pypdfium2.PdfMatrix().scale(width, height))
            page.insert_obj(picture)
            page.gen_content()
            page.close()
        with out.open("wb") as file:
            document.save(file)


def jpegs_of(source: BinaryIO) -> list[bytes]:
    """Return, for each page, the JPEG that it is; b"" for a page that is not just a JPEG.

    Raises ChapterUnreadableError, StorageError.
    """
    with _opened(source) as document:
        found = []
        for page in document:
            pictures = list(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE]))
            found.append(_only_jpeg(page, pictures, *page.get_size()))
            page.close()
        return found


@contextmanager
def _opened(source: BinaryIO) -> Iterator[Any]:
    """Yield a PDF. What is made of it while storage fails is lost: StorageError."""
    watched = Watched(source)
    try:
        with closing(_open(watched)) as document:
            yield document
    finally:
        watched.check()


def _open(file: Watched) -> Any:
    try:
        return pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        file.check()
        if error.err_code == pdfium.FPDF_ERR_PASSWORD:
            raise encrypted() from error
        raise ChapterUnreadableError(Code.BROKEN, f"not a whole PDF file: {error}") from error
