"""RAR archives, of versions 4 and 5: CBR.

rarfile lists the members. Their data come from libarchive, where they agree with the list's sizes and checksums:
libarchive gives up in the middle of some archives, and misreads others. What it can't read is read by unar, member by
member.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import rarfile

from datasets.archive import ChapterRef
from datasets.chapters.base import Chapter, Listed, Member, encrypted, unreadable
from datasets.chapters.parts import Parts, missing
from datasets.chapters.streamed import DamagedError, Stream
from datasets.chapters.unar import Unar
from datasets.errors import ChapterUnreadableError, Code
from datasets.limits import Limits
from datasets.storage import Storage
from datasets.volumes import parts_beside


class RarChapter(Chapter):
    """A RAR archive, in one part or in several that lie side by side.

    What is not a file (links) is left out, with a warning. A copy of a page is that page again.
    """

    def __init__(self, storage: Storage, ref: ChapterRef, limits: Limits, kind: str) -> None:
        """Open the archive.

        kind: libarchive's name of the version, rar or rar5.
        """
        self._parts: Parts | None = None
        with storage.open(ref.key) as file:
            headers = _headers(file)
        if headers is None:
            self._parts = parts = Parts(storage, ref)
            headers = _headers(parts.paths[0])
            assert headers is not None
            self._stream, self._unar = Stream(parts.open, kind), Unar(parts.storage, parts.ref, limits.seconds)
        elif len(parts_beside(storage, ref.key)) > 1:
            raise missing("it is named as one, and is none: rename those that are chapters of their own")
        else:
            self._stream = Stream(lambda: storage.open(ref.key), kind)
            self._unar = Unar(storage, ref, limits.seconds)
        infos, self.sequential, comment = headers
        special: list[str] = []
        super().__init__(_listed(infos, special), limits, ref.size)
        self.warn("left out, as no files", special)
        self.keep_comment(comment)

    def read(self, member: Member) -> bytes:
        member_index, name, occurrence, crc = self.token(member)
        why: object = "its checksum is another"
        try:
            data = self._stream.read(member_index, self.limits.member_bytes)
            if len(data) == member.size and crc in (None, zlib.crc32(data)):
                return data
        except DamagedError as error:
            why = error
        found = self._unar.read(name, occurrence, member.size)
        if found is not None and crc in (None, zlib.crc32(found)):
            return found
        raise unreadable(member, why)

    def salvage(self, member: Member) -> bytes:
        try:
            return self._stream.read(self.token(member)[0], self.limits.member_bytes)
        except DamagedError as error:
            return error.partial

    def close(self) -> None:
        self._stream.close()
        self._unar.close()
        if self._parts is not None:
            self._parts.close()


def _headers(source: BinaryIO | Path) -> tuple[list[Any], bool, bytes] | None:
    """Return what rarfile knows of each member, whether the archive is solid, and its comment.

    source: the archive, or the path of its first part, with the others beside it.

    Returns None for one part of several. Raises BROKEN, PASSWORD, VOLUME.
    """
    alone = not isinstance(source, Path)
    try:
        with rarfile.RarFile(source if alone else str(source), part_only=alone) as archive:
            infos: list[Any] = archive.infolist()
            main = archive._file_parser._main  # rarfile has no public way to ask whether it found a header, or a volume
            if archive.needs_password():
                raise encrypted()
            if main is None:
                raise _broken("it has no header that can be read")
            if alone and (any(_split(info) for info in infos) or _is_volume(main)):
                return None
            if "next volume" in (archive.strerror() or ""):
                raise missing("the last one is missing")
            return infos, archive.is_solid(), (archive.comment or "").encode()
    except rarfile.PasswordRequired as error:
        raise encrypted() from error
    except rarfile.NeedFirstVolume as error:
        raise missing("the first one is missing") from error
    except (rarfile.Error, ValueError, OSError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise _broken(error) from error  # its parser raises anything on damaged headers


def _listed(infos: list[Any], special: list[str]) -> Iterator[Listed]:
    """Yield the files; others go to `special`.

    A file's token is its index in the archive, its name, its number among the members of that name, and its CRC.
    """
    seen: dict[str, int] = {}
    member_indices = {info.filename: member_index for member_index, info in reversed(list(enumerate(infos)))}
    for member_index, info in enumerate(infos):
        occurrence = seen.get(info.filename, 0)
        seen[info.filename] = occurrence + 1
        if info.is_dir():
            continue
        if info.file_redir is None and info.is_file():
            yield Listed(info.filename, info.file_size, (member_index, info.filename, occurrence, info.CRC))
            continue
        kind, _, target = info.file_redir or (None, None, None)
        if kind == rarfile.RAR5_XREDIR_FILE_COPY and target in member_indices:
            original = infos[member_indices[target]]
            yield Listed(info.filename, original.file_size, (member_indices[target], target, 0, original.CRC))
        else:
            special.append(info.filename)


def _split(info: Any) -> bool:
    """Return whether a member goes on in another volume, or began in one."""
    if isinstance(info, rarfile.Rar3Info):
        return bool(info.flags & (rarfile.RAR_FILE_SPLIT_BEFORE | rarfile.RAR_FILE_SPLIT_AFTER))
    flags = rarfile.RAR5_BLOCK_FLAG_SPLIT_BEFORE | rarfile.RAR5_BLOCK_FLAG_SPLIT_AFTER
    return bool(info.block_flags & flags)


def _is_volume(main: Any) -> bool:
    if hasattr(main, "main_flags"):
        return bool(main.main_flags & rarfile.RAR5_MAIN_FLAG_ISVOL)
    return main is not None and bool(main.flags & rarfile.RAR_MAIN_VOLUME)


def _broken(why: object) -> ChapterUnreadableError:
    return ChapterUnreadableError(Code.BROKEN, f"not a whole RAR archive: {why}")
