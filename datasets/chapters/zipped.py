"""ZIP archives: CBZ, and the container of EPUB."""

import itertools
import lzma
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from datasets.archive import ChapterRef
from datasets.chapters.base import Chapter, Listed, Member, encrypted, unreadable
from datasets.chapters.member_encoding import decode_names
from datasets.chapters.streamed import DamagedError, ForwardChapter, Stream, decoded
from datasets.chapters.unar import Unar
from datasets.errors import ChapterUnreadableError, Code
from datasets.limits import Limits
from datasets.signatures import HEAD_BYTES
from datasets.storage import Storage

_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError,
            ValueError)  # fmt: skip
_ENCRYPTED = 1
_UTF8 = 0x800
_UNMARKED = "cp437"
_DOS_FOLDER = 0x10
_LOCAL_HEADER = 30


class OpenedZip:
    """A ZIP archive, read by its directory: only that and the members asked for are fetched.

    comment: of the archive.
    links: names of the symbolic links.
    infos: the files, as zipfile has them; `filename` is decoded.
    warnings: for the report.
    """

    def __init__(self, storage: Storage, ref: ChapterRef, limits: Limits) -> None:
        """Open the archive. Raises ChapterUnreadableError: BROKEN, PASSWORD, LIMIT."""
        self._limits = limits
        self._file: BinaryIO = storage.open(ref.key)
        try:
            self._zip = zipfile.ZipFile(self._file)
        except _DAMAGED as error:
            self._file.close()
            raise ChapterUnreadableError(Code.BROKEN, f"not a whole ZIP archive: {error}") from error
        self.comment = self._zip.comment
        everything = _read_once(self._zip.infolist())
        if not all(info.filename for info in everything):
            raise ChapterUnreadableError(Code.BROKEN, "a member of the archive has no name; pack it again")
        if any(info.flag_bits & _ENCRYPTED for info in everything):
            raise encrypted()
        _refuse_overlaps(everything)
        self.warnings = _decode_names(everything)
        self.links = [info.filename for info in everything if _is_link(info)]
        self.infos = [info for info in everything if not _is_folder(info) and not _is_link(info)]
        seen: dict[str, int] = {}
        self._occurrence = {}
        for info in everything:
            self._occurrence[info.header_offset] = seen.get(info.filename, 0)
            seen[info.filename] = seen.get(info.filename, 0) + 1
        self._stream = Stream(lambda: storage.open(ref.key), "zip")
        self._unar = Unar(storage, ref, limits.seconds)
        self._member_indices = {
            info.header_offset: member_index for member_index, info in enumerate(sorted(everything, key=_offset))
        }

    def listed(self) -> Iterator[Listed]:
        """Yield the files; a file's token is its ZipInfo."""
        return (Listed(info.filename, info.file_size, info) for info in self.infos)

    def read(self, info: zipfile.ZipInfo, most: int | None = None) -> bytes:
        """Return a member's bytes. Raises DamagedError.

        most: bytes that are wanted, from the beginning; None for all.
        """
        parts: list[bytes] = []
        left = sys.maxsize if most is None else most
        try:
            with self._zip.open(info) as file:
                while part := file.read(min(left, 1 << 20)):
                    parts.append(part)
                    left -= len(part)
            return b"".join(parts)
        except NotImplementedError as error:  # a method that zipfile does not have
            return self._by_others(info, error)[:most]
        except _DAMAGED as error:
            raise DamagedError(str(error), b"".join(parts)) from error

    def _by_others(self, info: zipfile.ZipInfo, error: Exception) -> bytes:
        """Read a member by libarchive (ppmd, zstd) or by unar (deflate64)."""
        with suppress(DamagedError):
            data = self._stream.read(self._member_indices[info.header_offset], self._limits.member_bytes)
            if _whole(data, info):
                return data
        found = self._unar.read(info.filename, self._occurrence[info.header_offset], info.file_size)
        if found is not None and _whole(found, info):
            return found
        raise DamagedError(f"{error}; neither libarchive nor unar reads it") from error

    def partial(self, info: zipfile.ZipInfo) -> bytes:
        """Return what can be read of a damaged member."""
        parts: list[bytes] = []
        with suppress(*_DAMAGED), self._zip.open(info) as file:
            file._expected_crc = None  # type: ignore[attr-defined]  # zipfile has no public way to read on
            while part := file.read(4096):
                parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Release the archive's files."""
        self._zip.close()
        self._file.close()
        self._stream.close()
        self._unar.close()


def _offset(info: zipfile.ZipInfo) -> int:
    return info.header_offset


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def _is_folder(info: zipfile.ZipInfo) -> bool:
    """Return whether an entry is a folder: by its name, which Windows programs end in a backslash, or by its kind."""
    kind = stat.S_ISDIR(info.external_attr >> 16) or info.external_attr & _DOS_FOLDER
    return info.is_dir() or (info.file_size == 0 and (info.filename.endswith("\\") or bool(kind)))


