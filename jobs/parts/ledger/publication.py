"""Puts one chapter into the output, and its manifest into the log, whatever other runs do meanwhile.

The order: staged manifest, content, deletion of what it replaces, manifest. Where no manifest names anything at a key,
content is put on the condition that nothing is there. What a manifest of the chapter names is overwritten, which has no
condition: two runs may do so at once. The one that put last writes the last manifest, so that the log follows what lies
there; if it dies before, its staged manifest tells. A run that is overtaken by another outcome raises OvertakenError;
its caller knows whether its source is still the present one.
"""

import mimetypes
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from datasets.archive import ZIP_SUFFIXES, suffix_of
from datasets.errors import ObjectExistsError, ObjectNotFoundError
from datasets.storage import Storage
from jobs.parts.ledger.manifest import Manifest, number_of
from jobs.parts.ledger.output import Output
from jobs.parts.ledger.palette_usage import is_current
from jobs.parts.ledger.revisions import OvertakenError, Revisions, overtaken
from jobs.parts.ledger.staged import begun_files, home_of, staged_key, staged_keys

Files = Callable[[], Iterable[tuple[str, bytes]]]  # names below a chapter's key, and contents; may be asked for again


class Publication(ABC):
    """One chapter on its way into the output.

    manifest: what is to be published.
    palette: ab of each colour of the job's palette.
    """

    def __init__(self, storage: Storage, manifest: Manifest, palette: list[list[float]]) -> None:
        self._storage, self._manifest, self._palette = storage, manifest, palette
        self._output, self._revisions = Output(storage), Revisions(storage)
        self._leaves_parts = False  # where it fails now, some of its content may stay, and its staged manifest with it

    def publish(self, over: int) -> Manifest:
        """Put the chapter. Returns the manifest that is true in the end, its own or an equal one of another run.

        over: the number of the manifest that was true when the chapter was planned; 0 for none.
        Raises ObjectExistsError where something is there that no manifest names, or that another job or another source
        has put meanwhile. Raises OvertakenError where another run has ended the chapter otherwise meanwhile.
        """
        known = self._revisions.latest(self._manifest.rel)
        if number_of(known) != over:
            return self._of_another_run(known)
        staged = staged_key(self._manifest)
        staged_before = staged_keys(self._storage, self._manifest.rel)
        self._storage.put(staged, self._manifest.to_json())
        try:
            adopted = self._put(known, staged_before)
        except ObjectExistsError:
            if not self._leaves_parts:
                self._storage.delete(staged)
            raise
        mine = None if adopted else self._commit(over)
        if mine is not None or not self._leaves_parts:
            self._storage.delete(staged)
        return mine or self._of_another_run(self._revisions.latest(self._manifest.rel))

    def _commit(self, over: int) -> Manifest | None:
        """Write the manifest. None where another run has written one, and not all that lies there is this run's."""
        number = over
        while True:
            try:
                return self._revisions.commit(self._manifest, number)
            except OvertakenError:
                if not self._output.holds(self._manifest):
                    return None
                number = number_of(self._revisions.latest(self._manifest.rel))

    def _of_another_run(self, known: Manifest | None) -> Manifest:
        """The manifest of another run, if it is equal to what was to be published."""
        mine = self._manifest
        if known is not None and known.fingerprint not in ("", mine.fingerprint):
            raise not_ours(self._storage, mine.output)
        if known is not None and known.source not in ("", mine.source) and known.version != mine.version:
            raise ObjectExistsError(
                f"{self._storage.uri}/{mine.output} was made of {known.source} meanwhile; give another --out"
            )
        if known is None or not self._is_equal(known):
            raise overtaken(mine.rel)
        return known

    def _is_equal(self, other: Manifest) -> bool:
        """Whether another manifest is of the same source and hints, and what it says lies there."""
        mine = self._manifest
        same = other.is_published and (other.version, other.hints) == (mine.version, mine.hints)
        return same and is_current(other.palette_usage, self._palette) and self._output.holds(other)

    @abstractmethod
    def _put(self, known: Manifest | None, staged: Collection[str]) -> bool:
        """Put the content, and delete what it replaces.

        known: the manifest of the chapter.
        staged: keys of what other runs have staged of it.
        Returns True where another run has put the same before, and its manifest is committed.
        Raises ObjectExistsError where something is there that no run of this job put there.
        """


