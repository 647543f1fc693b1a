"""Pictures made by hand: of the kinds that people have, with odd names, metadata and tones."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image


def saved(image: Image.Image | np.ndarray, image_format: str = "PNG", **options: Any) -> bytes:
    """A picture, encoded."""
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, image_format, **options)
    return out.getvalue()


def ramp(height: int = 32, width: int = 48) -> np.ndarray:
    """(H, W) uint8: every level, side by side, with white below."""
    levels = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
    levels[-4:] = 255
    return levels


def chunk(name: bytes, body: bytes, crc: int | None = None) -> bytes:
    """A chunk of PNG."""
    return (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body) if crc is None else crc)
    )


def with_chunk(png: bytes, made: bytes) -> bytes:
    """The PNG with a chunk right behind IHDR."""
    return png[:33] + made + png[33:]


def raw_png(colour_type: int, bits: int, rows: Sequence[bytes], width: int, *chunks: bytes) -> bytes:
    """A PNG of unfiltered rows.

    chunks: between IHDR and IDAT.
    """
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def tiff(directories: Sequence[Sequence[tuple[int, int, int, bytes]]], order: str = "<", tail: int = 0) -> bytes:
    """A TIFF of directories, each a list of fields (tag, type, count, value packed in `order`).

    A StripOffsets (273) is meant from the end of all directories; values over 4 bytes lie behind each. tail: the offset
    that the last directory ends with.
    """
    base = 8 + sum(
        6 + 12 * len(fields) + sum(len(value) for *_, value in fields if len(value) > 4) for fields in directories
    )
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    for number, fields in enumerate(directories):
        values, at = b"", len(out) + 6 + 12 * len(fields)
        entries = b""
        for tag, kind, count, value in sorted(fields):
            if tag == 273:
                value = struct.pack(f"{order}I", struct.unpack(f"{order}I", value)[0] + base)
            if len(value) > 4:
                value, values = struct.pack(f"{order}I", at + len(values)), values + value
            entries += struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0")
        last = number == len(directories) - 1
        out += struct.pack(f"{order}H", len(fields)) + entries
        out += struct.pack(f"{order}I", tail if last else at + len(values)) + values
    return out


def tiff_of(
    levels: np.ndarray, *more: tuple[int, int, int, bytes], photometric: int = 1, samples: int = 1, order: str = "<"
) -> bytes:
    """A TIFF of one uncompressed gray picture of any type of numbers.

    samples: the SampleFormat. more: further fields.
    """
    body = levels.astype(levels.dtype.newbyteorder(order)).tobytes()
    fields = _fields(levels, len(body), 0, photometric, samples, order)
    return tiff([[*fields, *more]], order) + body


def _fields(
    levels: np.ndarray, size: int, offset: int, photometric: int, samples: int, order: str
) -> list[tuple[int, int, int, bytes]]:
    def long(tag: int, value: int) -> tuple[int, int, int, bytes]:
        return (tag, 4, 1, struct.pack(f"{order}I", value))

    def short(tag: int, value: int) -> tuple[int, int, int, bytes]:
        return (tag, 3, 1, struct.pack(f"{order}H", value))

    height, width = levels.shape
    return [
        long(256, width), long(257, height), short(258, levels.dtype.itemsize * 8), short(259, 1),
        short(262, photometric), long(273, offset), short(277, 1), long(278, height), long(279, size),
        short(339, samples),
    ]  # fmt: skip


def tiff_pages(pages: Sequence[np.ndarray], marks: Sequence[int] = ()) -> bytes:
    """A TIFF of several gray pictures; marks: the NewSubfileType of each."""
    offset, directories = 0, []
    for number, levels in enumerate(pages):
        fields = _fields(levels, levels.size, offset, 1, 1, "<")
        if marks:
            fields.append((254, 4, 1, struct.pack("<I", marks[number])))
        directories.append(fields)
        offset += levels.size
    return tiff(directories) + b"".join(levels.tobytes() for levels in pages)


def gray_profile(gamma: float) -> bytes:
    """An ICC profile (v2) of one gray channel: `gamma` between its numbers and light."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"gray\0" + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1.0, 0.8249),
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)),
    }
    table, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        table += tag + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I", 128 + len(table) + len(body)) + bytes(4) + b"\x02\x10\0\0prtrGRAYXYZ " + bytes(12)
    return (head + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)).ljust(128, b"\0") + table + body


def mpo(*pictures: np.ndarray) -> bytes:
    """A JPEG that holds more pictures behind its own, as cameras and phones write it (CIPA DC-007)."""
    first, *others = (Image.fromarray(levels).convert("RGB") for levels in pictures)
    return saved(first, "MPO", save_all=True, append_images=others)
