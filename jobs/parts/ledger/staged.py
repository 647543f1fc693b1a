"""Staged manifests: those of chapters about to be published, for a rerun after a kill in between.

A chapter's are at `_mangahue/staged/<rel>/<sha256>.json`. They say what a run is going to put, not that it is there.
"""

import hashlib
from collections.abc import Iterable, Iterator

from datasets.archive import OUTPUT_HOME
from datasets.errors import ObjectNotFoundError
from datasets.storage import Storage
from jobs.parts.ledger.manifest import DamagedManifestError, Manifest

STAGED = f"{OUTPUT_HOME}/staged/"


def home_of(rel: str) -> str:
    """The folder of a chapter's staged manifests. Chapters below this one have theirs deeper in it."""
    return f"{STAGED}{rel}/"


def staged_key(manifest: Manifest) -> str:
    """The key of a staged manifest, named after the archive; for a folder after its files."""
    files = "".join(f"{page.output}\n{page.sha256}\n" for page in manifest.pages)
    name = manifest.sha256 or hashlib.sha256(files.encode(errors="surrogateescape")).hexdigest()
    return f"{home_of(manifest.rel)}{name}.json"


def staged_keys(storage: Storage, rel: str) -> list[str]:
    """The keys of what is staged of a chapter."""
    home = home_of(rel)
    return [entry.key for entry in storage.list(home) if "/" not in entry.key.removeprefix(home)]


def chapter_of(key: str) -> str:
    """The chapter of a staged manifest's key."""
    return key.removeprefix(STAGED).rpartition("/")[0]


def staged_by_chapter(storage: Storage) -> dict[str, list[str]]:
    """The keys of all that is staged, by chapter."""
    found: dict[str, list[str]] = {}
    for entry in storage.list(STAGED):
        found.setdefault(chapter_of(entry.key), []).append(entry.key)
    return found


def read_staged(storage: Storage, keys: Iterable[str]) -> Iterator[Manifest]:
    """The staged manifests at these keys. One that is damaged, or that its writer has just committed, is left out."""
    for key in keys:
        if not key.endswith(".json"):
            continue
        try:
            manifest = Manifest.from_json(storage.read(key))
        except (DamagedManifestError, ObjectNotFoundError):
            continue
        yield manifest


def begun_files(storage: Storage, output: str, keys: Iterable[str]) -> dict[str, set[str]]:
    """The files that runs have begun to put for a folder chapter, with the digests of their contents.

    output: the chapter's key in the output.
    keys: of what is staged of it.
    A run may have died before it put a file. What is there is its own only if it has the digest.
    """
    begun: dict[str, set[str]] = {}
    for manifest in read_staged(storage, keys):
        for page in manifest.pages if manifest.output == output else ():
            begun.setdefault(page.output, set()).add(page.sha256)
    return begun
