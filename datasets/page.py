"""One page: its row in a shard, its bytes decoded, its pixels encoded.

H, W: pixels.

A row keeps the bytes of a page as they came. Where there is no gray edition, `gray_from` says how the gray page is
derived from the colour page when it is decoded.
"""

import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from PIL import Image, ImageCms, ImageOps

from datasets.errors import Code, PageUnreadableError
from datasets.limits import Limits
from imaging.color import U8, gray_of_equal_lightness, luma
from imaging.descreen import network_pair
from imaging.screentone import to_screentone

GrayFrom = Literal["lightness", "luma", "screentone", "mix"]
ImageFormat = Literal["jpeg", "png", "webp"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
SUFFIX_OF: dict[str, str] = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}
_LONGEST = {"jpeg": 65_500, "webp": 16_383}  # pixels of a side: libjpeg's and WebP's own limits
_DRAWN = 1000  # pixels: a page with this shorter side is large enough to draw screens on
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")  # Pillow knows stranger ones, EPS too

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
        (BT.601), "screentone" (drawn anew, imaging.screentone) or "mix" (half of the pages screentone, half lightness).
    width: pixels of the colour page, else of the gray one.
    height: pixels of that page.
    split: "train" or "holdout".
    source: where the page was read.
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

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Page":
        """Make a page of a row of SCHEMA."""
        return cls(**{name: row[name] for name in SCHEMA.names})

    def size(self) -> int:
        """Return the bytes of the encoded pictures together."""
        return len(self.gray or b"") + len(self.color or b"")

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

    def network_pair(self, size: int, draw: int = 0) -> tuple[U8, U8] | None:
        """Return what a network sees of the page (size, size), and the true colours (size, size, 3).

        size: side of the network's square, in pixels.
        draw: as in `decode_gray`.

        Returns None where the page has no colour. Pictures are decoded no larger than is needed.
        """
        hint = self.hint(size, draw)
        color = self.decode_color(size if self.gray else hint)
        if color is None:
            return None
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
    """Return how many pictures a file holds: an animation's frames, or a TIFF's pages.

    It is 1 where that can't be found out.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return int(getattr(image, "n_frames", 1))
    except Exception:  # `decode` reports it
        return 1


def decode(data: bytes, hint: int | None = None, pixels: int = Limits.pixels) -> U8:
    """Decode a picture to (H, W, 3) uint8 sRGB.

    data: the encoded bytes.
    hint: a JPEG may come at 1/2, 1/4 or 1/8 of its size, its shorter side still at least `hint` pixels; None for the
        full size.
    pixels: the most that the picture may have.

    EXIF rotation is applied, an ICC profile is converted to sRGB, 16 bits are scaled, and alpha is laid over white.
    Raises PageUnreadableError: NOT_IMAGE, TRUNCATED, PIXELS (over `pixels`).
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Exception as error:  # decoders of hostile bytes raise whatever comes
        if isinstance(error, Image.DecompressionBombError):
            raise PageUnreadableError(Code.PIXELS, f"{len(data)} bytes: {error}") from error
        shown = f"{len(data)} bytes that begin with {data[:8]!r}" if data else "no bytes"
        raise PageUnreadableError(Code.NOT_IMAGE, f"{shown}, no picture of a format that is known") from error
    if image.width * image.height > pixels:
        raise PageUnreadableError(Code.PIXELS, f"{image.width} x {image.height} pixels; see --max-pixels")
    try:
        if hint is not None:
            scale = hint / min(image.size)
            image.draft("RGB", (math.ceil(image.width * scale), math.ceil(image.height * scale)))
        return _to_srgb(ImageOps.exif_transpose(image))
    except MemoryError as error:
        raise PageUnreadableError(Code.PIXELS, f"{image.width} x {image.height} pixels: not enough memory") from error
    except Exception as error:
        raise PageUnreadableError(Code.TRUNCATED, f"{len(data)} bytes of {image.format}: {error}") from error


def _to_srgb(image: Image.Image) -> U8:
    if image.mode.startswith("I"):  # 16-bit gray: scaled, not clipped
        wide = np.asarray(image).astype(np.float32)
        image = Image.fromarray(np.clip(np.round(wide / 257), 0, 255).astype(np.uint8))
    profile = image.info.get("icc_profile")
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    if profile and image.mode == "P":
        image = image.convert("RGB")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        image = _through_profile(image, profile)
    return np.array(image.convert("RGB"))


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, srgb, outputMode="RGB") or image
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # every viewer ignores a profile that does not fit its picture


def gray_of(rgb: U8) -> U8:
    """Return the gray page (H, W) of a decoded gray picture.

    rgb: (H, W, 3) sRGB.

    It is the picture's levels where the whole picture is neutral, else its gray of equal L*.
    """
    red = rgb[..., 0]
    if np.array_equal(red, rgb[..., 1]) and np.array_equal(red, rgb[..., 2]):
        return np.ascontiguousarray(red)
    return gray_of_equal_lightness(rgb)


def format_of(data: bytes) -> ImageFormat:
    """Return the format in which a page stays of the format that it has: PNG, where that is none of ours."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            name = (image.format or "").lower()
    except Exception:  # as in `decode`, which tells
        return "png"
    name = "jpeg" if name == "mpo" else name  # a JPEG with other pictures behind it
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
