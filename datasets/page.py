"""One page: its row in a shard, its bytes decoded, its pixels encoded.

H, W: pixels.

A row keeps the bytes of a page as they came. Where there is no gray edition, `gray_from` says how the gray page is
derived from the colour page when it is decoded.
"""

import hashlib
import io
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from datasets.boxes import jp2_profile
from datasets.errors import Code, PageUnreadableError
from datasets.jpegxl import open_jpegxl, original_jpeg
from datasets.levels import Samples, samples_of, to_srgb
from datasets.limits import Limits
from datasets.metadata import versions
from datasets.signatures import HEAD_BYTES, picture_format
from datasets.tiff import page_of, pictures_of
from imaging.bands import bands
from imaging.color import U8, gray_of_equal_lightness, luma, neutral_levels
from imaging.descreen import network_pair
from imaging.screentone import to_screentone

ArrayOf = Callable[[Image.Image], U8]
GrayFrom = Literal["lightness", "luma", "screentone", "mix", "none"]
ImageFormat = Literal["jpeg", "png", "webp"]

IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif",
    ".tiff", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc", ".jxl",
    ".jxr", ".heic", ".heif",
})  # fmt: skip
SUFFIX_OF: dict[str, str] = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}
_LONGEST = {"jpeg": 65_500, "webp": 16_383}  # pixels of a side: libjpeg's and WebP's own limits
_DRAWN = 1000  # pixels: a page with this shorter side is large enough to draw screens on
# Pillow knows stranger ones, EPS too.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "JPEG2000")
_UNREAD = ("JPEG XR", "HEIC")
_COLLECTIONS = ("MPO", "TIFF")  # formats of several pictures that do not move
_ORIENTATION = 0x0112  # of EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
PngImagePlugin.MAX_TEXT_CHUNK = 16 * 2**20  # bytes, unpacked: colour profiles of scanners take over 1 MB

