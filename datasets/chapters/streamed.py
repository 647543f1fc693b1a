"""Archives that libarchive reads, front to back: 7z, tar (plain, gzip, bzip2, xz, zstd), and what others can't read."""

import ctypes
import io
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from datasets.archive import ChapterRef
from datasets.chapters.base import Chapter, Listed, Member, encrypted, unreadable
from datasets.chapters.member_encoding import decode_names
from datasets.errors import ChapterUnreadableError, Code, MissingToolError, PageUnreadableError
from datasets.limits import Limits
from datasets.storage import Storage

_BLOCK = 1 << 18


@dataclass(frozen=True)
class Found:
    """An entry of an archive.

    member_index: in the archive, from 0.
    name: the archive's own; bytes that are no UTF-8 are escaped (`decoded`).
    size: in bytes; None where the archive gives it after the data.
    special: "hard link", "symbolic link", "device" or "folder"; "" for a file.
    """

    member_index: int
    name: str
    size: int | None
    special: str


class DamagedError(Exception):
    """An archive's data are damaged.

    partial: what came before the damage.
    """

    def __init__(self, message: str, partial: bytes = b"") -> None:
        super().__init__(message)
        self.partial = partial

    @property
    def is_encrypted(self) -> bool:
        """Whether they only need a password, by libarchive's message."""
        return any(word in str(self).lower() for word in ("encrypted", "passphrase"))


class Stream:
    """Passes over one archive: forward, and from the beginning again where an earlier entry is asked for."""

    def __init__(self, opener: Callable[[], BinaryIO], kind: str) -> None:
        """Take an archive; it is opened when it is read.

        opener: opens the archive's file, once for each pass.
        kind: libarchive's name of the one format that is tried: 7zip, tar, zip, rar, rar5.
        """
        self._opener = opener
        self._kind = kind
        self._pass: Iterator[tuple[Found, Any]] | None = None
        self._member_index = -1
        self._manager: AbstractContextManager[Any] | None = None
        self._file: Watched | None = None

    def entries(self) -> Iterator[Found]:
        """Yield all entries. Raises DamagedError where the archive ends before its end."""
        self.close()
        for found, _ in self._entries():
            yield found

    def read(self, member_index: int, most: int) -> bytes:
        """Return the data of the entry at `member_index`.

        Raises DamagedError, also where the data are more than `most` bytes.
        """
        if self._pass is None or member_index <= self._member_index:
            self.close()
            self._pass, self._member_index = self._entries(), -1
        for found, entry in self._pass:
            self._member_index = found.member_index
            if found.member_index == member_index:
                return self._data(entry, most)
        raise DamagedError("the archive ends before it")

    def close(self) -> None:
        """Release the file; the next read starts a new pass."""
        if self._manager is not None:
            manager, self._manager = self._manager, None
            manager.__exit__(None, None, None)
        if self._file is not None:
            self._file.close()
        self._file = self._pass = None

    def _data(self, entry: Any, most: int) -> bytes:
        libarchive = _libarchive()
        buffer = ctypes.create_string_buffer(_BLOCK)
        parts: list[bytes] = []
        size = 0
        try:  # the binding's own loop takes a warning's number for a count of bytes
            while (count := libarchive.ffi.read_data(entry._archive_p, buffer, _BLOCK)) != 0:
                if count < 0:
                    self._check_storage()
                    raise DamagedError("the data are damaged", b"".join(parts))
                parts.append(buffer.raw[:count])
                size += count
                if size > most:
                    raise DamagedError(f"over {most} bytes", b"".join(parts)[:most])
        except libarchive.exception.ArchiveError as error:
            self._check_storage()
            raise DamagedError(_plain(error), b"".join(parts)) from error
        self._check_storage()
        return b"".join(parts)

    def _entries(self) -> Iterator[tuple[Found, Any]]:
        libarchive = _libarchive()
        self._file = Watched(self._opener())
        try:
            manager = libarchive.stream_reader(self._file, format_name=self._kind, block_size=_BLOCK)
            reader = manager.__enter__()
            self._manager = manager
            for member_index, entry in enumerate(reader):
                name = entry.pathname
                text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name or ""
                yield Found(member_index, text, entry.size, _special(entry)), entry
        except libarchive.exception.ArchiveError as error:
            self._check_storage()
            raise DamagedError(_plain(error)) from error
        self._check_storage()

    def _check_storage(self) -> None:
        if self._file is not None:
            self._file.check()


