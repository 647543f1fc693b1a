"""The commit log of a colouring job, kept in its output folder.

Beside the coloured chapters is the folder `_mangahue/`:
  job.json                    whose folder this is: the fingerprint of weights and settings, and the palette
  chapters/<rel>.json         the manifest of a chapter; a chapter is done when its manifest says so
  revisions/<rel>/<n>.json    the manifest that replaced it, if any (jobs.parts.ledger.revisions)
  staged/<rel>/<sha256>.json  the manifest of a chapter about to be published, for a rerun after a kill in between
  pieces/<rel>/<identity>/    chunk files of a long chapter that is not assembled yet
  adapted-<name>.safetensors  the weights of --adapt
  palette.json                the colours of --palette, to be edited by hand or in the desk
  hints.csv                   the hints that were given in the desk; of a run without --hints they are the hints
  cast.csv                    the colours that have a name there; of a run without --cast they are the cast
  references.json             the pages that were marked as references in the desk
  references/                 their pictures, and what networks see of these
  previews/<rel>/             small pictures of its pages, for the report and the desk
  report.json, report.html    what became of every chapter; report.html also while a job is at work
  progress.json               how far a job is that is at work, or was
and `_SUCCESS` when nothing is left to do.

Ray runs a task at least once, yet each result must be published once. So a chapter is put on the condition that nothing
is at its key, and the first writer wins. A manifest is always written on a condition: no later one was written since.

The fingerprint covers the features by which a palette colour's pixels are found, but not the colour itself. So a job
whose palette was edited is the same job. The chapters that use an edited colour are no longer done.
"""

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from datasets.archive import OUTPUT_HOME, ChapterRef
from datasets.errors import (
    AccessDeniedError,
    BadUsageError,
    Code,
    MangahueError,
    ObjectExistsError,
    StorageError,
)
from datasets.storage import Storage, open_storage
from imaging.palette import Palette
from jobs.parts.ledger.manifest import DamagedManifestError, Manifest, number_of
from jobs.parts.ledger.marks import NO_MARKS, ChapterMarks
from jobs.parts.ledger.output import Output
from jobs.parts.ledger.palette_usage import is_current
from jobs.parts.ledger.publication import ArchivePublication, Files, FolderPublication
from jobs.parts.ledger.revisions import FIRSTS, LATER, OvertakenError, Revisions, key_of
from jobs.parts.ledger.staged import STAGED, chapter_of, staged_by_chapter, staged_key
from jobs.parts.runtime.claims import claim, read_json
from jobs.parts.runtime.outcome import as_json

log = logging.getLogger("mangahue")
HOME = OUTPUT_HOME
SUCCESS = "_SUCCESS"
JOB = f"{HOME}/job.json"
REPORT = f"{HOME}/report.json"
REPORT_PAGE = f"{HOME}/report.html"
PROGRESS = f"{HOME}/progress.json"
PALETTE = f"{HOME}/palette.json"
HINTS = f"{HOME}/hints.csv"
CAST = f"{HOME}/cast.csv"
REFERENCES = f"{HOME}/references.json"
_READERS = 32  # requests at once while planning: they mostly wait
_MOST_UNREAD = 32  # manifests that storage may refuse; beyond that the folder as a whole can't be used
_STALE = timedelta(days=1)  # no upload takes this long


