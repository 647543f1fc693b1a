"""Finished chunks of a long chapter, kept in the output folder until the last one is there.

A chunk file is one object, `_mangahue/pieces/<rel>/<identity>/<number>.zip`. It holds a manifest of the chunk, then the
chunk's members. Two runs that work on one chapter share its chunk files: the first to write one wins, and nobody
changes it afterwards. A file that is found to be damaged is deleted: its chunk is computed again.
"""

import hashlib
import logging
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from datasets.archive import write_zip
from datasets.errors import MangahueError, ObjectExistsError, ObjectNotFoundError
from jobs.parts.colorize.tasks import ChapterTask
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.ledger.manifest import DamagedManifestError, Manifest
from jobs.parts.source.policy import Policy

log = logging.getLogger("mangahue")
Members = list[tuple[str, bytes]]  # names in the output, and contents
_NAME = re.compile(r"(\d{6,})\.zip")
_MANIFEST = "manifest.json"  # always the first member: a member of the chapter may have the same name
# What reading a damaged file may raise. Errors of storage are not among them: they say nothing of the file.
_BROKEN = (
    DamagedManifestError, zipfile.BadZipFile, zlib.error, ValueError, KeyError, IndexError, EOFError, RuntimeError,
    OSError,
)  # fmt: skip


class DamagedChunkError(MangahueError):
    """A chunk file that was cut off or altered. It was deleted."""


@dataclass(frozen=True)
class ChunkFiles:
    """The chunk files of one chapter, each named by the number of its chunk."""

    task: ChapterTask
    ledger: Ledger

    def whole(self) -> set[int]:
        """The numbers of the chunk files that are whole, written by an earlier run or by another run at work now.

        Each is read and checked. One that is damaged is deleted, so that its chunk is computed again.
        """
        names = (entry.key.rpartition("/")[2] for entry in self.ledger.storage.list(f"{self._folder()}/"))
        return {number for number in sorted(map(_number_in, names)) if number >= 0 and self._is_whole(number)}

    def put(self, number: int, manifest: Manifest, members: Members, comment: bytes = b"") -> None:
        """Write a chunk file. One that exists already is left as it is.

        comment: that of the chapter's archive, with the first chunk.
        """
        packed = write_zip([(_MANIFEST, manifest.to_json()), *members], comment=comment)
        assert packed is not None
        with suppress(ObjectExistsError):
            self.ledger.storage.put(self._key(number), packed, if_absent=True)

    def manifest(self, number: int) -> Manifest:
        """The manifest in a chunk file.

        Raises ObjectNotFoundError where the file does not exist, and DamagedChunkError where it is damaged. A damaged
        one is deleted.
        """
        with self._opened(number) as chunk:
            return _manifest_in(chunk)

    def comment(self) -> bytes:
        """The comment of the chapter's archive. Raises as `manifest` does."""
        with self._opened(0) as chunk:
            return chunk.comment

    def members(self, of: int) -> Iterator[tuple[str, bytes]]:
        """The members of the first `of` chunks in their order. One chunk is in memory at a time.

        Raises as `manifest` does.
        """
        for number in range(of):
            with self._opened(number) as chunk:
                members = _members_in(chunk)
            yield from members

    def remove(self, of: int) -> None:
        """Delete the files of the first `of` chunks. Where storage refuses, they are left to a later run's sweep."""
        try:
            for number in range(of):
                self.ledger.storage.delete(self._key(number))
        except MangahueError as error:
            log.warning("%s: its chunk files stay, though the chapter has ended: %s", self.task.ref.rel, error)

    def _is_whole(self, number: int) -> bool:
        try:
            with self._opened(number) as chunk:
                _members_in(chunk)
        except ObjectNotFoundError:  # another run has assembled the chapter meanwhile
            return False
        except DamagedChunkError as error:
            log.warning("%s: %s", self.task.ref.rel, error, extra={"chapter": self.task.ref.rel})
            return False
        return True

    @contextmanager
    def _opened(self, number: int) -> Iterator[zipfile.ZipFile]:
        """A chunk file to be read. An error that says that it is damaged deletes it."""
        storage, key = self.ledger.storage, self._key(number)
        try:
            with storage.open(key) as file, zipfile.ZipFile(file) as chunk:
                yield chunk
        except _BROKEN as error:
            damage = f"the chunk file {storage.uri}/{key} is damaged ({type(error).__name__}: {error})"
            try:
                storage.delete(key)
            except MangahueError as refused:
                raise MangahueError(f"{damage}; delete it and run again: it can't be deleted now: {refused}") from error
            raise DamagedChunkError(f"{damage}; it was deleted: run again, and its pages are done again") from error

    def _key(self, number: int) -> str:
        return f"{self._folder()}/{number:06d}.zip"

    def _folder(self) -> str:
        """Its name holds all that decides the pixels: weights, settings, palette, hints, marks, limits and the
        source's version."""
        hints = f"-{self.task.hints.digest()}" if self.task.hints.by_page else ""
        marks = f"-{self.task.marks.digest()}" if self.task.marks.marks else ""
        ref, policy = self.task.ref, self.task.policy.digest()
        limits = f"-{hashlib.sha256(policy.encode()).hexdigest()[:8]}" if policy != Policy().digest() else ""
        return f"{HOME}/pieces/{ref.rel}/{self.ledger.short_name}{hints}{marks}{limits}-{ref.version[:40]}"


def _number_in(name: str) -> int:
    """The number of a chunk file; -1 for the name of any other file."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else -1


def _manifest_in(chunk: zipfile.ZipFile) -> Manifest:
    return Manifest.from_json(chunk.read(chunk.infolist()[0]))


def _members_in(chunk: zipfile.ZipFile) -> Members:
    """The chapter's members in a chunk file. Raises ValueError where they are not those of its manifest."""
    members = [(info.filename, chunk.read(info)) for info in chunk.infolist()[1:]]
    wanted = [(page.output, page.sha256) for page in _manifest_in(chunk).pages]
    if [(name, hashlib.sha256(data).hexdigest()) for name, data in members] != wanted:
        raise ValueError("it has other members than its manifest says")
    return members
