"""PDF pages of one picture: as it came where the page shows it so, drawn where it does not; and pages replaced."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets.archive import find_chapters
from datasets.chapters import open_chapter
from datasets.chapters.pdf import jpegs_of, recolor
from datasets.page import decode
from tests.pdfs import FIRST, SHOWN, jpeg_object, made_pdf, stream, written

W, H = 160, 224
WHOLE = b"q 160 0 0 224 0 0 cm /I Do Q"
BOX = b"/MediaBox [0 0 160 224] "


def levels(seed: int = 0) -> np.ndarray:
    """A picture (H, W) no part of which looks like another, or like itself turned or flipped."""
    coarse = np.random.default_rng(seed).integers(30, 226, (14, 10)).astype(np.uint8)
    return np.kron(coarse, np.ones((16, 16), np.uint8))


def as_jpeg(picture: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=95, **options)
    return out.getvalue()


PICTURE = levels()
JPEG = as_jpeg(PICTURE)
PLAIN = {FIRST: jpeg_object(JPEG, W, H)}


def pages_of(folder: Path, data: bytes) -> list[bytes]:
    (folder / "ep.pdf").write_bytes(data)
    (ref,) = find_chapters(str(folder / "ep.pdf"))
    chapter = open_chapter(ref)
    pages = [chapter.read(member) for member in chapter.members]
    for member, page in zip(chapter.members, pages, strict=True):
        assert Image.open(io.BytesIO(page)).format == {"jpg": "JPEG", "png": "PNG"}[member.name[-3:]]
    chapter.close()
    return pages


def looks(page: bytes | np.ndarray, wanted: np.ndarray) -> bool:
    """Whether a page looks like a picture (H, W), of any size."""
    shown = decode(page)[..., 0] if isinstance(page, bytes) else page
    small = [cv2.resize(side.astype(np.float32), (20, 28), interpolation=cv2.INTER_AREA) for side in (shown, wanted)]
    return bool(np.abs(small[0] - small[1]).mean() < 8)


ON = np.full((H, W), 255, np.uint8)  # an empty page


def laid(x: int, y: int, picture: np.ndarray) -> np.ndarray:
    """A picture on an empty page, its upper left corner at x, y."""
    page = ON.copy()
    page[y : y + len(picture), x : x + picture.shape[1]] = picture
    return page


def cut(keep: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """The picture where `keep` of x and y, upwards from the page's lower left corner, is true."""
    y, x = np.mgrid[H - 1 : -1 : -1, 0:W]
    return np.where(keep(x, y), PICTURE, 255).astype(np.uint8)


