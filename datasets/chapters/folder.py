"""Chapters of plain files: a folder of images, or one picture."""

from collections.abc import Iterable

from datasets.archive import ChapterRef, is_archive, leave_out
from datasets.chapters.base import Chapter, Listed, Member, unreadable
from datasets.errors import ObjectNotFoundError
from datasets.limits import Limits
from datasets.signatures import HEAD_BYTES
from datasets.storage import Storage


class _FilesChapter(Chapter):
    """Files of a storage, each found by its key."""

    def __init__(self, storage: Storage, files: Iterable[Listed], limits: Limits) -> None:
        self._storage = storage
        super().__init__(files, limits)

    def read(self, member: Member) -> bytes:
        try:
            return self._storage.read(self.token(member))
        except ObjectNotFoundError as error:
            raise unreadable(member, error) from error

    def head(self, member: Member) -> bytes:
        try:
            return self._storage.read_range(self.token(member), 0, HEAD_BYTES)
        except ObjectNotFoundError:
            return b""


class FolderChapter(_FilesChapter):
    """A folder of images.

    Files below deeper folders are not part of it, nor are archives: each is a chapter of its own.
    """

    def __init__(self, storage: Storage, ref: ChapterRef, limits: Limits) -> None:
        folder = storage.child(ref.key) if ref.key else storage
        own = (entry for entry in folder.list(refused=leave_out) if "/" not in entry.key)
        files = (entry for entry in own if not is_archive(entry.key))
        super().__init__(folder, (Listed(entry.key, entry.size, entry.key) for entry in files), limits)


class PictureChapter(_FilesChapter):
    """One picture that is a chapter by itself."""

    def __init__(self, storage: Storage, ref: ChapterRef, limits: Limits) -> None:
        super().__init__(storage, [Listed(ref.rel, ref.size, ref.key)], limits)
