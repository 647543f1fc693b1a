"""Finished chunks of a long chapter, kept in the output folder until the last one is there.

A chunk file is one object, `_mangahue/pieces/<rel>/<identity>/<number>.zip`. It holds a manifest of the chunk, then the
chunk's members. Two runs that work on one chapter share its chunk files: the first to write one wins, and nobody
changes it afterwards.
"""

import hashlib
import logging
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from datasets.archive import write_zip
from datasets.errors import MangahueError, ObjectExistsError
from jobs.parts.colorize.tasks import ChapterTask
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.source.policy import Policy

log = logging.getLogger("mangahue")
Members = list[tuple[str, bytes]]  # names in the output, and contents
_NAME = re.compile(r"(\d{6,})\.zip")
_MANIFEST = "manifest.json"  # always the first member: a member of the chapter may have the same name


@dataclass(frozen=True)
class ChunkFiles:
    """The chunk files of one chapter, each named by the number of its chunk."""

    task: ChapterTask
    ledger: Ledger

    def there(self) -> set[int]:
        """The numbers of the chunk files that exist, written by an earlier run or by another run at work now."""
        names = (entry.key.rpartition("/")[2] for entry in self.ledger.storage.list(f"{self._folder()}/"))
        return {int(found[1]) for name in names if (found := _NAME.fullmatch(name))}

    def put(self, number: int, manifest: Manifest, members: Members) -> None:
        """Write a chunk file. One that exists already is left as it is."""
        packed = write_zip([(_MANIFEST, manifest.to_json()), *members])
        assert packed is not None
        with suppress(ObjectExistsError):
            self.ledger.storage.put(self._key(number), packed, if_absent=True)

    def manifest(self, number: int) -> Manifest:
        """The manifest in a chunk file. Raises ObjectNotFoundError where the file does not exist."""
        with self.ledger.storage.open(self._key(number)) as file, zipfile.ZipFile(file) as chunk:
            return Manifest.from_json(chunk.read(chunk.infolist()[0]))

    def members(self, of: int) -> Iterator[tuple[str, bytes]]:
        """The members of the first `of` chunks in their order. One chunk is in memory at a time."""
        for number in range(of):
            with self.ledger.storage.open(self._key(number)) as file, zipfile.ZipFile(file) as chunk:
                for info in chunk.infolist()[1:]:
                    yield info.filename, chunk.read(info)

    def remove(self, of: int) -> None:
        """Delete the files of the first `of` chunks. Where storage refuses, they are left to a later run's sweep."""
        try:
            for number in range(of):
                self.ledger.storage.delete(self._key(number))
        except MangahueError as error:
            log.warning("%s: its chunk files stay, though the chapter has ended: %s", self.task.ref.rel, error)

    def _key(self, number: int) -> str:
        return f"{self._folder()}/{number:06d}.zip"

    def _folder(self) -> str:
        """Its name holds all that decides the pixels: weights, settings, palette, hints, limits and the source's
        version."""
        hints = f"-{self.task.hints.digest()}" if self.task.hints.by_page else ""
        ref, policy = self.task.ref, self.task.policy.digest()
        limits = f"-{hashlib.sha256(policy.encode()).hexdigest()[:8]}" if policy != Policy().digest() else ""
        return f"{HOME}/pieces/{ref.rel}/{self.ledger.short_name}{hints}{limits}-{ref.version[:40]}"