class ArchivePublication(Publication):
    """A chapter that is one object.

    archive: its content, or a file that has it.
    """

    def __init__(self, storage: Storage, manifest: Manifest, palette: list[list[float]], archive: bytes | Path) -> None:
        super().__init__(storage, manifest, palette)
        self._archive = archive

    def _put(self, known: Manifest | None, staged: Collection[str]) -> bool:
        mine, earlier = self._manifest, known.left if known is not None else None
        lost = known is not None and known.is_lost
        overwrites = lost or (earlier is not None and earlier.output == mine.output)
        metadata = {"sha256": mine.sha256, "fingerprint": mine.fingerprint, "source-version": mine.version}
        content = _content_type(mine.output)
        try:
            self._storage.put(
                mine.output, self._archive, if_absent=not overwrites, metadata=metadata, content_type=content
            )
        except ObjectExistsError:
            self._adopt(number_of(known))
            return True
        if earlier is not None and earlier.output != mine.output:
            self._delete_other_format(earlier)
        return False

    def _delete_other_format(self, earlier: Manifest) -> None:
        if self._output.holds(earlier):
            self._storage.delete(earlier.output)

    def _adopt(self, number: int) -> None:
        """Commit the manifest of what is at the chapter's key already, if a run of this job has put it there."""
        published = self._output.archive_of(staged_keys(self._storage, self._manifest.rel))
        if published is not None:
            with suppress(OvertakenError):  # its writer has committed it meanwhile
                self._revisions.commit(published, number)
        elif number_of(self._revisions.latest(self._manifest.rel)) == number:
            raise not_ours(self._storage, self._manifest.output)


class FolderPublication(Publication):
    """A chapter whose members are objects of their own.

    files: its members.
    """

    def __init__(self, storage: Storage, manifest: Manifest, palette: list[list[float]], files: Files) -> None:
        super().__init__(storage, manifest, palette)
        self._files = files

    def _put(self, known: Manifest | None, staged: Collection[str]) -> bool:
        output, digests = self._manifest.output, {page.output: page.sha256 for page in self._manifest.pages}
        begun = begun_files(self._storage, output, staged)
        own = self._own_files(known, staged)
        there = {entry.key.removeprefix(f"{output}/") for entry in self._storage.list(f"{output}/")}
        if own is None:
            own = there & digests.keys()
        ours = {name: {digest, *begun.get(name, ())} for name, digest in digests.items()}
        for name in digests.keys() & there - own:  # before the first is overwritten
            self._check_ours(name, ours[name])
        self._leaves_parts = True
        for name, data in self._files():
            try:
                self._storage.put(f"{output}/{name}", data, if_absent=name not in own)
            except ObjectExistsError:
                if self._check_ours(name, ours[name]) != digests[name]:
                    self._storage.put(f"{output}/{name}", data)
        self._delete_what_is_gone(own, begun)
        return False

    def _delete_what_is_gone(self, own: Collection[str], begun: Mapping[str, Collection[str]]) -> None:
        """Delete the files of earlier versions that the chapter has no more.

        own: files that a run has published.
        begun: files that a run may have put, with their digests.
        """
        for name in {*own, *begun} - {page.output for page in self._manifest.pages}:
            key = f"{self._manifest.output}/{name}"
            if name in own or self._output.has_file(key, begun[name]):
                self._storage.delete(key)

    def _own_files(self, known: Manifest | None, staged: Collection[str]) -> set[str] | None:
        """The files that a run of this job has published; None for all that have the names of pages.

        staged: keys of what runs have staged of the chapter.
        """
        if f"{home_of(self._manifest.rel)}begun" in staged:
            return None  # a run of an earlier version of the job, which kept no names
        if known is None:
            return set()
        if known.is_lost:
            return None
        earlier = known.left
        if earlier is None or earlier.output != self._manifest.output:
            return set()
        return {page.output for page in earlier.pages}

    def _check_ours(self, name: str, digests: Collection[str]) -> str:
        """The digest of a file; "" where it is gone. Raises ObjectExistsError where it is none of these."""
        key = f"{self._manifest.output}/{name}"
        try:
            there = self._output.sha256(key)
        except ObjectNotFoundError:
            return ""
        if there not in digests:
            raise not_ours(self._storage, key)
        return there


def _content_type(key: str) -> str:
    """What browsers are told of an archive, a PDF or a picture in a bucket."""
    if suffix_of(key) in ZIP_SUFFIXES:
        return "application/vnd.comicbook+zip"
    return mimetypes.guess_type(key)[0] or "application/octet-stream"


def not_ours(storage: Storage, key: str) -> ObjectExistsError:
    """The error for an object that no run of this job has put."""
    return ObjectExistsError(
        f"{storage.uri}/{key} is there already, and not by this job; move it away, or give another --out"
    )
