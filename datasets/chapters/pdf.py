"""PDF files as chapters: a page that shows one JPEG as it is gives that JPEG, and any other page is drawn.

PDF 32000-1:2008 has the terms: boxes in 14.11.2, images in 8.9, clip paths in 8.5.4.
"""

import ctypes
import io
import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image

from datasets.archive import ChapterRef
from datasets.chapters.base import Chapter, Listed, Member, encrypted, unreadable
from datasets.chapters.streamed import Watched
from datasets.errors import ChapterUnreadableError, Code, PageUnreadableError
from datasets.limits import Limits
from datasets.page import decode
from datasets.storage import Storage
from imaging.color import U8

_DPI = 200  # of rendered pages that have no picture to go by
_MOST_PIXELS = 40_000_000  # of a rendered page: A4 at 650 dpi; a larger page is rendered smaller
_POINTS = 72  # points per inch
_EDGE = 0.005  # share of the page's side by which a picture's edge may miss the page's
_PLAIN = (
    pdfium.FPDF_COLORSPACE_DEVICEGRAY, pdfium.FPDF_COLORSPACE_DEVICERGB, pdfium.FPDF_COLORSPACE_CALGRAY,
    pdfium.FPDF_COLORSPACE_CALRGB, pdfium.FPDF_COLORSPACE_ICCBASED,
)  # fmt: skip
_UNSEEN = (pdfium.FPDF_ANNOT_LINK, pdfium.FPDF_ANNOT_POPUP)  # annotations that nothing is drawn of
_COMPARED = 256  # pixels of the shorter side at which a JPEG is compared with the drawing of its page
_AT_EDGES = 24  # levels by which a pixel may leave the range of its neighbours
_DIFFER = 0.01  # share of the pixels that may leave it further
_OPAQUE = 250  # levels of 255 by which a picture covers its page, but for its edges
_SAME = 3.4  # levels by which the mean of a sixteenth of the page may differ
_MATTERS = 0.25  # share of its page that a picture must cover for the page to be drawn as fine as it is
_DAMAGED = (pypdfium2.PdfiumError, ValueError)  # the binding decodes names that may be no UTF-8


@dataclass(frozen=True)
class _Sheet:
    """A page of a PDF.

    number: from 0.
    scale: pixels per point, if it is drawn.
    is_jpeg: whether it has the name of a JPEG.
    """

    number: int
    scale: float
    is_jpeg: bool


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
            scale = _scale(page)
            size = len(_only_jpeg(page))
            page.close()
        except _DAMAGED:
            pass  # `read` reports it
        return Listed(f"{number + 1:04d}{'.jpg' if size else '.png'}", size, _Sheet(number, scale, bool(size)))

    def read(self, member: Member) -> bytes:
        sheet: _Sheet = self.token(member)
        try:
            page = self._document[sheet.number]
            jpeg = _jpeg_of(next(page.get_objects(max_depth=1))) if sheet.is_jpeg else b""
            shown = bool(jpeg) and _shows(page, jpeg)
            image = None if shown else page.render(scale=sheet.scale).to_pil()
            page.close()
        except (*_DAMAGED, StopIteration, MemoryError) as error:
            self._file.check()
            raise unreadable(member, error) from error
        self._file.check()  # a part that could not be read is left out of the drawing, without an error
        return jpeg if image is None else _encoded(image, sheet)

    def close(self) -> None:
        self._document.close()
        self._file.close()


def _encoded(image: Any, sheet: _Sheet) -> bytes:
    """Return a drawn page, as the name that it has says."""
    out = io.BytesIO()
    if sheet.is_jpeg:
        image.convert("RGB").save(out, "JPEG", quality=95, subsampling=0)
    else:
        image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _only_jpeg(page: Any) -> bytes:
    """Return the JPEG that fills a page, upright and by itself; b"" for any other page."""
    picture = _only_object(page)
    if picture is None or page.get_rotation() or picture.get_filters() != ["DCTDecode"]:
        return b""
    if not (_fills(picture, page.get_bbox()) and _plain(picture) and _unclipped(picture) and _unmarked(page)):
        return b""
    return _jpeg_of(picture)


