"""What lies in the output folder beside the log: archives, and the files of folder chapters."""

import hashlib
from collections.abc import Collection, Iterable

from datasets.errors import ObjectNotFoundError
from datasets.storage import Storage
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.ledger.staged import read_staged


class Output:
    """The chapters in one output folder, compared with what manifests say of them. Picklable."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def sha256(self, key: str) -> str:
        """The digest of an object's content, which is read again. Hex."""
        with self._storage.open(key) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]

    def holds(self, manifest: Manifest) -> bool:
        """Whether what lies there is what this manifest says: its archive, or each file of its folder.

        Of an archive in a bucket the digest is asked for that was put with it; all else is read again.
        """
        if not manifest.output:
            return False
        if manifest.sha256:
            return self._has_archive(manifest.output, manifest.sha256)
        return all(self.has_file(f"{manifest.output}/{page.output}", {page.sha256}) for page in manifest.pages)

    def has_file(self, key: str, digests: Collection[str]) -> bool:
        """Whether an object is there whose content has one of these digests. It is read again."""
        try:
            return self.sha256(key) in digests
        except ObjectNotFoundError:
            return False

    def archive_of(self, staged: Iterable[str]) -> Manifest | None:
        """Among the staged manifests at these keys, the one whose archive lies there."""
        manifests = read_staged(self._storage, staged)
        return next((manifest for manifest in manifests if manifest.sha256 and self.holds(manifest)), None)

    def _has_archive(self, key: str, digest: str) -> bool:
        try:
            noted = self._storage.metadata(key).get("sha256")
        except ObjectNotFoundError:
            return False
        return noted == digest if noted else self.has_file(key, {digest})
