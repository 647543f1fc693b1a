"""The commit log of a colouring job, kept in its output folder.

Beside the coloured chapters lies `_mangahue/`:
  job.json                    whose folder this is: the fingerprint of weights and settings, and the palette
  chapters/<rel>.json         the manifest of a chapter; a chapter is done when its manifest says so
  staged/<rel>/<sha256>.json  the manifest of a chapter about to be published, for a rerun after a kill in between
  pieces/<rel>/<identity>/    finished chunks of a long chapter that is not assembled yet
  palette.json                the colours of --palette, to be edited by hand
  previews/<rel>/             small pictures of a few of its pages, for the report
  report.json, report.html    what came of it all
and `_SUCCESS` when nothing is left to do. Ray runs things at least once; what is seen is written once: a chapter is put
on the condition that nothing is there, and the first writer wins.

The palette's colours are no part of the fingerprint, but for what their pixels are told by: a job whose palette was
edited is the same job, and the chapters that use an edited colour are no longer done.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
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
    ObjectExistsError,
    ObjectNotFoundError,
)
from datasets.names import short
from datasets.storage import Storage, open_storage
from imaging.palette import Palette
from jobs.parts.ledger.manifest import DamagedManifestError, Manifest
from jobs.parts.ledger.palette_usage import is_current
from jobs.parts.runtime.claims import claim, read_json
from jobs.parts.runtime.outcome import as_json

log = logging.getLogger("mangahue")
HOME = OUTPUT_HOME
SUCCESS = "_SUCCESS"
JOB = f"{HOME}/job.json"
REPORT = f"{HOME}/report.json"
PALETTE = f"{HOME}/palette.json"
_READERS = 32  # requests at once while planning: they wait, they don't work
_STALE = timedelta(days=1)  # no upload takes as long


class Ledger:
    """The commit log of one output folder, for the driver and for every worker. Picklable."""

    def __init__(self, out: str, fingerprint: str, palette: Palette | None = None) -> None:
        self.fingerprint = fingerprint
        self.palette = [list(color.ab) for color in palette.colors] if palette else []
        self.storage: Storage = open_storage(out)

    @property
    def short_name(self) -> str:
        """Of what decides every pixel: weights, settings, palette."""
        suffix = f"-{hashlib.sha256(json.dumps(self.palette).encode()).hexdigest()[:8]}" if self.palette else ""
        return self.fingerprint[:16] + suffix

    def claim(self, job: dict[str, Any], *, replace: bool) -> None:
        """Make the folder this job's own. Raises BadUsageError where other weights or settings made it."""
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
        """Where job.json is damaged, the first manifest that can be read says whose folder it is."""
        for entry in self.storage.list(f"{HOME}/chapters/"):
            with suppress(DamagedManifestError):
                found = Manifest.from_json(self.storage.read(entry.key)).fingerprint
                return {"fingerprint": found, "weights_sha256": "unknown", "settings": {}}
        return {"fingerprint": self.fingerprint}

    def manifests(self, rels: Iterable[str] = ()) -> dict[str, Manifest]:
        """The summary of every manifest in the folder, by chapter. What is no manifest any more comes as a damaged one.

        rels: chapters that may have one; the name of a damaged one's chapter is found among them.
        """
        rels_by_key = {manifest_key(rel): rel for rel in rels}
        keys = [entry.key for entry in self.storage.list(f"{HOME}/chapters/")]
        with ThreadPoolExecutor(_READERS) as readers:
            found = readers.map(lambda key: self._summary_at(key, rels_by_key), keys)
            return {manifest.rel: manifest for manifest in found}

    def _summary_at(self, key: str, rels_by_key: Mapping[str, str]) -> Manifest:
        try:
            return Manifest.from_json(self.storage.read(key)).summary()
        except DamagedManifestError as error:
            rel = rels_by_key.get(key) or key.removeprefix(f"{HOME}/chapters/").removesuffix(".json")
            return Manifest(rel, "", "", "", "damaged", code=Code.MANIFEST, message=f"{key}: {error}", counts=Counter())

    def manifest(self, rel: str) -> Manifest | None:
        """The manifest of one chapter; None where there is none that can be read."""
        try:
            return Manifest.from_json(self.storage.read(manifest_key(rel)))
        except (ObjectNotFoundError, DamagedManifestError):
            return None

    def begin_folder(self, rel: str) -> None:
        """Before the first page of a folder chapter is put: make sure that what lies there is ours to overwrite.

        Raises ObjectExistsError where files lie at its place that no run of this job put there.
        """
        mark = f"{HOME}/staged/{rel}/begun"
        there = next(self.storage.list(f"{rel}/"), None)
        if self.storage.stat(mark) is None:
            if there is not None:
                raise ObjectExistsError(
                    f"{self.storage.uri}/{there.key} is there already, and not by this job; move it away, or give "
                    "another --out"
                )
            self.storage.put(mark, b"")

    def covers(self, manifest: Manifest | None, ref: ChapterRef, policy: str, hints: str = "") -> bool:
        """Whether a manifest says that this very source is done by these very weights, settings and hints.

        A chapter that was refused counts as done as long as it would be refused under the same `policy`.
        """
        if manifest is None or not self.made(manifest, ref):
            return False
        if manifest.hints != hints or not is_current(manifest.palette_usage, self.palette):
            return False
        return manifest.status != "quarantined" or manifest.policy == policy

    def made(self, manifest: Manifest, ref: ChapterRef) -> bool:
        """Whether it tells of this source, and these weights and settings, whatever became of palette and hints."""
        same = (manifest.fingerprint, manifest.version) == (self.fingerprint, ref.version)
        return same and manifest.status != "damaged"

    def commit(self, manifest: Manifest) -> None:
        """Write a manifest: from here on the chapter is done."""
        self.storage.put(manifest_key(manifest.rel), manifest.to_json())

    def publish(self, manifest: Manifest, archive: bytes | Path, *, replace: bool) -> Manifest:
        """Put a chapter's archive in one go, then its manifest. Returns the manifest that holds.

        If something is there already: another run of this job was first, and its manifest holds, unless it is of
        another palette; or it is not ours, and ObjectExistsError tells. It tells too where the folder was taken over
        meanwhile, by another job or by this one with another palette.
        """
        self._check_owner()
        staged = self._staged(manifest)
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
            current = holds.hints == manifest.hints and is_current(holds.palette_usage, self.palette)
            return holds if current else self.publish(manifest, archive, replace=True)
        self.commit(manifest)
        if replace and not self._lies_there(manifest):  # another run that replaces it came in between
            return self.publish(manifest, archive, replace=True)
        self.storage.delete(staged)
        return manifest

    def recover(self, known: dict[str, Manifest]) -> Iterator[Manifest]:
        """Commit what was published by a run that died before the manifest was written; nothing is computed again."""
        waiting: dict[str, list[str]] = {}
        for entry in self.storage.list(f"{HOME}/staged/"):
            rel = entry.key.removeprefix(f"{HOME}/staged/").rpartition("/")[0]
            waiting.setdefault(rel, []).append(entry.key)
        for rel, keys in waiting.items():
            manifest = self._published(keys)
            if manifest is not None and not _same(known.get(rel), manifest):
                self.commit(manifest)
                yield manifest.summary()

    def sweep(self, finished: Iterable[Manifest]) -> None:
        """Take away what these chapters left in staged/ and pieces/, and what killed writers left of their uploads.

        Nothing else: another run of this job may be at work on the other chapters.
        """
        ended = list(finished)
        rels = {manifest.rel for manifest in ended}
        for folder in ("staged", "pieces"):
            home = f"{HOME}/{folder}/"
            for entry in list(self.storage.list(home)):
                rel = entry.key.removeprefix(home).rpartition("/")[0]
                if rel in rels or rel.rpartition("/")[0] in rels:  # pieces lie one folder deeper
                    self.storage.delete(entry.key)
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
        """The manifest of what lies where `mine` should: committed, or staged by the run that put it."""
        if (committed := self._committed(mine.rel)) is not None:
            return committed
        staged = [entry.key for entry in self.storage.list(f"{HOME}/staged/{mine.rel}/")]
        published = self._published(staged)
        if published is not None:
            self.commit(published)
            return published
        if (committed := self._committed(mine.rel)) is not None:  # its writer was faster than this look
            return committed
        raise ObjectExistsError(
            f"{self.storage.uri}/{mine.output} is there already, and not by this job; move it away, or give another "
            "--out"
        )

    def _committed(self, rel: str) -> Manifest | None:
        manifest = self.manifest(rel)
        return manifest if manifest is not None and manifest.fingerprint == self.fingerprint else None

    def _published(self, staged: list[str]) -> Manifest | None:
        """Of a chapter's staged manifests the one whose archive lies at its place."""
        for key in staged:
            if not key.endswith(".json"):
                continue
            try:
                manifest = Manifest.from_json(self.storage.read(key))
            except (DamagedManifestError, ObjectNotFoundError):  # the latter: its writer has just committed it
                continue
            if self._lies_there(manifest):
                return manifest
        return None

    def _lies_there(self, manifest: Manifest) -> bool:
        """Whether its archive is what lies at its place."""
        if self.storage.stat(manifest.output) is None:
            return False
        there = self.storage.metadata(manifest.output).get("sha256") or self.sha256(manifest.output)
        return there == manifest.sha256

    def sha256(self, key: str) -> str:
        """Of an object's content, read again. Hex."""
        with self.storage.open(key) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]

    @staticmethod
    def _staged(manifest: Manifest) -> str:
        return f"{HOME}/staged/{manifest.rel}/{manifest.sha256}.json"


def manifest_key(rel: str) -> str:
    """Where a chapter's manifest lies; a name that leaves no room for '.json' is cut."""
    folder, slash, name = rel.rpartition("/")
    return f"{HOME}/chapters/{folder}{slash}{short(name)}.json"


def _same(one: Manifest | None, other: Manifest) -> bool:
    """Whether two manifests tell of the same archive."""
    if one is None or one.status == "damaged":
        return False
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("sha256", "fingerprint", "version", "hints", "palette_usage")
    )


def _describe(job: dict[str, Any]) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in sorted(job["settings"].items()))
    return f"weights {job['weights_sha256'][:12]}, {settings}"
