"""RAR archives in several parts: all of them under names that rarfile and unar know, and as the one stream they are."""

import io
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from datasets.archive import ChapterRef
from datasets.errors import ChapterUnreadableError, Code
from datasets.storage import Storage, open_storage
from datasets.volumes import parts_beside, volume_of


class Parts:
    """The parts of one archive. On disk they are linked to, from a bucket they are copied.

    Each has a name of the new kind and one of the old: the archive's header says after which programs look.

    ref: the first part, in a folder that holds all of them.
    paths: of the parts, in order.
    """

    def __init__(self, storage: Storage, ref: ChapterRef) -> None:
        """Find the parts. Raises VOLUME where one is missing."""
        parts = parts_beside(storage, ref.key)
        if not parts:
            raise missing(f"{ref.key} is one of them, and not named as one: name them ep.part1.rar, ep.part2.rar")
        for number, part in enumerate(parts):
            volume = volume_of(part.key)
            if volume is None or volume.number != number:
                raise missing(f"part {number + 1} is missing")
        self._folder = tempfile.TemporaryDirectory(prefix="mangahue-")
        self.paths = [self._local(storage, part.key, number) for number, part in enumerate(parts)]
        self.ref = replace(ref, root=self._folder.name, key=self.paths[0].name)

    @property
    def storage(self) -> Storage:
        """Where the first part is, with the others beside it."""
        return open_storage(self._folder.name)

    def open(self) -> BinaryIO:
        """Return a seekable reader of the parts, one behind the other."""
        return io.BufferedReader(_Joined(self.paths))

    def close(self) -> None:
        """Remove what was copied."""
        self._folder.cleanup()

    def _local(self, storage: Storage, key: str, number: int) -> Path:
        folder = Path(self._folder.name)
        path = folder / f"all.part{number + 1:06}.rar"
        found = storage.fetch(key, folder)
        if found.parent == folder:
            found.rename(path)
        else:
            path.symlink_to(found)
        if number:
            (folder / f"all.part{1:06}{_old(number)}").symlink_to(path)
        return path


def missing(what: str) -> ChapterUnreadableError:
    """Return the error for an archive without all of its parts."""
    return ChapterUnreadableError(Code.VOLUME, f"an archive in several parts: {what}; put all parts side by side")


def _old(number: int) -> str:
    """Return the extension of a part of the old kind, from the second on, which is number 1: .r00."""
    letter, count = divmod(number - 1, 100)
    return f".{chr(ord('r') + letter)}{count:02}"


class _Joined(io.RawIOBase):
    """Files, one behind the other."""

    def __init__(self, paths: list[Path]) -> None:
        self._files = [path.open("rb") for path in paths]
        self._ends = list(itertools.accumulate(path.stat().st_size for path in paths))
        self._at = 0

    def readinto(self, buffer: Any) -> int:
        number = next((number for number, end in enumerate(self._ends) if self._at < end), None)
        if number is None:
            return 0
        file, begin = self._files[number], self._ends[number - 1] if number else 0
        file.seek(self._at - begin)
        count = file.readinto(memoryview(buffer)[: self._ends[number] - self._at])
        self._at += count
        return count

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ends[-1]}[whence]
        if at < 0:
            raise ValueError(f"no byte {at}")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()
