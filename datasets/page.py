"""One page: its row in a shard, its bytes decoded, its pixels encoded.

H, W pixels. A row keeps the bytes of a page as they came; where a gray edition is missing, `gray_from` says how the
gray page is derived from the colour page when it is decoded.
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
_DRAWN = 1000  # pixels: a page of this shorter side is large enough to draw screens on
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

    index: place in its chapter, from 0. gray, color: encoded bytes as they came, or None. gray_from: "source" where
    `gray` is a page of its own, else how to derive it: "lightness" (equal CIELAB L*), "luma" (BT.601), "screentone"
    (drawn anew, imaging.screentone) or "mix" (half of the pages screentone, half lightness). width, height: pixels of
    the colour page, else of the gray one. split: "train" or "holdout". source: where it was read.
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
        return cls(**{name: row[name] for name in SCHEMA.names})

    def size(self) -> int:
        """Bytes of the encoded pictures."""
        return len(self.gray or b"") + len(self.color or b"")

    def decode_color(self, hint: int | None = None) -> U8 | None:
        """(H, W, 3) sRGB of the colour page, or None. `hint` as in `decode`."""
        return None if self.color is None else decode(self.color, hint)

    def decode_gray(self, color: U8 | None = None, hint: int | None = None, draw: int = 0) -> U8:
        """(H, W) gray page: its own, or derived from `color`, the decoded colour page.

        draw: number of the drawing where it is drawn by chance; a page's drawing of one number is always the same.
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
        """What a network of `size` sees of the page (size, size), and the true colours (size, size, 3).

        None where the page has no colour. draw: as in `decode_gray`. Decoded no larger than that asks for.
        """
        hint = self.hint(size, draw)
        color = self.decode_color(size if self.gray else hint)
        if color is None:
            return None
        return network_pair(self.decode_gray(None if self.gray else color, hint, draw), color, size)

    def form(self, draw: int = 0) -> str:
        """What `gray_from` comes to: "source", "lightness", "luma" or "screentone"; a mix, either by the drawing."""
        if self.gray_from != "mix":
            return self.gray_from
        return ("lightness", "screentone")[self._seed("form", draw) % 2]

    def hint(self, size: int, draw: int = 0) -> int | None:
        """The hint that the gray page may be decoded with, or the colour page that it is derived from, for a network
        of `size`: not so small that screens would be lost, or drawn otherwise than on a page to be coloured."""
        form = self.form(draw)
        if form == "source":
            return None
        return max(size, _DRAWN) if form == "screentone" else size

    def _seed(self, use: str, draw: int) -> int:
        named = "\0".join((use, self.series, self.chapter, str(self.index), self.name, str(draw)))
        return int.from_bytes(hashlib.sha256(named.encode()).digest()[:8], "big")


def frames(data: bytes) -> int:
    """How many pictures a file holds: an animation's frames, a TIFF's pages; 1 where that can't be told."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return int(getattr(image, "n_frames", 1))
    except Exception:  # `decode` tells
        return 1


def decode(data: bytes, hint: int | None = None, pixels: int = Limits.pixels) -> U8:
    """Encoded picture to (H, W, 3) uint8 sRGB.

    EXIF rotation is applied, an ICC profile converted to sRGB, 16 bits scaled, alpha laid over white. With `hint` a
    JPEG may come at 1/2, 1/4 or 1/8 of its size, its shorter side still at least `hint` pixels. Raises
    PageUnreadableError: NOT_IMAGE, TRUNCATED, PIXELS (over `pixels`).
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
        return image  # a profile that does not fit its picture is worth nothing: every viewer ignores it


def gray_of(rgb: U8) -> U8:
    """(H, W) gray page of a decoded gray picture: its levels where it is neutral, else its gray of equal L*."""
    red = rgb[..., 0]
    if np.array_equal(red, rgb[..., 1]) and np.array_equal(red, rgb[..., 2]):
        return np.ascontiguousarray(red)
    return gray_of_equal_lightness(rgb)


def encode(rgb: U8, image_format: ImageFormat) -> bytes:
    """(H, W, 3) sRGB to JPEG (quality 92, 4:4:4), PNG, or WebP (lossy, quality 92).

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