def _jpeg_of(picture: Any) -> bytes:
    """Return a picture's data as they are in the file."""
    return bytes(picture.get_data(decode_simple=False))


def _only_object(page: Any) -> Any:
    """Return the picture that is all of a page's content; None where there is other content, or none."""
    things = list(itertools.islice(page.get_objects(max_depth=1), 2))
    return things[0] if len(things) == 1 and things[0].type == pdfium.FPDF_PAGEOBJ_IMAGE else None


def _fills(picture: Any, box: tuple[float, float, float, float]) -> bool:
    """Return whether a picture lies upright on just what is shown of its page.

    box: left, bottom, right, top of what is shown, in points.
    """
    left, bottom, right, top = box
    matrix = picture.get_matrix()
    slack_x, slack_y = _EDGE * (right - left), _EDGE * (top - bottom)
    across = (matrix.e - left, matrix.e + matrix.a - right, matrix.c)
    along = (matrix.f - bottom, matrix.f + matrix.d - top, matrix.b)
    return all(abs(gap) <= slack_x for gap in across) and all(abs(gap) <= slack_y for gap in along)


def _plain(picture: Any) -> bool:
    """Return whether a picture is opaque, in gray or RGB."""
    metadata = picture.get_metadata()
    opaque = not pdfium.FPDFPageObj_HasTransparency(picture)
    return opaque and metadata.bits_per_pixel in (8, 24) and metadata.colorspace in _PLAIN


def _unclipped(picture: Any) -> bool:
    """Return whether all clip paths of a picture are rectangles around it."""
    clip = pdfium.FPDFPageObj_GetClipPath(picture)
    left, bottom, right, top = picture.get_bounds()
    slack_x, slack_y = _EDGE * (right - left), _EDGE * (top - bottom)
    for path in range(max(0, pdfium.FPDFClipPath_CountPaths(clip))):
        points = {_point(clip, path, number) for number in range(pdfium.FPDFClipPath_CountPathSegments(clip, path))}
        across, along = {x for x, _ in points}, {y for _, y in points}
        if not len(points) == len(across) * len(along) == 4:
            return False
        if min(across) > left + slack_x or max(across) < right - slack_x:
            return False
        if min(along) > bottom + slack_y or max(along) < top - slack_y:
            return False
    return True


def _point(clip: Any, path: int, number: int) -> tuple[float, float]:
    x, y = ctypes.c_float(), ctypes.c_float()
    segment = pdfium.FPDFClipPath_GetPathSegment(clip, path, number)
    if not pdfium.FPDFPathSegment_GetPoint(segment, x, y):
        raise pypdfium2.PdfiumError("a clip path can't be read")
    return round(x.value, 2), round(y.value, 2)


