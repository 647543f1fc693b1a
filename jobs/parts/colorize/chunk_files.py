"""Finished chunks of a long chapter, kept in the output folder until the last one is there.

A chunk file is one object, `_mangahue/pieces/<rel>/<identity>/<number>.zip`. It holds a manifest of the chunk, then the
chunk's members. Two runs that work on one chapter share its chunk files: the first to write one wins, and nobody
changes it afterwards.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from datasets.archive import write_zip
from datasets.errors import ObjectExistsError
from jobs.parts.colorize.tasks import ChapterTask
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.source.policy import Policy

Members = list[tuple[str, bytes]]  # names in the output, and contents
_MANIFEST = "manifest.json"  # always the first member: a member of the chapter may have the same name


@dataclass(frozen=True)
class ChunkFiles:
    """The chunk files of one chapter, each named by the number of its chunk."""

    task: ChapterTask
    ledger: Ledger

    def there(self) -> set[int]:
        """The numbers of the chunk files that exist, written by an earlier run or by another run at work now."""
        return {int(Path(entry.key).stem) for entry in self.ledger.storage.list(f"{self._folder()}/")}

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
        """Delete the files of the first `of` chunks."""
        for number in range(of):
            self.ledger.storage.delete(self._key(number))

    def _key(self, number: int) -> str:
        return f"{self._folder()}/{number:06d}.zip"

    def _folder(self) -> str:
        """Its name holds all that decides the pixels: weights, settings, palette, hints, limits and the source's
        version."""
        hints = f"-{self.task.hints.digest()}" if self.task.hints.by_page else ""
        ref, policy = self.task.ref, self.task.policy.digest()
        limits = f"-{hashlib.sha256(policy.encode()).hexdigest()[:8]}" if policy != Policy().digest() else ""
        return f"{HOME}/pieces/{ref.rel}/{self.ledger.short_name}{hints}{limits}-{ref.version[:40]}"