class Watched(io.RawIOBase):
    """A file for the callbacks of a C library, out of which no exception comes.

    It keeps the errors of storage, which would be lost otherwise, and pass for damage of what is read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: Exception | None = None

    def check(self) -> None:
        """Raise the error of storage that was met last, if any."""
        if self.error is not None:
            raise self.error

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except Exception as error:
            self.error = error
            return -1
        buffer[: len(data)] = data
        return len(data)

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except ValueError:  # before the beginning, where damaged archives point
            return -1
        except Exception as error:
            self.error = error
            return -1

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


def _libarchive() -> Any:
    try:
        import libarchive
    except (OSError, AttributeError, TypeError) as error:  # what its ctypes binding raises without the library
        raise MissingToolError("libarchive is not on this node: apt-get install libarchive13") from error
    return libarchive


def decoded(listed: Sequence[Listed]) -> tuple[list[Listed], str]:
    """Return the members with names in the one encoding that fits them all, and a warning, as `decode_names`."""
    names, warning = decode_names([item.name.encode("utf-8", "surrogateescape") for item in listed])
    return [replace(item, name=name) for name, item in zip(names, listed, strict=True)], warning


def _special(entry: Any) -> str:
    if entry.islnk:  # a hard link's own type is that of a file
        return "hard link"
    kind = stat.S_IFMT(entry.filetype)
    if kind in (stat.S_IFREG, 0):
        return ""
    names = {stat.S_IFDIR: "folder", stat.S_IFLNK: "symbolic link"}
    return names.get(kind, "device")


def _plain(error: Exception) -> str:
    return str(getattr(error, "msg", error)).strip()


class ForwardChapter(Chapter):
    """A chapter whose members are read one after the other, by `_stream`; a token is a member's index in it."""

    sequential = True
    _stream: Stream

    def read(self, member: Member) -> bytes:
        try:
            return self._stream.read(self.token(member), self.limits.member_bytes)
        except DamagedError as error:
            if error.is_encrypted:
                raise encrypted() from error
            raise unreadable(member, error) from error

    def salvage(self, member: Member) -> bytes:
        try:
            return self._stream.read(self.token(member), self.limits.member_bytes)
        except DamagedError as error:
            return error.partial

    def close(self) -> None:
        self._stream.close()


class StreamedChapter(ForwardChapter):
    """A 7z or tar archive.

    What is not a file (links, devices) is left out, with a warning.
    """

    def __init__(self, storage: Storage, ref: ChapterRef, limits: Limits, kind: str) -> None:
        self._stream = Stream(lambda: storage.open(ref.key), kind)
        special: list[str] = []
        try:
            listed, warning = decoded(list(self._listed(special, limits)))
        except DamagedError as error:
            if error.is_encrypted:
                raise encrypted() from error
            raise ChapterUnreadableError(Code.BROKEN, f"not a whole {kind} archive: {error}") from error
        super().__init__(listed, limits, ref.size)
        self.warn("left out, as no files", special)
        self.warnings += [warning] if warning else []
        if kind == "7zip":
            self._refuse_encrypted()

    def _listed(self, special: list[str], limits: Limits) -> Iterator[Listed]:
        for found in self._stream.entries():
            if found.member_index > limits.members * 2:
                raise ChapterUnreadableError(Code.LIMIT, f"over {limits.members} members; see --max-members")
            if not found.special:
                yield Listed(found.name, found.size or 0, found.member_index)
            elif found.special != "folder":
                special.append(found.name)

    def _refuse_encrypted(self) -> None:
        """Read a member: a 7z archive shows that its data are encrypted only when they are read."""
        if first := next((member for member in self.members if member.size), None):
            with suppress(PageUnreadableError):
                self.read(first)
