"""Encoded pictures without what is no pixel of theirs, for those whose metadata a decoder stumbles over.

Chunks of PNG: W3C's PNG, third edition. Segments of JPEG: ITU-T T.81, annex B. Chunks of WebP: RFC 9649. Fields of
TIFF: Adobe's TIFF 6.0, and its 64-bit form, BigTIFF.
"""

import struct
import zlib
from collections.abc import Callable, Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xae\x42\x60\x82"
_PNG_PIXELS = {b"tRNS", b"acTL", b"fcTL", b"fdAT"}  # side chunks by their names, and part of the picture
_PNG_TRANSPARENCY = {0: 2, 2: 6}  # bytes that tRNS has at least, by the kind of colours
_PNG_SHOWN = {b"iCCP", b"eXIf"}
_JPEG_ADOBE = 14  # bytes of Adobe's segment
_JPEG_SHOWN = (b"ICC_PROFILE\0", b"Exif\0")
_WEBP_PIXELS = {b"VP8X", b"ALPH", b"VP8 ", b"VP8L", b"ANIM", b"ANMF"}
_WEBP_FLAGS = {b"ICCP": 0x20, b"EXIF": 0x08}  # bits of VP8X
_WEBP_XMP = 0x04
# What decides how the pixels are read and shown; a profile (34675) where it is kept.
_TIFF_PIXELS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 338,
     339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532}
)  # fmt: skip
_TIFF_PROFILE = 34675
_MOST_PAGES = 1000  # of a TIFF


def versions(data: bytes) -> Iterator[bytes]:
    """Yield a picture as it came, then with no metadata but colour profile and rotation, then with none at all.

    data: the encoded bytes. Pixels are never changed. What is no PNG, JPEG, WebP or TIFF comes once, and so does what
        is cut in the middle of its pixels.
    """
    yield data
    strip = _stripper(data)
    if strip is None:
        return
    before = data
    for shown in (True, False):
        try:
            stripped = strip(data, shown)
        except (struct.error, IndexError):  # it ends in the middle of a header
            return
        if stripped is not None and stripped != before:
            before = stripped
            yield stripped


def _stripper(data: bytes) -> Callable[[bytes, bool], bytes | None] | None:
    if data.startswith(_PNG):
        return _png
    if data.startswith(b"\xff\xd8"):
        return _jpeg
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp
    return _tiff if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") else None


def _png(data: bytes, shown: bool) -> bytes | None:
    """Return the PNG without side chunks; None where a chunk of the picture is cut.

    A side chunk with a wrong checksum is no part of the picture, as libpng has it.
    """
    parts, at = [_PNG], len(_PNG)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, chunk = data[at + 4 : at + 8], data[at : at + 12 + length]
        at += 12 + length
        side = name[:1].islower()
        if not side and at > len(data):
            return None
        whole = at <= len(data) and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
        if name == b"IEND":
            break
        wanted = whole and name in (_PNG_PIXELS | _PNG_SHOWN if shown else _PNG_PIXELS)
        if not side or (wanted and not (name == b"tRNS" and length < _PNG_TRANSPARENCY.get(data[25], 1))):
            parts.append(chunk)
    return b"".join((*parts, _PNG_END))


def _jpeg(data: bytes, shown: bool) -> bytes | None:
    """Return the JPEG without application segments and comments; Adobe's stays, which tells how colours are coded."""
    parts, at = [data[:2]], 2
    while at + 4 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at] != 0xFF or length < 2:
            return None
        if marker == 0xFF:  # a byte that fills
            at += 1
            continue
        if marker == 0xDA:
            return b"".join((*parts, data[at:]))
        segment = data[at : at + 2 + length]
        at += 2 + length
        side = 0xE0 <= marker <= 0xEF or marker == 0xFE
        adobe = segment[4:].startswith(b"Adobe") and length >= _JPEG_ADOBE
        if not side or adobe or (shown and segment[4:].startswith(_JPEG_SHOWN)):
            parts.append(segment)
    return None


def _webp(data: bytes, shown: bool) -> bytes | None:
    """Return the WebP without side chunks; None where a chunk of the picture is cut."""
    parts: list[bytes] = []
    dropped, at = _WEBP_XMP, 12
    while at + 8 <= len(data):
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        chunk = data[at : at + 8 + length]
        at += 8 + length + length % 2
        whole = len(chunk) == 8 + length
        if name in _WEBP_PIXELS and not whole:
            return None
        if name in _WEBP_PIXELS or (shown and whole and name in _WEBP_FLAGS):
            parts.append(chunk + b"\0" * (length % 2))
        else:
            dropped |= _WEBP_FLAGS.get(name, 0)
    if parts and parts[0].startswith(b"VP8X"):
        parts[0] = parts[0][:8] + bytes([parts[0][8] & ~dropped]) + parts[0][9:]
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _tiff(data: bytes, shown: bool) -> bytes:
    """Return the TIFF with those fields only that its pictures need: each directory is made shorter where it is."""
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    count_form, entry_size, offset_form = (f"{order}Q", 20, f"{order}Q") if big else (f"{order}H", 12, f"{order}I")
    first = 8 if big else 2
    out = bytearray(data)
    (at,) = struct.unpack_from(offset_form, data, 8 if big else 4)
    seen: set[int] = set()
    while at and at not in seen and len(seen) < _MOST_PAGES and at + first <= len(data):
        seen.add(at)
        (count,) = struct.unpack_from(count_form, data, at)
        end = at + first + count * entry_size
        entries = [data[begin : begin + entry_size] for begin in range(at + first, min(end, len(data)), entry_size)]
        tags = [struct.unpack_from(f"{order}H", entry)[0] for entry in entries]
        kept = [
            entry for tag, entry in zip(tags, entries, strict=True)
            if tag in _TIFF_PIXELS or (shown and tag == _TIFF_PROFILE)
        ]  # fmt: skip
        (following,) = struct.unpack_from(offset_form, data, end)
        directory = struct.pack(count_form, len(kept)) + b"".join(kept) + struct.pack(offset_form, following)
        out[at : at + len(directory)] = directory
        at = following
    return bytes(out)
