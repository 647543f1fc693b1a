"""Archives made by hand: of the kinds that people have, and of those that attackers send."""

import io
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import libarchive

RAR4, RAR5 = b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00"
_RAR_VOLUME, _RAR_SOLID = 1, 4


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


class _Raw(zipfile.ZipInfo):
    """A member whose name is these bytes, with no word of their encoding."""

    raw: bytes

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.raw, self.flag_bits & ~0x800


def raw_zip(members: Iterable[tuple[str | bytes, bytes]], comment: bytes = b"", extra: bytes = b"") -> bytes:
    """A ZIP archive with members of any names, those that zipfile would change too.

    members: a name in bytes stands there as it is, with no word of its encoding.
    extra: field of each member.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            info = zipfile.ZipInfo("x") if isinstance(name, str) else _Raw("x")
            if isinstance(info, _Raw):
                info.raw = bytes(name)  # type: ignore[arg-type]
            else:
                info.filename = info.orig_filename = str(name)
            info.compress_type, info.extra = zipfile.ZIP_DEFLATED, extra
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of equal names
                archive.writestr(info, data)
        archive.comment = comment
    return out.getvalue()


def tarred(members: Mapping[str, bytes], mode: str = "w") -> bytes:
    """A tar archive of the members, with a symbolic link, a hard link and a device added.

    mode: of tarfile: 'w', 'w:gz' or 'w:xz'.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, kind in (("link.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE), ("null.jpg", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, next(iter(members))
            archive.addfile(info)
    return bytes(out.getvalue())


def packed(members: Mapping[str, bytes], path: Path, kind: str, compression: str | None = None) -> bytes:
    """An archive that libarchive writes to `path`.

    kind: libarchive's name of the format: 7zip, ustar.
    compression: of the whole archive, e.g. zstd.
    """
    with libarchive.file_writer(str(path), kind, compression) as archive:
        for name, data in members.items():
            archive.add_file_from_memory(name, len(data), data)
    return path.read_bytes()


def _number(value: int) -> bytes:
    """A number in RAR5's variable-length form."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _block(body: bytes, data: bytes = b"") -> bytes:
    sized = _number(len(body)) + body
    return struct.pack("<I", zlib.crc32(sized)) + sized + data


def _rar_data(kind: int, name: str, data: bytes) -> bytes:
    """A block with data: a file (2), or a service (3)."""
    encoded = name.encode()
    body = _number(kind) + _number(2) + _number(len(data))  # with data, of this size
    body += _number(4) + _number(len(data)) + _number(0o644) + struct.pack("<I", zlib.crc32(data))
    body += _number(0) + _number(1) + _number(len(encoded)) + encoded  # stored, by Unix
    return _block(body, data)


def rar5(members: Mapping[str, bytes], *, solid: bool = False, volume: bool = False, comment: bytes = b"") -> bytes:
    """A RAR5 archive of stored members, made by the published description of the format."""
    parts = [RAR5, _block(_number(1) + _number(0) + _number(_RAR_SOLID * solid | _RAR_VOLUME * volume))]
    parts += [_rar_data(3, "CMT", comment)] if comment else []
    parts += [_rar_data(2, name, data) for name, data in members.items()]
    parts.append(_block(_number(5) + _number(0) + _number(0)))
    return b"".join(parts)


@dataclass(frozen=True)
class _Piece:
    """What one part of an archive has of a member: `part` of its `data`."""

    name: str
    data: bytes
    part: bytes
    begins: bool
    ends: bool

    @property
    def crc(self) -> int:
        """As the formats have it: of the whole member in its last part, else of what is in the part."""
        return zlib.crc32(self.data if self.ends else self.part)


def _in_parts(members: Mapping[str, bytes], size: int) -> list[list[_Piece]]:
    """The members in parts, with `size` bytes of them in each."""
    parts: list[list[_Piece]] = [[]]
    left = size
    for name, data in members.items():
        begin = 0
        while begin < len(data):
            if not left:
                parts, left = [*parts, []], size
            end = min(len(data), begin + left)
            parts[-1].append(_Piece(name, data, data[begin:end], begin == 0, end == len(data)))
            left, begin = left - (end - begin), end
    return parts


def rar5_parts(members: Mapping[str, bytes], size: int) -> list[bytes]:
    """A RAR5 archive of stored members in parts, with `size` bytes of members in each."""

    def block(piece: _Piece) -> bytes:
        flags, name = 2 | 8 * (not piece.begins) | 16 * (not piece.ends), piece.name.encode()
        body = _number(2) + _number(flags) + _number(len(piece.part)) + _number(4) + _number(len(piece.data))
        body += _number(0o644) + struct.pack("<I", piece.crc) + _number(0) + _number(1) + _number(len(name)) + name
        return _block(body, piece.part)

    parts = _in_parts(members, size)
    return [
        RAR5
        + _block(_number(1) + _number(0) + (_number(_RAR_VOLUME | 2) + _number(i) if i else _number(_RAR_VOLUME)))
        + b"".join(map(block, part))
        + _block(_number(5) + _number(0) + _number(i + 1 < len(parts)))
        for i, part in enumerate(parts)
    ]


def _old_block(kind: int, flags: int, body: bytes, data: bytes = b"") -> bytes:
    head = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
    return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head + data


def rar4_parts(members: Mapping[str, bytes], size: int) -> list[bytes]:
    """A RAR4 archive of stored members in parts with names of the old kind, with `size` bytes of members in each."""

    def block(piece: _Piece) -> bytes:
        name = piece.name.encode()
        body = struct.pack(
            "<IIBIIBBHI", len(piece.part), len(piece.data), 3, piece.crc, 0, 20, 0x30, len(name), 0o100644
        )
        return _old_block(0x74, 0x8000 | (not piece.begins) | 2 * (not piece.ends), body + name, piece.part)

    parts = _in_parts(members, size)
    return [
        RAR4
        + _old_block(0x73, 1 | 0x100 * (i == 0), bytes(6))
        + b"".join(map(block, part))
        + _old_block(0x7B, 0x4000 | (i + 1 < len(parts)), b"")
        for i, part in enumerate(parts)
    ]


def rar5_encrypted() -> bytes:
    """A RAR5 archive whose headers are encrypted."""
    return RAR5 + _block(_number(4) + _number(0) + _number(0) + _number(0) + bytes([15]) + bytes(16)) + bytes(64)


def overlapping(page: bytes, times: int) -> bytes:
    """A ZIP whose directory names one member's bytes many times over."""
    data = zipped({"0.jpg": page})
    place, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry = data[place:end]
    entries = b"".join(entry.replace(b"0.jpg", f"{i:x}"[:1].encode() + b".jpg") for i in range(times))
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, times, times, len(entries), place, 0)
    return data[:place] + entries + tail


def epub(pages: Mapping[str, bytes], *, absent: tuple[str, ...] = (), drm: bool = False) -> bytes:
    """A book with one picture per page, in the order given, which is not the alphabetical order of the names."""
    manifest = "".join(
        f'<item id="i{n}" href="img/{name}" media-type="image/png"/>'
        f'<item id="p{n}" href="p{n}.xhtml" media-type="application/xhtml+xml"/>'
        for n, name in enumerate(pages)
    )
    spine = "".join(f'<itemref idref="p{n}"/>' for n in range(len(pages)))
    package = (
        f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{manifest}</manifest><spine>{spine}</spine></package>'
    )
    container = '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'
    members = {"mimetype": b"application/epub+zip", "META-INF/container.xml": container.encode()}
    members["OPS/book.opf"] = package.encode()
    for n, (name, data) in enumerate(pages.items()):
        members[f"OPS/p{n}.xhtml"] = f'<html><body><img alt="" src="img/{name}"/></body></html>'.encode()
        if name not in absent:
            members[f"OPS/img/{name}"] = data
    if drm:
        members["META-INF/encryption.xml"] = (
            b'<encryption><EncryptedData><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"/>'
            b"</EncryptedData></encryption>"
        )
    return zipped(members, zipfile.ZIP_STORED)


def encrypted_pdf() -> bytes:
    """A PDF whose password nobody knows: a reader's check of a password always fails."""
    lock = b"<</Filter/Standard/V 1/R 2/P -4/O<" + b"41" * 32 + b">/U<" + b"42" * 32 + b">>>"
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>", lock]
    body = b"%PDF-1.4\n"
    places = []
    for number, text in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj" % number + text + b"endobj\n"
    table = b"xref\n0 4\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer<</Root 1 0 R/Size 4/Encrypt 3 0 R/ID[<00><00>]>>\nstartxref\n%d\n%%%%EOF" % len(body)
    return body + table + trailer