class Ledger:
    """The commit log of one output folder, for the driver and for every worker. Picklable.

    out: URI of the folder.
    fingerprint: of the job's weights and settings.
    palette: the job's palette, if it has one.
    """

    def __init__(self, out: str, fingerprint: str, palette: Palette | None = None) -> None:
        self.fingerprint = fingerprint
        self.palette = [list(color.ab) for color in palette.colors] if palette else []
        self.storage: Storage = open_storage(out)
        self.output, self._revisions = Output(self.storage), Revisions(self.storage)

    @property
    def short_name(self) -> str:
        """A short name for what decides every pixel of a job: weights, settings, palette."""
        suffix = f"-{hashlib.sha256(json.dumps(self.palette).encode()).hexdigest()[:8]}" if self.palette else ""
        return self.fingerprint[:16] + suffix

    def claim(self, job: dict[str, Any], *, replace: bool) -> None:
        """Make the folder this job's own.

        job: what job.json says beside the fingerprint (JobSettings.as_job).
        replace: take the folder over from other weights or settings.
        Raises BadUsageError where other weights or settings made the folder, and `replace` is false; or where the store
        keeps no two jobs apart (jobs.parts.runtime.claims).
        """
        mine = {"fingerprint": self.fingerprint, **job}
        there = claim(self.storage, JOB, mine)
        if there is None:
            return
        owner = there or self._owner_by_manifests()
        if owner["fingerprint"] != self.fingerprint and not replace:
            raise BadUsageError(
                f"--out {self.storage.uri} belongs to another job, {owner['fingerprint'][:16]}; this one, "
                f"{self.fingerprint[:16]}, has {_differences(owner, job)}; give another folder, or --replace to colour "
                "it again"
            )
        if not there or _may_change(owner) != _may_change(mine):
            self.storage.put(JOB, as_json(mine))

    def _owner_by_manifests(self) -> dict[str, Any]:
        """The owner where job.json is damaged: the fingerprint of the first manifest that can be read."""
        for prefix in (FIRSTS, LATER):
            for entry in self.storage.list(prefix):
                with suppress(DamagedManifestError):
                    found = Manifest.from_json(self.storage.read(entry.key)).fingerprint
                    return {"fingerprint": found, "weights_sha256": "unknown", "settings": {}}
        return {"fingerprint": self.fingerprint}

    def manifests(self, rels: Iterable[str] = (), known: Iterable[Manifest] = ()) -> dict[str, Manifest]:
        """The summary of every chapter's manifest, by chapter. One that is damaged comes as a manifest with status
        damaged; one that storage refuses, as one with status failed.

        rels: chapters that may have a manifest; used to name the chapter of one that can't be read.
        known: summaries that were read before; one that is true still is not read again.
        Raises StorageError where storage refuses so many that it is no matter of single chapters.
        """
        rels_by_key = {key_of(rel, 1): rel for rel in rels}
        listed = list(self._revisions.highest())
        before = {(key_of(manifest.rel, 1), manifest.number): manifest for manifest in known}
        same = [before[first, number] for first, number, _ in listed if (first, number) in before]
        listed = [highest for highest in listed if highest[:2] not in before]
        with ThreadPoolExecutor(_READERS) as readers:
            refused: list[StorageError] = []
            found = readers.map(lambda highest: self._summary(highest, rels_by_key, refused), listed)
            return {manifest.rel: manifest for manifest in (*same, *found) if manifest is not None}

    def _summary(
        self, highest: tuple[str, int, str], rels_by_key: Mapping[str, str], refused: list[StorageError]
    ) -> Manifest | None:
        """highest: as `Revisions.highest` yields it.
        refused: takes the errors of storage; with too many of them, the last is raised.
        """
        first, number, rel = highest
        rel = rel or rels_by_key.get(first) or first.removeprefix(FIRSTS).removesuffix(".json")
        if len(refused) > _MOST_UNREAD:
            raise refused[-1]
        try:
            found = self._revisions.read(rel, number) or self._revisions.latest(rel)  # replaced meanwhile
            return None if found is None else found.summary()
        except StorageError as error:
            refused.append(error)
            if len(refused) > _MOST_UNREAD:
                raise
            message = f"its manifest can't be read, so it was left alone: {error}"
            return Manifest(rel, "", "", "", "failed", code=type(error).__name__, message=message, counts=Counter())

    def manifest(self, rel: str) -> Manifest | None:
        """The manifest of one chapter that is true now, with its number. None where there is none; one that can't be
        parsed has status damaged.
        """
        return self._revisions.latest(rel)

    def numbers(self) -> dict[str, int]:
        """The number of every chapter's manifest, by `key_of(rel, 1)`. Nothing is read, only listed."""
        return {first: number for first, number, _ in self._revisions.highest()}

    def covers(
        self, manifest: Manifest | None, ref: ChapterRef, policy: str, hints: str = "", marks: ChapterMarks = NO_MARKS
    ) -> bool:
        """Whether a manifest says that this very source is done with these very weights, settings, hints and marks.

        policy: digest of the present policy. A quarantined chapter counts as done only under the policy that refused
            it.
        hints: digest of the chapter's present hints.
        marks: the present marks that count in the chapter.
        """
        if manifest is None or not self.made(manifest, ref):
            return False
        if manifest.hints != hints or not is_current(manifest.palette_usage, self.palette) or not marks.hold(manifest):
            return False
        return manifest.status != "quarantined" or manifest.policy == policy

    def made(self, manifest: Manifest, ref: ChapterRef) -> bool:
        """Whether the manifest is of this source, these weights and these settings. Palette, hints and marks may have
        changed since.
        """
        same = (manifest.fingerprint, manifest.version) == (self.fingerprint, ref.version)
        return same and manifest.status != "damaged"

    def unpublished(
        self, ref: ChapterRef, status: str, *, code: str = "", message: str = "", hints: str = ""
    ) -> Manifest:
        """The manifest of a chapter of which nothing is published yet. It is not committed.

        hints: digest of the chapter's hints.
        """
        return Manifest(
            rel=ref.rel,
            source=ref.uri,
            version=ref.version,
            fingerprint=self.fingerprint,
            status=status,
            code=code,
            message=message,
            hints=hints,
        )

    def commit(self, manifest: Manifest, over: int) -> Manifest:
        """Write a manifest. From here on the chapter has this outcome. Returns the manifest with its number.

        over: the number of the manifest that it follows; 0 for none.
        Raises OvertakenError where another run has written one meanwhile.
        """
        return self._revisions.commit(manifest, over)

    def publish(self, manifest: Manifest, archive: bytes | Path, *, over: int) -> Manifest:
        """Put a chapter's archive in one request, then its manifest. Returns the manifest that is true in the end.

        over: the number of the manifest that was true when the chapter was planned; 0 for none. What it says was
            published is overwritten.
        Raises as `Publication.publish`, and ObjectExistsError where another job, or this job with another palette, has
        taken the folder over meanwhile.
        """
        self._check_owner()
        return ArchivePublication(self.storage, manifest, self.palette, archive).publish(over)

    def publish_folder(self, manifest: Manifest, files: Files, *, over: int) -> Manifest:
        """Put the files of a folder chapter, delete what the chapter has no more, then put its manifest.

        Otherwise as `publish`.
        """
        self._check_owner()
        return FolderPublication(self.storage, manifest, self.palette, files).publish(over)

    def recover(self) -> dict[str, Manifest]:
        """Look at the chapters that runs were at work on when they died, or are now. Nothing is computed again.

        An archive that was put and not committed is committed. A chapter of which a run has overwritten some files is
        marked as damaged, as verify.py does. Returns the summary of each manifest that is news, by chapter.
        """
        news: dict[str, Manifest] = {}
        for rel, keys in staged_by_chapter(self.storage).items():
            try:
                known = self.manifest(rel)
                found = self._recovered(known, self.output.archive_of(keys))
                self._forget(found or known, keys)
            except OvertakenError:
                continue
            except MangahueError as error:
                log.warning("%s: what a killed run left of it can't be read: %s", rel, error, extra={"chapter": rel})
                continue
            if found is None:
                continue
            news[rel] = found.summary()
            log.info("%s: %s", rel, found.message or "recovered, it was published before its manifest was written")
        return news

    def _forget(self, manifest: Manifest | None, staged: Collection[str]) -> None:
        """Delete the staged manifest that equals a chapter's true one: it tells nothing more.

        manifest: of a chapter whose output was found to be as it says.
        """
        if manifest is not None and manifest.is_published and (key := staged_key(manifest)) in staged:
            self._delete(key)

    def _recovered(self, known: Manifest | None, there: Manifest | None) -> Manifest | None:
        """known: a chapter's manifest. there: the staged one whose archive lies there."""
        if there is not None:
            return None if _same(known, there) else self.commit(there, number_of(known))
        standing = None if known is None else known.standing
        if standing is None or standing.status == "damaged" or self.output.holds(standing):
            return None
        message = f"another run, which may have been killed, has overwritten some of {standing.output}"
        marked = replace(standing, status="damaged", code=Code.ALTERED, message=message)
        return self.commit(marked, number_of(known))

    def sweep(self, ended: Collection[Manifest]) -> None:
        """Delete what runs left in pieces/ and staged/ of chapters that have ended, and uploads of killed writers.

        Another run of this job may be at work on the same chapters. It can do without chunk files. It can't do without
        a staged manifest: if it dies, only that tells what it may have put. So it goes when it is a day old, and the
        chapter is published.
        """
        chapters = {manifest.rel for manifest in ended}
        chunk_files, aged = f"{HOME}/pieces/", time.time() - _STALE.total_seconds()
        for entry in list(self.storage.list(chunk_files)):
            if entry.key.removeprefix(chunk_files).rpartition("/")[0].rpartition("/")[0] in chapters:
                self._delete(entry.key)
        published = {manifest.rel for manifest in ended if manifest.is_published}
        for entry in list(self.storage.list(STAGED)):
            if entry.modified < aged and chapter_of(entry.key) in published:
                self._delete(entry.key)
        try:
            self.storage.abort_stale_uploads(_STALE, {manifest.output for manifest in ended if manifest.output})
        except AccessDeniedError as error:
            log.warning("%s; uploads that killed writers left are not looked for", error)

    def _delete(self, key: str) -> None:
        try:
            self.storage.delete(key)
        except MangahueError as error:
            log.warning("%s is of no use any more, and stays: %s", key, error)

    def _check_owner(self) -> None:
        owner = read_json(self.storage, JOB)
        if not owner:
            return
        palette = [color["ab"] for color in owner.get("palette", {}).get("colors", [])]
        if (owner["fingerprint"], palette) != (self.fingerprint, self.palette):
            raise ObjectExistsError(
                f"{self.storage.uri} was taken over by a job of other weights, settings or palette "
                f"({owner['fingerprint'][:16]}) while this "
                f"one ({self.fingerprint[:16]}) ran; give them folders of their own"
            )


def _same(one: Manifest | None, other: Manifest) -> bool:
    """Whether two manifests are of the same archive."""
    if one is None or one.status == "damaged":
        return False
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("sha256", "fingerprint", "version", "hints", "palette_usage", "following")
    )


def _may_change(job: Mapping[str, Any]) -> tuple[Any, ...]:
    """What job.json records that may change from run to run; the fingerprint only by --replace."""
    return job["fingerprint"], job.get("palette"), job.get("config", {}).get("hints", "")


def _differences(owner: Mapping[str, Any], job: Mapping[str, Any]) -> str:
    """What a job has other than the folder's: `weights 1a2b instead of 3c4d, backend openvino instead of torch`."""
    theirs, ours = ({"weights": named["weights_sha256"][:12], **named["settings"]} for named in (owner, job))
    names = [name for name in sorted(theirs | ours) if theirs.get(name) != ours.get(name)]
    return ", ".join(f"{name} {ours.get(name, 'none')} instead of {theirs.get(name, 'none')}" for name in names)