def _read_once(infos: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """Return the entries without those that the directory lists again: of one name, at one place."""
    seen: dict[tuple[int, str, int, int, int], zipfile.ZipInfo] = {}
    for info in infos:
        seen.setdefault((info.header_offset, info.orig_filename, info.CRC, info.compress_size, info.file_size), info)
    return list(seen.values())


def _decode_names(infos: list[zipfile.ZipInfo]) -> list[str]:
    """Set the names that are not marked as UTF-8, and return the warnings. zipfile has taken them for code page 437."""
    unmarked = [info for info in infos if not info.flag_bits & _UTF8]
    raw = [info.filename.encode(_UNMARKED) for info in unmarked]
    names, warning = decode_names(raw)
    given = [_unicode_path(info, name) for info, name in zip(unmarked, raw, strict=True)]
    for info, name, said in zip(unmarked, names, given, strict=True):
        info.filename = said or name
    doubtful = any(not said and not name.isascii() for said, name in zip(given, raw, strict=True))
    return [warning] if warning and doubtful else []


def _unicode_path(info: zipfile.ZipInfo, raw: bytes) -> str:
    """Return the name in UTF-8 that an entry has beside that in another encoding; "" where it has none that is valid.

    It is the extra field 0x7075 of APPNOTE.TXT, 4.6.9.
    """
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == 0x7075 and field[:1] == b"\1" and field[1:5] == struct.pack("<I", zlib.crc32(raw)):
            with suppress(UnicodeDecodeError):
                return field[5:].decode()
    return ""


def _whole(data: bytes, info: zipfile.ZipInfo) -> bool:
    return len(data) == info.file_size and zlib.crc32(data) == info.CRC


def _refuse_overlaps(infos: list[zipfile.ZipInfo]) -> None:
    """Raise LIMIT where members share bytes.

    That is how a small file unpacks to petabytes (D. Fifield, A better zip bomb, 2019).
    """
    ordered = sorted(infos, key=_offset)
    for info, following in itertools.pairwise(ordered):
        if info.header_offset + _LOCAL_HEADER + info.compress_size > following.header_offset:
            message = f"{following.filename!r} overlaps {info.filename!r}, as in a bomb; pack it again if it is none"
            raise ChapterUnreadableError(Code.LIMIT, message)


class ZipChapter(Chapter):
    """A CBZ or ZIP archive."""

    def __init__(self, storage: Storage, ref: ChapterRef, limits: Limits) -> None:
        self._opened = OpenedZip(storage, ref, limits)
        super().__init__(self._opened.listed(), limits, ref.size)
        self.keep_comment(self._opened.comment)
        self.warnings += self._opened.warnings
        self.warn("left out, as no files", self._opened.links)

    def read(self, member: Member) -> bytes:
        try:
            return self._opened.read(self.token(member))
        except DamagedError as error:
            raise unreadable(member, error) from error

    def head(self, member: Member) -> bytes:
        try:
            return self._opened.read(self.token(member), HEAD_BYTES)
        except DamagedError as error:
            return error.partial

    def salvage(self, member: Member) -> bytes:
        return self._opened.partial(self.token(member))

    def close(self) -> None:
        self._opened.close()


class CutZipChapter(ForwardChapter):
    """A ZIP archive whose end, and with it its directory, is missing.

    What comes before the cut is read front to back.

    why: what is wrong with the archive.
    whole: number of its whole pages.
    """

    def __init__(self, storage: Storage, ref: ChapterRef, limits: Limits) -> None:
        self._stream = Stream(lambda: storage.open(ref.key), "zip")
        listed: list[Listed] = []
        total = 0
        try:
            for found in self._stream.entries():
                if not found.special and not (found.name.endswith(("/", "\\")) and not found.size):
                    listed.append(Listed(found.name, found.size or 0, found.member_index))
                if len(listed) > limits.members:
                    break
        except DamagedError as error:
            self.why = str(error)
        else:
            self.why = "its end is missing"
        self.whole = 0
        listed, warning = decoded(listed)
        super().__init__(listed, limits, None)
        self.warnings += [warning] if warning else []
        for member in self.members:
            try:
                total += len(self._stream.read(self.token(member), limits.member_bytes))
                self.whole += member.index is not None
            except DamagedError as error:
                if error.is_encrypted:
                    raise encrypted() from error
                total += len(error.partial)
            if total > limits.unpacked_bytes:
                raise ChapterUnreadableError(Code.LIMIT, "unpacks to more than --max-unpacked-mb")
        self.damage = f"the archive is cut off ({self.why}); {self.whole} whole pages were saved"
