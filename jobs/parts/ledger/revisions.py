"""The numbered manifests of chapters. Each is created once and never changed; the highest number is true.

  chapters/<rel>.json            number 1
  revisions/<rel>/<number>.json  one that replaced another, from 2 on

A run looks at the highest number, and creates the next one on condition that nothing is there: disks have no other
condition than this. Then it looks again. A number that was passed meanwhile may have been deleted, so that it could be
created a second time; a higher one is there then, and the run that came late is overtaken.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from datasets.archive import OUTPUT_HOME
from datasets.errors import AccessDeniedError, Code, MangahueError, ObjectExistsError, ObjectNotFoundError
from datasets.names import short
from datasets.storage import Storage
from jobs.parts.ledger.manifest import DamagedManifestError, Manifest

log = logging.getLogger("mangahue")
FIRSTS, LATER = f"{OUTPUT_HOME}/chapters/", f"{OUTPUT_HOME}/revisions/"
_NUMBER = re.compile(r"([1-9][0-9]*)\.json")


class OvertakenError(MangahueError):
    """Another run has written a manifest of a chapter since this one looked."""


class Revisions:
    """The numbered manifests in one output folder. Picklable."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def latest(self, rel: str) -> Manifest | None:
        """The manifest of a chapter that is true now, with its number; None where there is none.

        One that can't be parsed comes with status damaged. Raises StorageError where storage refuses it.
        """
        while True:
            first = self.read(rel, 1)
            later = self._later(rel)
            if not later:
                return first
            if (found := self.read(rel, max(later))) is not None:  # else it was replaced and deleted meanwhile
                return found

    def commit(self, manifest: Manifest, over: int) -> Manifest:
        """Create the manifest that follows number `over`; 0 where there was none. Returns it with its number.

        Raises OvertakenError where another run has done so since `over` was the highest number, and ObjectExistsError
        where something else is in the way.
        """
        number = over + 1
        key = key_of(manifest.rel, number)
        try:
            self._storage.put(key, manifest.to_json(), if_absent=True)
        except ObjectExistsError:
            latest = self.latest(manifest.rel)
            if latest is None or latest.number < number:  # a folder, say, which is no manifest
                raise
            raise overtaken(manifest.rel) from None
        later = self._later(manifest.rel)
        if any(other > number for other in later):
            self._delete(key)
            raise overtaken(manifest.rel)
        for lower in ([1] if over else []) + [other for other in later if other < number]:
            self._delete(key_of(manifest.rel, lower))
        return replace(manifest, number=number)

    def highest(self) -> Iterator[tuple[str, int, str]]:
        """(key of the first, number, rel) of each chapter's highest manifest.

        rel: "" for number 1, whose key has a shortened name where the chapter's is very long.
        """
        later: dict[str, tuple[int, str]] = {}
        for entry in self._storage.list(LATER):
            rel, _, name = entry.key.removeprefix(LATER).rpartition("/")
            if rel and (found := _NUMBER.fullmatch(name)):
                later[key_of(rel, 1)] = max(later.get(key_of(rel, 1), (0, "")), (int(found[1]), rel))
        for entry in self._storage.list(FIRSTS):
            if entry.key not in later:
                yield entry.key, 1, ""
        for key, (number, rel) in later.items():
            yield key, number, rel

    def read(self, rel: str, number: int) -> Manifest | None:
        """One manifest of a chapter, true or not; None where it is not there. One that can't be parsed is damaged."""
        key = key_of(rel, number)
        try:
            return replace(Manifest.from_json(self._storage.read(key)), number=number)
        except ObjectNotFoundError:
            return None
        except DamagedManifestError as error:
            return _damaged(rel, key, number, error)

    def _later(self, rel: str) -> list[int]:
        """The numbers of a chapter's manifests from 2 on. Chapters below this one have theirs deeper in its folder."""
        home = f"{LATER}{rel}/"
        names = (entry.key.removeprefix(home) for entry in self._storage.list(home))
        return [int(found[1]) for name in names if (found := _NUMBER.fullmatch(name))]

    def _delete(self, key: str) -> None:
        """Delete a manifest that is not true any more. It counts for nothing, so it may as well stay."""
        try:
            self._storage.delete(key)
        except AccessDeniedError:  # a job's rights may end before its log
            return
        except MangahueError as error:
            log.warning("%s is of no use any more, and stays: %s", key, error)


def key_of(rel: str, number: int) -> str:
    """The key of a chapter's manifest. A name that leaves no room for '.json' is shortened."""
    if number > 1:
        return f"{LATER}{rel}/{number}.json"
    folder, slash, name = rel.rpartition("/")
    return f"{FIRSTS}{folder}{slash}{short(name)}.json"


def overtaken(rel: str) -> OvertakenError:
    """The error of a run whose chapter another run has ended."""
    return OvertakenError(f"another run has ended chapter {rel} meanwhile, with another outcome; run again")


def _damaged(rel: str, key: str, number: int, error: DamagedManifestError) -> Manifest:
    """What stands for a manifest that can't be parsed."""
    return Manifest(
        rel,
        "",
        "",
        "",
        "damaged",
        code=Code.MANIFEST,
        message=f"{key}: {error}",
        number=number,
        counts=Counter(),
        colors=b"",
        followed=b"",
    )
