"""JPEG XL, by imagecodecs (libjxl). That gives the samples and no more, so the header is read here.

Header and boxes: ISO/IEC 18181-1 and 18181-2. H, W: pixels.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from datasets.boxes import boxes
from datasets.errors import Code, PageUnreadableError

_CODESTREAM = b"\xff\x0a"
_HEADER_BYTES = 4096  # longer than any header but one of long names of channels
_RATIOS = (Fraction(1), Fraction(12, 10), Fraction(4, 3), Fraction(3, 2), Fraction(16, 9), Fraction(5, 4), Fraction(2))
_ALPHA, _D65, _SRGB_PRIMARIES, _SRGB_CURVE = 0, 1, 1, 13
_SIZE = ((9, 1), (13, 1), (18, 1), (30, 1))
_ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    width, height: pixels.
    bits: of a sample.
    unread: what of it is not read; "" for a picture that is.
    """

    width: int
    height: int
    bits: int = 8
    unread: str = ""


def original_jpeg(data: bytes) -> bytes | None:
    """Return the JPEG that the file was made of, byte for byte; None where it was made of something else.

    data: the encoded bytes.

    Raises PageUnreadableError TRUNCATED.
    """
    if data.startswith(_CODESTREAM) or not any(name == b"jbrd" for name, _ in boxes(data)):
        return None
    try:
        return bytes(_codecs().jpegxl_decode_jpeg(data))
    except Exception as error:  # the decoder of hostile bytes raises whatever comes
        raise _damaged(data, error) from error


def open_jpegxl(data: bytes, pixels: int) -> tuple[Image.Image, int]:
    """Return the picture as it is to be shown, in sRGB, and the bits of its samples.

    data: the encoded bytes.
    pixels: the most that the picture may have.

    Its mode is L, LA, RGB or RGBA of 8 bits, I;16 or F. Raises PageUnreadableError: UNSUPPORTED, PIXELS, TRUNCATED.
    """
    try:
        header = header_of(data)
    except IndexError as error:
        raise _damaged(data, error) from error
    if header.width * header.height > pixels:
        raise PageUnreadableError(Code.PIXELS, f"{header.width} x {header.height} pixels; see --max-pixels")
    if header.unread:
        raise PageUnreadableError(Code.UNSUPPORTED, f"JPEG XL {header.unread}, which is not read; save it as PNG")
    try:
        levels = _codecs().jpegxl_decode(data, numthreads=1)
    except MemoryError as error:
        message = f"{header.width} x {header.height} pixels: not enough memory"
        raise PageUnreadableError(Code.PIXELS, message) from error
    except Exception as error:  # the decoder of hostile bytes raises whatever comes
        raise _damaged(data, error) from error
    return Image.fromarray(_in_8_bits(levels, header.bits)), header.bits


def _in_8_bits(levels: np.ndarray, bits: int) -> np.ndarray:
    """Return samples in 8 bits; gray ones without alpha stay as they are, for whoever scales them."""
    if levels.ndim == 2 or levels.dtype == np.uint8:
        return levels
    top = 1 if levels.dtype.kind == "f" else 2**bits - 1
    return np.round(np.clip(levels.astype(np.float32) / np.float32(top), 0, 1) * 255).astype(np.uint8)


def header_of(data: bytes) -> Header:
    """Read the header. Raises IndexError where it is cut."""
    bits = _Bits(_codestream(data))
    height, width = _size(bits)
    if bits.take(1):  # all as usual: 8 bits, sRGB
        return Header(width, height)
    if bits.take(1):
        bits.take(3)  # the rotation, which the decoder applies
        if bits.take(1):
            _size(bits)  # at which it is to be shown
        if bits.take(1):
            return Header(width, height, unread="with a preview")
        if bits.take(1):
            return Header(width, height, unread="in motion")
    depth = _depth(bits)
    bits.take(1)
    more = bits.number((0, 0), (0, 1), (4, 2), (12, 1))
    if any(_channel(bits) for _ in range(more)):
        return Header(width, height, depth, "with channels other than colours and transparency")
    bits.take(1)  # whether colours are stored as the eye sees them
    return Header(width, height, depth, "" if _is_srgb(bits) else "in colours other than sRGB")


class _Bits:
    """Reads numbers of some bits, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next bits as a number. Raises IndexError at the end."""
        if count > self._left:
            raise IndexError("the header ends too early")
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        self._left -= count
        return value

    def number(self, *forms: tuple[int, int]) -> int:
        """Return a number in one of four forms, each (bits, what is added)."""
        count, offset = forms[self.take(2)]
        return self.take(count) + offset


def _size(bits: _Bits) -> tuple[int, int]:
    """Read height and width."""
    small = bits.take(1)
    height = (bits.take(5) + 1) * 8 if small else bits.number(*_SIZE)
    if ratio := bits.take(3):
        return height, math.floor(height * _RATIOS[ratio - 1])
    return height, (bits.take(5) + 1) * 8 if small else bits.number(*_SIZE)


def _depth(bits: _Bits) -> int:
    """Read the bits of a sample."""
    if bits.take(1):
        depth = bits.number((0, 32), (0, 16), (0, 24), (6, 1))
        bits.take(4)
        return depth
    return bits.number((0, 8), (0, 10), (0, 12), (6, 1))


def _channel(bits: _Bits) -> bool:
    """Read what an extra channel is. Returns whether it is anything but plain transparency."""
    if bits.take(1):
        return False
    kind = bits.number(*_ENUM)
    if kind != _ALPHA:
        return True  # what follows is not read any more
    _depth(bits)
    bits.number((0, 0), (0, 3), (0, 4), (3, 1))
    bits.take(8 * bits.number((0, 0), (4, 0), (5, 16), (10, 48)))
    return bool(bits.take(1))  # colours are multiplied by it


def _is_srgb(bits: _Bits) -> bool:
    """Read how colours are coded. Returns whether it is sRGB, or its gray."""
    if bits.take(1):
        return True
    has_profile, space = bits.take(1), bits.number(*_ENUM)
    if has_profile or space > 1:
        return False
    white = bits.number(*_ENUM)
    if white != _D65:
        return False
    if space == 0 and bits.number(*_ENUM) != _SRGB_PRIMARIES:
        return False
    return not bits.take(1) and bits.number(*_ENUM) == _SRGB_CURVE


def _codestream(data: bytes) -> bytes:
    """Return the beginning of the picture itself, out of its boxes."""
    if not data.startswith(_CODESTREAM):
        parts = ((name, content) for name, content in boxes(data) if name in (b"jxlc", b"jxlp"))
        data = b"".join(content[4:] if name == b"jxlp" else content for name, content in parts)
    return data[2:_HEADER_BYTES]


def _damaged(data: bytes, why: object) -> PageUnreadableError:
    return PageUnreadableError(Code.TRUNCATED, f"{len(data)} bytes of JPEG XL: {why}")


def _codecs() -> Any:
    import imagecodecs  # slow to load, and seldom needed

    return imagecodecs