def _unmarked(page: Any) -> bool:
    """Return whether no annotation is drawn on a page."""
    for number in range(pdfium.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium.FPDFPage_GetAnnot(page, number)
        kind = pdfium.FPDFAnnot_GetSubtype(annotation)
        pdfium.FPDFPage_CloseAnnot(annotation)
        if kind not in _UNSEEN:
            return False
    return True


def _shows(page: Any, jpeg: bytes) -> bool:
    """Return whether a page shows a JPEG as it is read here.

    Only the drawing tells some of that: /Decode, a mask, a colour space other than the JPEG's, a rotation in its EXIF
    data, a layer that is switched off. Both are compared small, where two ways to make a picture smaller differ at
    edges. The page is drawn on nothing, so that holes in the picture are seen whatever their colour.
    """
    try:
        read = decode(jpeg, hint=2 * _COMPARED)
    except PageUnreadableError:
        return True  # it is flagged as it came
    side = min(_COMPARED, *read.shape[:2])
    scale = side / min(page.get_size())
    with_holes = np.asarray(page.render(scale=scale, fill_color=(255, 255, 255, 0)).to_pil().convert("RGBA"))
    drawn, margin = with_holes[..., :3], 2 + math.ceil(_EDGE * max(with_holes.shape))
    if with_holes[margin:-margin, margin:-margin, 3].min(initial=255) < _OPAQUE:
        return False
    read = cv2.resize(read, drawn.shape[1::-1], interpolation=cv2.INTER_AREA)
    around = np.ones((3, 3), np.uint8)
    below, above = cv2.subtract(cv2.erode(read, around), drawn), cv2.subtract(drawn, cv2.dilate(read, around))
    differ = (cv2.max(below, above) > _AT_EDGES).any(axis=2)
    return bool(differ.mean() <= _DIFFER and np.abs(_tones(drawn) - _tones(read)).max() <= _SAME)


def _tones(picture: U8) -> np.ndarray:
    """Return the mean levels (4, 4, 3) of a picture's parts."""
    return cv2.resize(picture.astype(np.float32), (4, 4), interpolation=cv2.INTER_AREA)


def _scale(page: Any) -> float:
    """Return pixels per point: as many as the finest picture has that matters, within bounds."""
    scale = _DPI / _POINTS
    left, bottom, right, top = page.get_bbox()
    area = max(1.0, (right - left) * (top - bottom))
    for picture in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE]):
        matrix = _on_page(picture)
        across, along = zip(*(matrix.on_point(x, y) for x, y in itertools.product((0, 1), repeat=2)), strict=True)
        width = min(right, max(across)) - max(left, min(across))
        height = min(top, max(along)) - max(bottom, min(along))
        if width > 0 and height > 0 and width * height >= _MATTERS * area:
            columns, rows = picture.get_px_size()
            scale = max(scale, columns / max(1.0, math.hypot(matrix.a, matrix.b)))
            scale = max(scale, rows / max(1.0, math.hypot(matrix.c, matrix.d)))
    return min(scale, math.sqrt(_MOST_PIXELS / area))


def _on_page(picture: Any) -> Any:
    """Return the matrix from a picture's unit square to the page, through the forms that it lies in."""
    matrix, form = picture.get_matrix(), picture.container
    while form is not None:
        matrix, form = matrix.multiply(form.get_matrix()), form.container
    return matrix


def recolor(source: BinaryIO, pictures: Mapping[int, bytes], out: Path) -> None:
    """Write the PDF with some pages replaced by pictures.

    source: the PDF.
    pictures: encoded, by the page's number from 0; a JPEG goes in as it is.
    out: the file to write.

    Outline, labels, metadata and all other pages stay. Pages keep their boxes and their rotation.
    Raises ChapterUnreadableError where the source is not a PDF, StorageError where it can't be read.
    """
    with _opened(source) as document:
        for number, data in pictures.items():
            page = document[number]
            for thing in list(page.get_objects(max_depth=1)):
                page.remove_obj(thing)
            picture = pypdfium2.PdfImage.new(document)
            with Image.open(io.BytesIO(data)) as image:
                if image.format == "JPEG":
                    picture.load_jpeg(io.BytesIO(data), inline=True)
                else:
                    picture.set_bitmap(pypdfium2.PdfBitmap.from_pil(image.convert("RGB")))
            picture.set_matrix(_upright(page))
            page.insert_obj(picture)
            page.gen_content()
            page.close()
        with out.open("wb") as file:
            document.save(file)


def _upright(page: Any) -> Any:
    """Return the matrix under which a picture fills what is shown of a page, and is seen upright."""
    left, bottom, right, top = page.get_bbox()
    width, height = right - left, top - bottom
    turned = {
        0: (width, 0, 0, height, left, bottom), 90: (0, height, -width, 0, right, bottom),
        180: (-width, 0, 0, -height, right, top), 270: (0, -height, width, 0, left, top),
    }  # fmt: skip
    return pypdfium2.PdfMatrix(*turned[page.get_rotation()])


def jpegs_of(source: BinaryIO) -> list[bytes]:
    """Return, for each page, the JPEG that is all its content; b"" for a page that has another content.

    Raises ChapterUnreadableError, StorageError.
    """
    with _opened(source) as document:
        found = []
        for page in document:
            picture = _only_object(page)
            is_jpeg = picture is not None and picture.get_filters() == ["DCTDecode"]
            found.append(_jpeg_of(picture) if is_jpeg else b"")
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