SCHEMA = pa.schema(
    [
        ("series", pa.string()),
        ("chapter", pa.string()),
        ("index", pa.int32()),
        ("name", pa.string()),
        ("gray", pa.binary()),
        ("color", pa.binary()),
        ("gray_from", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("mask", pa.binary()),
    ]
)


@dataclass(frozen=True)
class Page:
    """A row of a shard.

    series: name of the series.
    chapter: name of the chapter.
    index: of the page in its chapter, from 0.
    name: of the page's file.
    gray: encoded bytes of the gray page as they came, or None.
    color: encoded bytes of the colour page as they came, or None.
    gray_from: "source" where `gray` is a page of its own, else how to derive it: "lightness" (equal CIELAB L*), "luma"
        (BT.601), "screentone" (drawn anew, imaging.screentone), "mix" (half of the pages screentone, half lightness);
        or "none": the page has colours alone.
    width: pixels of the colour page, else of the gray one.
    height: pixels of that page.
    split: "train" or "holdout".
    source: where the page was read.
    mask: a PNG of gray levels or of one bit, over the whole page: 255 where its colours are not to be judged, since the
        editions show something different there (lettering, logos, margins), else 0. None where all of it is judged.
    """

    series: str
    chapter: str
    index: int
    name: str
    gray: bytes | None
    color: bytes | None
    gray_from: str
    width: int
    height: int
    split: str
    source: str
    mask: bytes | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Page":
        """Make a page of a row of SCHEMA, or of a shard that is older than the column `mask`."""
        return cls(**{name: row[name] for name in SCHEMA.names if name in row})

    @property
    def kinds(self) -> tuple[str, ...]:
        """What a training can have of the page: "ink", "color" and, where it has both, "pairs"."""
        color = self.color is not None
        ink = self.gray is not None or (color and self.gray_from != "none")
        return ("ink",) * ink + ("color",) * color + ("pairs",) * (ink and color)

    def size(self) -> int:
        """Return the bytes of the encoded pictures together."""
        return len(self.gray or b"") + len(self.color or b"") + len(self.mask or b"")

    def decode_color(self, hint: int | None = None) -> U8 | None:
        """Return the colour page as (H, W, 3) sRGB; None where there is none.

        hint: as in `decode`.
        """
        return None if self.color is None else decode(self.color, hint)

    def decode_gray(self, color: U8 | None = None, hint: int | None = None, draw: int = 0) -> U8:
        """Return the gray page (H, W): the page's own, or one derived from colour.

        color: the decoded colour page; None to decode it here where it is needed.
        hint: as in `decode`.
        draw: number of the drawing, where the page is drawn by chance. One number always gives the same drawing.
        """
        if self.gray is not None:
            return gray_of(decode(self.gray, hint))
        color = self.decode_color(hint) if color is None else color
        assert color is not None  # ingest writes no row without a picture
        form = self.form(draw)
        if form == "screentone":
            return to_screentone(color, self._seed("drawing", draw))
        return luma(color) if form == "luma" else gray_of_equal_lightness(color)

    def decode_mask(self, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """Return where the page is not judged, at a size of (height, width); None where all of it is.

        A pixel of that size is left out where any part of it is.
        """
        if self.mask is None:
            return None
        mask = gray_of(decode_plain(self.mask)) > 127
        if mask.shape == shape:
            return mask
        share = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
        return np.asarray(share > 0)

    def network_pair(self, size: int, draw: int = 0) -> tuple[U8, U8] | None:
        """Return what a network sees of the page (size, size), and the true colours (size, size, 3).

        size: side of the network's square, in pixels.
        draw: as in `decode_gray`.

        Returns None where the page does not have both. Pictures are decoded no larger than is needed.
        """
        if "pairs" not in self.kinds:
            return None
        hint = self.hint(size, draw)
        color = self.decode_color(size if self.gray else hint)
        assert color is not None  # a pair has colour
        return network_pair(self.decode_gray(None if self.gray else color, hint, draw), color, size)

    def form(self, draw: int = 0) -> str:
        """Return how the gray page comes about: "source", "lightness", "luma" or "screentone".

        draw: as in `decode_gray`; it decides between the two forms of a mix.
        """
        if self.gray_from != "mix":
            return self.gray_from
        return ("lightness", "screentone")[self._seed("form", draw) % 2]

    def hint(self, size: int, draw: int = 0) -> int | None:
        """Return the hint for decoding the gray page, or the colour page that it is derived from, for a network.

        size: side of the network's square, in pixels.
        draw: as in `decode_gray`.

        At this size screens are not lost, and are drawn as on a page to be coloured. Returns None for the full size.
        """
        form = self.form(draw)
        if form == "source":
            return None
        return max(size, _DRAWN) if form == "screentone" else size

    def _seed(self, use: str, draw: int) -> int:
        named = "\0".join((use, self.series, self.chapter, str(self.index), self.name, str(draw)))
        return int.from_bytes(hashlib.sha256(named.encode()).digest()[:8], "big")


def frames(data: bytes) -> int:
    """Return how many frames an animation has.

    It is 1 for a picture that does not move, whatever else is in its file, and where that can't be found out.
    """
    for version in versions(data):
        with suppress(Exception), Image.open(io.BytesIO(version), formats=_FORMATS) as image:  # `decode` reports it
            return 1 if image.format in _COLLECTIONS else int(getattr(image, "n_frames", 1))
    return 1


def decode(data: bytes, hint: int | None = None, pixels: int = Limits.pixels) -> U8:
    """Decode a picture to (H, W, 3) uint8 sRGB.

    data: the encoded bytes.
    hint: a JPEG may come at 1/2, 1/4 or 1/8 of its size, its shorter side still at least `hint` pixels; None for the
        full size.
    pixels: the most that the picture may have.

    EXIF rotation is applied, an ICC profile is converted to sRGB, more than 8 bits are scaled, and alpha is laid over
    white. Metadata that can't be read are passed over. Raises PageUnreadableError: NOT_IMAGE, TRUNCATED, PIXELS (over
    `pixels`), UNSUPPORTED, SEVERAL, RANGE.
    """
    return _decode_sound(data, hint, pixels, lambda image: _array(image, "RGB"))


def decode_plain(data: bytes, pixels: int = Limits.pixels) -> U8:
    """Decode a picture as `decode` does, to (H, W) levels where all of it is neutral, else to (H, W, 3) sRGB.

    data: the encoded bytes.
    pixels: the most that the picture may have.

    Raises as `decode`.
    """
    picture = _decode_sound(data, None, pixels, lambda image: _array(image, "L" if image.mode in ("1", "L") else "RGB"))
    levels = neutral_levels(picture) if picture.ndim == 3 else picture
    return picture if levels is None else levels


def _decode_sound(data: bytes, hint: int | None, pixels: int, array_of: ArrayOf) -> U8:
    """Decode a picture as it came or, where that fails, without what may be broken beside its pixels."""
    found: PageUnreadableError | None = None
    for version in versions(data):
        try:
            return _decode(version, hint, pixels, array_of)
        except PageUnreadableError as error:
            found = found or error
            if error.code not in (Code.NOT_IMAGE, Code.TRUNCATED):
                break
    assert found is not None  # a picture has at least the version that came
    raise found


def _decode(data: bytes, hint: int | None, pixels: int, array_of: ArrayOf) -> U8:
    image, samples = _opened(data, pixels)
    if image.width * image.height > pixels:
        raise PageUnreadableError(Code.PIXELS, f"{image.width} x {image.height} pixels; see --max-pixels")
    try:
        if hint is not None:
            scale = hint / min(image.size)
            image.draft("RGB", (math.ceil(image.width * scale), math.ceil(image.height * scale)))
        image.load()
        return array_of(to_srgb(_upright(image), samples))
    except PageUnreadableError:
        raise
    except MemoryError as error:
        raise PageUnreadableError(Code.PIXELS, f"{image.width} x {image.height} pixels: not enough memory") from error
    except Exception as error:
        raise PageUnreadableError(Code.TRUNCATED, f"{len(data)} bytes of {image.format}: {error}") from error


def _array(image: Image.Image, mode: Literal["L", "RGB"]) -> U8:
    """Return a picture's pixels, (H, W) or (H, W, 3). Pillow holds copies of all that it is asked for at once."""
    width, height = image.size
    pixels = np.empty((height, width) if mode == "L" else (height, width, 3), np.uint8)
    for rows in bands((height, width)):
        pixels[rows] = np.asarray(image.crop((0, rows.start, width, rows.stop)).convert(mode))
    return pixels


def _opened(data: bytes, pixels: int) -> tuple[Image.Image, Samples]:
    """Return the picture that is the page, not decoded yet, and what its file says of its samples."""
    known = picture_format(data[:HEAD_BYTES])
    if known == "JPEG XL":
        jpeg = original_jpeg(data)
        if jpeg is None:
            image, bits = open_jpegxl(data, pixels)
            return image, Samples(bits)
        data = jpeg
    try:
        opened = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Exception as error:  # decoders of hostile bytes raise whatever comes
        if isinstance(error, Image.DecompressionBombError):
            raise PageUnreadableError(Code.PIXELS, f"{len(data)} bytes: {error}") from error
        if known in _UNREAD or (known == "TIFF" and pictures_of(data)):
            raise PageUnreadableError(
                Code.UNSUPPORTED, f"{known} of a kind that is not read; save it as PNG"
            ) from error
        shown = f"{len(data)} bytes that begin with {data[:8]!r}" if data else "no bytes"
        raise PageUnreadableError(Code.NOT_IMAGE, f"{shown}, no picture of a format that is known") from error
    if opened.format == "TIFF" and (number := page_of(data)):
        opened.seek(number)
    if opened.format == "JPEG2000" and (profile := jp2_profile(data)):
        opened.info["icc_profile"] = profile
    return opened, samples_of(opened, data)


def _upright(image: Image.Image) -> Image.Image:
    """Return the picture turned as its EXIF says; as it is where that says nothing that can be read."""
    with suppress(Exception):  # a reader of broken EXIF raises whatever comes
        turn = image.getexif().get(_ORIENTATION)
        if isinstance(turn, int) and turn in _TURNS:
            return image.transpose(_TURNS[turn])
    return image


def gray_of(picture: U8) -> U8:
    """Return the gray page (H, W) of a decoded gray picture.

    picture: (H, W, 3) sRGB, or (H, W) levels.

    It is the picture's levels where the whole picture is neutral, else its gray of equal L*.
    """
    if picture.ndim == 2:
        return picture
    levels = neutral_levels(picture)
    return gray_of_equal_lightness(picture) if levels is None else levels


def format_of(data: bytes) -> ImageFormat:
    """Return the format in which a page stays of the format that it has: PNG, where that is none of ours."""
    name = picture_format(data[:HEAD_BYTES]).lower()
    return name if name in SUFFIX_OF else "png"  # type: ignore[return-value]  # a key of it


def encode(rgb: U8, image_format: ImageFormat) -> bytes:
    """Encode a page.

    rgb: (H, W, 3) sRGB.
    image_format: "jpeg" (quality 92, 4:4:4), "png", or "webp" (lossy, quality 92).

    Raises PageUnreadableError FORMAT for a page longer than the format can be.
    """
    most = _LONGEST.get(image_format, max(rgb.shape))
    if max(rgb.shape) > most:
        message = f"{rgb.shape[1]} x {rgb.shape[0]} pixels, and {image_format} holds at most {most}; see --format png"
        raise PageUnreadableError(Code.FORMAT, message)
    out = io.BytesIO()
    image = Image.fromarray(rgb)
    if image_format == "jpeg":
        image.save(out, "JPEG", quality=92, subsampling=0)
    elif image_format == "png":
        image.save(out, "PNG", compress_level=4)
    else:
        image.save(out, "WEBP", quality=92, method=2)
    return out.getvalue()
