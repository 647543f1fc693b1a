"""The commit log of a colouring job, kept in its output folder.

Beside the coloured chapters is the folder `_mangahue/`:
  job.json                    whose folder this is: the fingerprint of weights and settings, and the palette
  chapters/<rel>.json         the manifest of a chapter; a chapter is done when its manifest says so
  staged/<rel>/<sha256>.json  the manifest of a chapter about to be published, for a rerun after a kill in between
  pieces/<rel>/<identity>/    chunk files of a long chapter that is not assembled yet
  palette.json                the colours of --palette, to be edited by hand
  previews/<rel>/             small pictures of a few of its pages, for the report
  report.json, report.html    what became of every chapter
and `_SUCCESS` when nothing is left to do.

Ray runs a task at least once, yet each result must be published once. So a chapter is put on the condition that nothing
is at its key, and the first writer wins.

The fingerprint covers the features by which a palette colour's pixels are found, but not the colour itself. So a job
whose palette was edited is the same job. The chapters that use an edited colour are no longer done.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
    ObjectNotFoundError,
    StorageError,
)
from datasets.names import short
from datasets.storage import Storage, open_storage
from imaging.palette import Palette
from jobs.parts.ledger.manifest import DamagedManifestError, Manifest
from jobs.parts.ledger.palette_usage import is_current
from jobs.parts.ledger.staged import begun_files, home_of, read_staged, staged_by_chapter, staged_key, staged_keys
from jobs.parts.runtime.claims import claim, read_json
from jobs.parts.runtime.outcome import as_json

log = logging.getLogger("mangahue")
HOME = OUTPUT_HOME
SUCCESS = "_SUCCESS"
JOB = f"{HOME}/job.json"
REPORT = f"{HOME}/report.json"
PALETTE = f"{HOME}/palette.json"
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
                f"--out {self.storage.uri} belongs to fingerprint {owner['fingerprint'][:16]} "
                f"({_describe(owner)}), this job is {self.fingerprint[:16]} ({_describe(job)}); "
                "give another folder, or --replace to colour it again"
            )
        if not there or (owner["fingerprint"], owner.get("palette")) != (self.fingerprint, job.get("palette")):
            self.storage.put(JOB, as_json(mine))

    def _owner_by_manifests(self) -> dict[str, Any]:
        """The owner where job.json is damaged: the fingerprint of the first manifest that can be read."""
        for entry in self.storage.list(f"{HOME}/chapters/"):
            with suppress(DamagedManifestError):
                found = Manifest.from_json(self.storage.read(entry.key)).fingerprint
                return {"fingerprint": found, "weights_sha256": "unknown", "settings": {}}
        return {"fingerprint": self.fingerprint}

    def manifests(self, rels: Iterable[str] = ()) -> dict[str, Manifest]:
        """The summary of every manifest in the folder, by chapter. One that is damaged comes as a manifest with status
        damaged; one that storage refuses, as one with status failed.

        rels: chapters that may have a manifest; used to name the chapter of one that can't be read.
        Raises StorageError where storage refuses so many that it is no matter of single chapters.
        """
        rels_by_key = {manifest_key(rel): rel for rel in rels}
        keys = [entry.key for entry in self.storage.list(f"{HOME}/chapters/")]
        with ThreadPoolExecutor(_READERS) as readers:
            refused: list[StorageError] = []
            found = readers.map(lambda key: self._summary_at(key, rels_by_key, refused), keys)
            return {manifest.rel: manifest for manifest in found}

    def _summary_at(self, key: str, rels_by_key: Mapping[str, str], refused: list[StorageError]) -> Manifest:
        """refused: takes the errors of storage; with too many of them, the last is raised."""
        rel = rels_by_key.get(key) or key.removeprefix(f"{HOME}/chapters/").removesuffix(".json")
        if len(refused) > _MOST_UNREAD:
            raise refused[-1]
        try:
            return Manifest.from_json(self.storage.read(key)).summary()
        except DamagedManifestError as error:
            return Manifest(rel, "", "", "", "damaged", code=Code.MANIFEST, message=f"{key}: {error}", counts=Counter())
        except StorageError as error:
            refused.append(error)
            if len(refused) > _MOST_UNREAD:
                raise
            message = f"its manifest can't be read, so it was left alone: {error}"
            return Manifest(rel, "", "", "", "failed", code=type(error).__name__, message=message, counts=Counter())

    def manifest(self, rel: str) -> Manifest | None:
        """The manifest of one chapter; None where there is none, or none that can be read."""
        try:
            return Manifest.from_json(self.storage.read(manifest_key(rel)))
        except (ObjectNotFoundError, DamagedManifestError):
            return None

    def covers(self, manifest: Manifest | None, ref: ChapterRef, policy: str, hints: str = "") -> bool:
        """Whether a manifest says that this very source is done with these very weights, settings and hints.

        policy: digest of the present policy. A quarantined chapter counts as done only under the policy that refused
            it.
        hints: digest of the chapter's present hints.
        """
        if manifest is None or not self.made(manifest, ref):
            return False
        if manifest.hints != hints or not is_current(manifest.palette_usage, self.palette):
            return False
        return manifest.status != "quarantined" or manifest.policy == policy

    def made(self, manifest: Manifest, ref: ChapterRef) -> bool:
        """Whether the manifest is of this source, these weights and these settings. Palette and hints may have changed
        since.
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

    def commit(self, manifest: Manifest) -> None:
        """Write a manifest. From here on the chapter is done."""
        self.storage.put(manifest_key(manifest.rel), manifest.to_json())

    def publish(self, manifest: Manifest, archive: bytes | Path, *, replace: bool) -> Manifest:
        """Put a chapter's archive in one request, then its manifest. Returns the manifest that is valid in the end.

        replace: overwrite what is at the chapter's key.
        If another run of this job was first, its manifest is valid, unless it was made with another palette or other
        hints.
        Raises ObjectExistsError where something is there that this job did not put, or where another job, or this job
        with another palette, has taken the folder over meanwhile.
        """
        self._check_owner()
        earlier = self._earlier(manifest.rel) if replace else None
        replace = replace and (earlier is None or earlier.output == manifest.output)
        staged = staged_key(manifest)
        self.storage.put(staged, manifest.to_json())
        metadata = {"sha256": manifest.sha256, "fingerprint": self.fingerprint, "source-version": manifest.version}
        content = "application/vnd.comicbook+zip"
        try:
            self.storage.put(manifest.output, archive, if_absent=not replace, metadata=metadata, content_type=content)
        except ObjectExistsError:
            try:
                holds = self._adopt(manifest)
            finally:
                self.storage.delete(staged)
            if holds.source != manifest.source and holds.version != manifest.version:
                raise ObjectExistsError(
                    f"{self.storage.uri}/{manifest.output} was made of {holds.source} meanwhile; give another --out"
                ) from None
            same = (holds.version, holds.hints) == (manifest.version, manifest.hints)
            current = same and is_current(holds.palette_usage, self.palette)
            return holds if current else self.publish(manifest, archive, replace=True)
        self.commit(manifest)
        if replace and not self._lies_there(manifest):  # another run has replaced it meanwhile
            return self.publish(manifest, archive, replace=True)
        if earlier is not None and earlier.output != manifest.output and self._lies_there(earlier):
            self.storage.delete(earlier.output)  # of another format
        self.storage.delete(staged)
        return manifest

    def publish_folder(self, manifest: Manifest, files: Iterable[tuple[str, bytes]], *, replace: bool) -> Manifest:
        """Put the files of a folder chapter, then its manifest. Then delete what the chapter has no more.

        files: names below the chapter's key, and contents.
        replace: whether an earlier version may be overwritten.
        Raises ObjectExistsError where a file is there that no run of this job put there, and as `publish` does.
        """
        self._check_owner()
        staged_before = staged_keys(self.storage, manifest.rel)
        own = self._own_files(manifest, staged_before, replace=replace)
        begun = begun_files(self.storage, manifest.output, staged_before)
        staged = staged_key(manifest)
        self.storage.put(staged, manifest.to_json())
        for name, data in files:
            self._put_file(f"{manifest.output}/{name}", data, own=own is None or name in own, begun=begun.get(name, ()))
        self.commit(manifest)
        for name in {*(own or ()), *begun} - {page.output for page in manifest.pages}:
            key = f"{manifest.output}/{name}"
            if name in (own or ()) or self._holds(key, begun[name]):
                self.storage.delete(key)
        self.storage.delete(staged)
        return manifest

    def _own_files(self, manifest: Manifest, staged: Collection[str], *, replace: bool) -> set[str] | None:
        """The files of a folder chapter that a run of this job has published; None for all that are there.

        staged: keys of what runs have staged of the chapter.
        """
        earlier = self._earlier(manifest.rel) if replace else None
        if f"{home_of(manifest.rel)}begun" in staged or (replace and earlier is None):
            return None  # a run of an earlier version of the job, which kept no names; or a manifest that is damaged
        if earlier is None or earlier.output != manifest.output:
            return set()
        return {page.output for page in earlier.pages}

    def _put_file(self, key: str, data: bytes, *, own: bool, begun: Collection[str]) -> None:
        try:
            self.storage.put(key, data, if_absent=not own)
        except ObjectExistsError:
            there = self.sha256(key)
            if there == hashlib.sha256(data).hexdigest():  # another run of this job was first
                return
            if there not in begun:
                raise self._not_ours(key) from None
            self.storage.put(key, data)

    def _holds(self, key: str, digests: Collection[str]) -> bool:
        return self.storage.stat(key) is not None and self.sha256(key) in digests

    def _not_ours(self, key: str) -> ObjectExistsError:
        return ObjectExistsError(
            f"{self.storage.uri}/{key} is there already, and not by this job; move it away, or give another --out"
        )

    def _earlier(self, rel: str) -> Manifest | None:
        """The manifest of what was published of a chapter; None where that is not known."""
        manifest = self.manifest(rel)
        return None if manifest is None else manifest.left

    def recover(self, known: dict[str, Manifest]) -> Iterator[Manifest]:
        """Commit chapters whose run died between publishing and writing the manifest. Nothing is computed again.

        known: the manifests in the folder, by chapter.
        Yields the summary of each manifest that it commits.
        """
        for rel, keys in staged_by_chapter(self.storage).items():
            try:
                manifest = self._published(keys)
                if manifest is None or _same(known.get(rel), manifest):
                    continue
                self.commit(manifest)
            except MangahueError as error:
                log.warning("%s: what a killed run left of it can't be read: %s", rel, error, extra={"chapter": rel})
                continue
            yield manifest.summary()

    def sweep(self, finished: Iterable[Manifest]) -> None:
        """Delete what these chapters left in staged/ and pieces/, and uploads that killed writers never ended.

        Nothing else is deleted, because another run of this job may be working on the other chapters.
        """
        ended = list(finished)
        rels = {manifest.rel for manifest in ended}
        for folder in ("staged", "pieces"):
            home = f"{HOME}/{folder}/"
            for entry in list(self.storage.list(home)):
                rel = entry.key.removeprefix(home).rpartition("/")[0]
                if rel in rels or rel.rpartition("/")[0] in rels:  # chunk files are one folder deeper
                    try:
                        self.storage.delete(entry.key)
                    except MangahueError as error:
                        log.warning("%s is of no use any more, and stays: %s", entry.key, error)
        try:
            self.storage.abort_stale_uploads(_STALE, {manifest.output for manifest in ended if manifest.output})
        except AccessDeniedError as error:
            log.warning("%s; uploads that killed writers left are not looked for", error)

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

    def _adopt(self, mine: Manifest) -> Manifest:
        """The manifest of what is at the key of `mine`: committed already, or staged by the run that put it."""
        if (committed := self._committed(mine.rel)) is not None:
            return committed
        published = self._published(staged_keys(self.storage, mine.rel))
        if published is not None:
            self.commit(published)
            return published
        if (committed := self._committed(mine.rel)) is not None:  # its writer has committed it meanwhile
            return committed
        raise self._not_ours(mine.output)

    def _committed(self, rel: str) -> Manifest | None:
        """The manifest of what this job has published of a chapter; None where it has published nothing."""
        manifest = self.manifest(rel)
        if manifest is None or not manifest.is_published:
            return None
        return manifest if manifest.fingerprint == self.fingerprint else None

    def _published(self, staged: Iterable[str]) -> Manifest | None:
        """Among a chapter's staged manifests, the one whose archive is in the output."""
        return next((manifest for manifest in read_staged(self.storage, staged) if self._lies_there(manifest)), None)

    def _lies_there(self, manifest: Manifest) -> bool:
        """Whether this manifest's archive is what its key holds."""
        if not manifest.sha256 or self.storage.stat(manifest.output) is None:  # a folder has none
            return False
        there = self.storage.metadata(manifest.output).get("sha256") or self.sha256(manifest.output)
        return there == manifest.sha256

    def sha256(self, key: str) -> str:
        """The digest of an object's content, which is read again. Hex."""
        with self.storage.open(key) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def manifest_key(rel: str) -> str:
    """The key of a chapter's manifest. A name that leaves no room for '.json' is shortened."""
    folder, slash, name = rel.rpartition("/")
    return f"{HOME}/chapters/{folder}{slash}{short(name)}.json"


def _same(one: Manifest | None, other: Manifest) -> bool:
    """Whether two manifests are of the same archive."""
    if one is None or one.status == "damaged":
        return False
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("sha256", "fingerprint", "version", "hints", "palette_usage")
    )


def _describe(job: dict[str, Any]) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in sorted(job["settings"].items()))
    return f"weights {job['weights_sha256'][:12]}, {settings}"