HALF = cv2.resize(PICTURE, (W // 2, H // 2), interpolation=cv2.INTER_AREA)
FORM = stream(b"/Type /XObject /Subtype /Form /BBox [0 0 999 999] /Matrix [.5 0 0 .5 0 0] " + SHOWN, WHOLE)
TURNED = stream(b"/Type /XObject /Subtype /Form /BBox [0 0 999 999] " + SHOWN, b"q 0 224 -160 0 160 0 cm /I Do Q")
FORMED = BOX + b"/Resources << /XObject << /F 101 0 R >> >>"
HOLE = stream(
    b"/Type /XObject /Subtype /Image /Width 2 /Height 1 /BitsPerComponent 8 /ColorSpace /DeviceGray", b"\xff\0"
)
SMALL_HOLE = stream(
    b"/Type /XObject /Subtype /Image /Width 160 /Height 224 /BitsPerComponent 8 /ColorSpace /DeviceGray",
    np.where((cut(lambda x, y: (x < 40) | (x >= 45) | (y < 60) | (y >= 65)) == 255), 0, 255).astype(np.uint8).tobytes(),
)
FAINT = BOX + b"/Resources << /XObject << /I 100 0 R >> /ExtGState << /G << /ca .5 >> >> >>"
HIDDEN = b"/OCProperties << /OCGs [102 0 R] /D << /OFF [102 0 R] >> >>"
STAMP = b"/Annots [<< /Type /Annot /Subtype /Stamp /F 4 /Rect [40 60 120 160] /AP << /N 103 0 R >> >>]"
INK = stream(b"/Type /XObject /Subtype /Form /BBox [0 0 80 100]", b"0 g 0 0 80 100 re f")
SPOT = cut(lambda x, y: (x < 40) | (x >= 120) | (y < 60) | (y >= 160))
SPOT[SPOT == 255] = 0

# name: (entries, content, other objects, what a viewer shows)
OTHERWISE: dict[str, tuple[bytes, bytes, dict[int, bytes], np.ndarray]] = {
    "left half": (BOX + b"/CropBox [0 0 80 224] " + SHOWN, WHOLE, {}, PICTURE[:, :80]),
    "right half": (BOX + b"/CropBox [80 0 160 224] " + SHOWN, WHOLE, {}, PICTURE[:, 80:]),
    "a strip cut off": (BOX + b"/CropBox [0 16 160 224] " + SHOWN, WHOLE, {}, PICTURE[:-16]),
    "media box in the picture": (b"/MediaBox [32 32 112 144] " + SHOWN, WHOLE, {}, PICTURE[80:192, 32:112]),
    "crop box over the media box": (b"/MediaBox [0 0 80 112] /CropBox [-9 -9 300 300] " + SHOWN, WHOLE, {},
                                    PICTURE[112:, :80]),
    "off the page": (BOX + SHOWN, b"q 160 0 0 224 200 0 cm /I Do Q", {}, ON),
    "half off the page": (BOX + SHOWN, b"q 160 0 0 224 80 0 cm /I Do Q", {}, laid(80, 0, PICTURE[:, :80])),
    "negative": (BOX + SHOWN, WHOLE, {100: jpeg_object(JPEG, W, H, b"/Decode [1 0]")}, 255 - PICTURE),
    "darker": (BOX + SHOWN, WHOLE, {100: jpeg_object(JPEG, W, H, b"/Decode [0 .8]")}, (PICTURE * 0.8).astype(np.uint8)),
    "lighter": (BOX + SHOWN, WHOLE, {100: jpeg_object(JPEG, W, H, b"/Decode [.2 1]")},
                (51 + PICTURE * 0.8).astype(np.uint8)),
    "soft mask": (BOX + SHOWN, WHOLE, {100: jpeg_object(JPEG, W, H, b"/SMask 101 0 R"), 101: HOLE},
                  cut(lambda x, y: x < 80)),
    "small hole": (BOX + SHOWN, WHOLE, {100: jpeg_object(JPEG, W, H, b"/SMask 101 0 R"), 101: SMALL_HOLE},
                   cut(lambda x, y: (x < 40) | (x >= 45) | (y < 60) | (y >= 65))),
    "colour key": (BOX + SHOWN, WHOLE, {100: jpeg_object(JPEG, W, H, b"/Mask [0 255]")}, ON),
    "clipped by a triangle": (BOX + SHOWN, b"q 0 0 m 160 0 l 0 224 l h W n 160 0 0 224 0 0 cm /I Do Q", {},
                              cut(lambda x, y: x / W + y / H < 1)),
    "clipped by a rectangle": (BOX + SHOWN, b"q 0 0 80 224 re W n 160 0 0 224 0 0 cm /I Do Q", {},
                               cut(lambda x, y: x < 80)),
    "clipped twice": (BOX + SHOWN, b"q 0 0 160 224 re W n 0 112 160 112 re W n 160 0 0 224 0 0 cm /I Do Q", {},
                      cut(lambda x, y: y >= 112)),
    "turned page": (BOX + b"/Rotate 90 " + SHOWN, WHOLE, {}, np.rot90(PICTURE, -1)),
    "upside down": (BOX + SHOWN, b"q -160 0 0 -224 160 224 cm /I Do Q", {}, np.rot90(PICTURE, 2)),
    "mirrored": (BOX + SHOWN, b"q -160 0 0 224 160 0 cm /I Do Q", {}, PICTURE[:, ::-1]),
    "smaller than the page": (BOX + SHOWN, b"q 80 0 0 112 0 0 cm /I Do Q", {}, laid(0, 112, HALF)),
    "in a smaller form": (FORMED, b"/F Do", {101: FORM}, laid(0, 112, HALF)),
    "in a form that is cropped": (FORMED + b"/CropBox [0 0 80 112]", b"/F Do", {101: FORM}, HALF),
    "in a turned form": (b"/MediaBox [0 0 160 224] /Resources << /XObject << /F 101 0 R >> >>", b"/F Do",
                         {101: TURNED}, np.rot90(PICTURE, 1)),
    "half transparent": (FAINT, b"/G gs " + WHOLE, {}, (127 + PICTURE // 2).astype(np.uint8)),
    "under a stamp": (BOX + STAMP + SHOWN, WHOLE, {103: INK}, SPOT),
    "on a layer that is off": (BOX + SHOWN, WHOLE, {
        100: jpeg_object(JPEG, W, H, b"/OC 102 0 R"), 102: b"<< /Type /OCG /Name (x) >>"}, ON),
    "turned by its EXIF data": (BOX + SHOWN, WHOLE, {100: jpeg_object(as_jpeg(PICTURE, exif=b"Exif\0\0" + (
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0")), W, H)}, PICTURE),
    "another colour space": (BOX + SHOWN, WHOLE, {100: jpeg_object(JPEG, W, H, space=(
        b"[/Separation /Black /DeviceGray << /FunctionType 2 /Domain [0 1] /C0 [1] /C1 [0] /N 1 >>]"))}, 255 - PICTURE),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERWISE)
def test_a_page_that_shows_its_picture_otherwise_is_drawn(tmp_path: Path, name: str) -> None:
    entries, content, others, wanted = OTHERWISE[name]
    catalog = HIDDEN if "layer" in name else b""
    (page,) = pages_of(tmp_path, made_pdf([(entries, content)], {**PLAIN, **others}, catalog))
    assert page != JPEG
    assert looks(page, wanted)


BY_FORM = ["a strip cut off", "media box in the picture", "off the page", "clipped by a triangle", "clipped twice",
           "turned page", "upside down", "mirrored", "in a smaller form", "under a stamp",
           "half transparent", "colour key", "another colour space"]  # fmt: skip


@pytest.mark.parametrize("name", BY_FORM)
def test_what_the_page_itself_tells_is_not_left_to_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("datasets.chapters.pdf._shows", lambda page, jpeg: True)
    entries, content, others, _ = OTHERWISE[name]
    assert pages_of(tmp_path, made_pdf([(entries, content)], {**PLAIN, **others})) != [JPEG]


AS_IT_CAME: dict[str, tuple[bytes, bytes]] = {
    "plain": (BOX + SHOWN, WHOLE),
    "a box elsewhere": (b"/MediaBox [-50 70 110 294] " + SHOWN, b"q 160 0 0 224 -50 70 cm /I Do Q"),
    "a crop box as large": (b"/MediaBox [-9 -9 300 300] /CropBox [0 0 160 224] " + SHOWN, WHOLE),
    "half a point off": (BOX + SHOWN, b"q 159.5 0 0 223.5 .2 .2 cm /I Do Q"),
    "a clip path around it": (BOX + SHOWN, b"q -3 0 170 224 re W n 0 0 160 224 re W* n 160 0 0 224 0 0 cm /I Do Q"),
    "scaled in two steps": (BOX + SHOWN, b"q 16 0 0 16 0 0 cm q 10 0 0 14 0 0 cm /I Do Q Q"),
    "a link on it": (BOX + b"/Annots [<< /Subtype /Link /Rect [0 0 9 9] /Border [0 0 0] >>]" + SHOWN, WHOLE),
    "a page of another size": (b"/MediaBox [0 0 40 56] " + SHOWN, b"q 40 0 0 56 0 0 cm /I Do Q"),
}


@pytest.mark.parametrize("name", AS_IT_CAME)
def test_a_page_that_shows_its_picture_as_it_is_gives_it(tmp_path: Path, name: str) -> None:
    assert pages_of(tmp_path, made_pdf([AS_IT_CAME[name]], PLAIN)) == [JPEG]


def test_a_drawn_page_is_as_fine_as_its_picture_however_it_is_turned(tmp_path: Path) -> None:
    wide = {FIRST: jpeg_object(as_jpeg(np.kron(levels(), np.ones((4, 8), np.uint8))), W * 8, H * 4)}
    small = b"/MediaBox [0 0 112 160] /Resources << /XObject << /F 101 0 R >> >>"
    form = stream(b"/Type /XObject /Subtype /Form /BBox [0 0 999 999] /Matrix [.5 0 0 .5 0 0] " + SHOWN,
                  b"q 0 320 -224 0 224 0 cm /I Do Q")  # fmt: skip
    off = b"/MediaBox [0 0 112 160] " + SHOWN
    pages = [(small, b"/F Do"), (off, b"q 112 0 0 160 900 0 cm /I Do Q")]
    turned, empty = pages_of(tmp_path, made_pdf(pages, {**wide, 101: form}))
    assert decode(turned).shape[0] >= W * 8
    assert decode(empty).shape[0] < 160 * 3  # a picture that nobody sees makes no page larger


@settings(max_examples=40)
@given(
    crop=st.tuples(st.integers(0, 100), st.integers(0, 150), st.integers(40, 160), st.integers(40, 224)),
    place=st.tuples(st.integers(-80, 80), st.integers(-80, 80), st.sampled_from([40, 160, 300])),
    turn=st.sampled_from([0, 90, 180, 270]),
    negative=st.booleans(),
)
def test_any_page_of_one_picture_looks_as_it_is_drawn(
    tmp_path_factory: pytest.TempPathFactory, crop: tuple[int, ...], place: tuple[int, ...], turn: int, negative: bool
) -> None:
    x, y, width, height = crop
    entries = BOX + b"/CropBox [%d %d %d %d] /Rotate %d " % (x, y, x + width, y + height, turn) + SHOWN
    content = b"q %d 0 0 %d %d %d cm /I Do Q" % (place[2], place[2] * 7 // 5, *place[:2])
    picture = jpeg_object(JPEG, W, H, b"/Decode [1 0]" if negative else b"")
    data = made_pdf([(entries, content)], {FIRST: picture})
    (page,) = pages_of(tmp_path_factory.getbasetemp(), data)
    assert looks(page, drawn(data)[0])


def drawn(data: bytes) -> list[np.ndarray]:
    """The pages of a PDF as a viewer draws them, a pixel for a point, in gray."""
    return [np.asarray(page.render(scale=1).to_pil().convert("L")) for page in pypdfium2.PdfDocument(data)]


# Pages replaced.


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_a_new_picture_is_seen_upright_in_the_page_s_own_boxes(tmp_path: Path, turn: int, image_format: str) -> None:
    link = b"/Annots [<< /Type /Annot /Subtype /Link /Rect [40 40 70 60] >>]"
    entries = BOX + b"/CropBox [32 16 144 208] /Rotate %d " % turn + link + SHOWN
    source = made_pdf([(entries, WHOLE), (BOX + SHOWN, WHOLE)], PLAIN)
    new = levels(7)[:, ::-1]
    new = new if turn in (0, 180) else np.ascontiguousarray(new.T)
    encoded = io.BytesIO()
    Image.fromarray(new).save(encoded, image_format)
    recolor(io.BytesIO(source), {0: encoded.getvalue()}, tmp_path / "made.pdf")
    made = (tmp_path / "made.pdf").read_bytes()
    replaced, kept = drawn(made)
    assert looks(replaced, new)
    assert looks(kept, PICTURE)
    page = pypdfium2.PdfDocument(made)[0]
    assert (page.get_cropbox(), page.get_rotation()) == ((32, 16, 144, 208), turn)
    assert b"/Rect" in made  # where the link was
    assert jpegs_of(io.BytesIO(made)) == [encoded.getvalue() if image_format == "JPEG" else b"", JPEG]


def test_pages_that_share_a_picture_are_replaced_one_by_one(tmp_path: Path) -> None:
    """Halves of one spread: one content and one picture, and one page has new colours."""
    wide = as_jpeg(np.hstack([levels(1), levels(2)]))
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Count 2 /Kids [10 0 R 12 0 R] /MediaBox [0 0 320 224] /Resources 20 0 R >>",
        10: b"<< /Type /Page /Parent 2 0 R /Contents 11 0 R /CropBox [0 0 160 224] >>",
        11: stream(b"", b"q 320 0 0 224 0 0 cm /I Do Q"),
        12: b"<< /Type /Page /Parent 2 0 R /Contents 11 0 R /CropBox [160 0 320 224] >>",
        20: b"<< /XObject << /I 100 0 R >> >>",
        FIRST: jpeg_object(wide, 320, 224),
    }
    for number in (0, 1):
        recolor(io.BytesIO(written(objects)), {number: as_jpeg(levels(9))}, tmp_path / "made.pdf")
        wanted = [levels(1), levels(2)]
        wanted[number] = levels(9)
        assert all(map(looks, drawn((tmp_path / "made.pdf").read_bytes()), wanted))
