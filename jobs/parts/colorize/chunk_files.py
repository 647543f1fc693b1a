"""Finished chunks of a long chapter, put aside in the output until the last one is there.

Each is one object, `_mangahue/pieces/<rel>/<identity>/<number>.zip`: a manifest of the chunk, then its members. The
first writer's stays, and no one changes it: two runs at work on one volume share them.
"""

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

Members = list[tuple[str, bytes]]  # names in the output, and contents
_MANIFEST = "manifest.json"  # the first member; a member of a chapter may have the same name


@dataclass(frozen=True)
class ChunkFiles:
    """Those of one chapter, by the numbers of their chunks."""

    task: ChapterTask
    ledger: Ledger

    def there(self) -> set[int]:
        """Numbers of those that are put aside already, by an earlier run or by another one at work now."""
        return {int(Path(entry.key).stem) for entry in self.ledger.storage.list(f"{self._folder()}/")}

    def put(self, number: int, manifest: Manifest, members: Members) -> None:
        """Put a chunk aside; where it is there already, it stays as it is."""
        packed = write_zip([(_MANIFEST, manifest.to_json()), *members])
        assert packed is not None
        with suppress(ObjectExistsError):
            self.ledger.storage.put(self._key(number), packed, if_absent=True)

    def manifest(self, number: int) -> Manifest:
        """Raises ObjectNotFoundError where it is not there."""
        with self.ledger.storage.open(self._key(number)) as file, zipfile.ZipFile(file) as chunk:
            return Manifest.from_json(chunk.read(chunk.infolist()[0]))

    def members(self, of: int) -> Iterator[tuple[str, bytes]]:
        """The members of the first `of` chunks in their order, one chunk in memory at a time."""
        for number in range(of):
            with self.ledger.storage.open(self._key(number)) as file, zipfile.ZipFile(file) as chunk:
                for info in chunk.infolist()[1:]:
                    yield info.filename, chunk.read(info)

    def remove(self, of: int) -> None:
        for number in range(of):
            self.ledger.storage.delete(self._key(number))

    def _key(self, number: int) -> str:
        return f"{self._folder()}/{number:06d}.zip"

    def _folder(self) -> str:
        """Of what decides the pixels: other weights, palette, hints or another source have another."""
        hints = f"-{self.task.hints.digest()}" if self.task.hints.by_page else ""
        ref = self.task.ref
        return f"{HOME}/pieces/{ref.rel}/{self.ledger.short_name}{hints}-{ref.version[:40]}"
