"""Chapters as people keep them: found in a folder tree, opened, read member by member, written back.

The seam for more formats is `_OPENERS`: kind of chapter -> reader. A chapter's `rel` is its path in the source, with
'/'; it is its name everywhere: in shards, in the output, in reports.
"""

import hashlib
import io
import lzma
import re
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from natsort import natsort_keygen

from datasets.errors import BadUsageError, ChapterUnreadableError, ObjectNotFoundError, PageUnreadableError
from datasets.page import IMAGE_SUFFIXES
from datasets.storage import Entry, Storage, open_storage, split_uri

OUTPUT_HOME = "_mangahue"  # where a colouring job keeps its log: no chapters there
ZIP_SUFFIXES = frozenset({".cbz", ".zip"})
LATER_SUFFIXES = frozenset({".cbr", ".rar", ".cb7", ".7z", ".cbt", ".pdf", ".epub"})
ARCHIVE_SUFFIXES = ZIP_SUFFIXES | LATER_SUFFIXES
Kind = Literal["zip", "folder", "later"]

_natural = natsort_keygen()
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a ZIP can tell: equal pages give equal bytes


@dataclass(frozen=True)
class ChapterRef:
    """A chapter before it is opened.

    root: URI of the source's storage. key: where the chapter lies in it. rel: its name. size: bytes. version:
    changes when the content does.
    """

    root: str
    key: str
    rel: str
    kind: Kind
    size: int
    version: str

    @property
    def uri(self) -> str:
        return f"{self.root}/{self.key}".rstrip("/")

    @property
    def name(self) -> str:
        """Last part of `rel`, an archive's extension taken off: 'ep10' of 'series/ep10.cbz'."""
        path = PurePosixPath(self.rel)
        return path.stem if self.kind != "folder" else path.name


@dataclass(frozen=True)
class Member:
    """A file in a chapter.

    index: its place among the pages in reading order (natural sort), None for other files. place: in the archive, where
    two members may have one name.
    """

    name: str
    size: int
    index: int | None
    place: int = 0


def is_image(name: str) -> bool:
    """Whether a member is a page by its name; what macOS adds beside pages is not."""
    path = PurePosixPath(name)
    junk = "__MACOSX" in path.parts or path.name.startswith("._")
    return path.suffix.lower() in IMAGE_SUFFIXES and not junk


def find_chapters(uri: str) -> Iterator[ChapterRef]:
    """All chapters at any depth below `uri`, which may itself be one chapter.

    An archive is a chapter; so is a folder that holds images itself. Streams: one folder's entries are held at a time.
    Raises BadUsageError where nothing is there.
    """
    parent, last = _split(uri)
    if PurePosixPath(last).suffix.lower() in ARCHIVE_SUFFIXES:
        entry = open_storage(parent).stat(last)
        if entry is None:
            raise BadUsageError(f"source {uri} does not exist; give an archive, or a folder of chapters")
        yield _archive_ref(parent, entry)
        return
    storage = open_storage(uri)
    found = False
    folders: dict[str, list[Entry]] = {}
    for entry in storage.list():
        found = True
        path = PurePosixPath(entry.key)
        if OUTPUT_HOME in path.parts:
            continue
        if path.suffix.lower() in ARCHIVE_SUFFIXES and not path.name.startswith("._"):
            yield _archive_ref(storage.uri, entry)
            continue
        folder = entry.key.rpartition("/")[0]
        for finished in [name for name in folders if name and not f"{folder}/".startswith(f"{name}/")]:
            yield from _folder_ref(storage.uri, last, finished, folders.pop(finished))
        folders.setdefault(folder, []).append(entry)
    own = folders.pop("", [])
    for folder, entries in folders.items():
        yield from _folder_ref(storage.uri, last, folder, entries)
    if own and next(storage.list(f"{last}/"), None) is not None:
        last = f"{last} (its own pages)"  # the name is taken by a folder in it
    yield from _folder_ref(storage.uri, last, "", own)
    if not found:
        raise BadUsageError(f"source {uri} is empty or does not exist; give an archive, or a folder of chapters")


def _split(uri: str) -> tuple[str, str]:
    """Like split_uri; a bucket or '/' has no parent, and goes by its own name."""
    try:
        return split_uri(uri)
    except BadUsageError:
        return uri, uri.rstrip("/").rpartition("/")[2] or "root"


def _archive_ref(root: str, entry: Entry) -> ChapterRef:
    kind: Kind = "zip" if PurePosixPath(entry.key).suffix.lower() in ZIP_SUFFIXES else "later"
    return ChapterRef(root, entry.key, entry.key, kind, entry.size, entry.version)


def _folder_ref(root: str, last: str, folder: str, entries: list[Entry]) -> Iterator[ChapterRef]:
    if not any(is_image(entry.key) for entry in entries):
        return
    digest = hashlib.sha256()
    for entry in sorted(entries, key=lambda entry: entry.key):
        digest.update(f"{entry.key}\0{entry.size}\0{entry.version}\n".encode())
    size = sum(entry.size for entry in entries)
    yield ChapterRef(root, folder, folder or last, "folder", size, digest.hexdigest()[:32])


class Chapter(ABC):
    """An opened chapter: its members in the order they are kept, and their bytes."""

    def __init__(self, members: Iterable[tuple[str, int]]) -> None:
        listed = list(members)
        pages = [place for place, (name, _) in enumerate(listed) if is_image(name)]
        order = {place: i for i, place in enumerate(sorted(pages, key=lambda place: _natural(listed[place][0])))}
        self.members = [Member(name, size, order.get(place), place) for place, (name, size) in enumerate(listed)]
        if not order:
            raise ChapterUnreadableError("NO_PAGES", "no images in it")

    @property
    def pages(self) -> list[Member]:
        """The pages in reading order."""
        pages = [(member.index, member) for member in self.members if member.index is not None]
        return [member for _, member in sorted(pages, key=lambda pair: pair[0])]

    @abstractmethod
    def read(self, member: Member) -> bytes:
        """A member's bytes. Raises PageUnreadableError READ where they can not be had whole."""

    def salvage(self, member: Member) -> bytes:
        """What can be had of a member that `read` refuses; may be nothing."""
        return b""


_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError,
            ValueError)  # fmt: skip


class ZipChapter(Chapter):
    """A CBZ or ZIP archive; only its directory and the members asked for are fetched."""

    def __init__(self, storage: Storage, ref: ChapterRef) -> None:
        if ref.size == 0:
            raise ChapterUnreadableError("EMPTY", "the archive has no bytes")
        try:
            self._zip = zipfile.ZipFile(storage.open(ref.key))
        except _DAMAGED as error:
            raise ChapterUnreadableError("BROKEN", f"not a whole ZIP archive: {error}") from error
        if not all(info.filename for info in self._zip.infolist()):
            raise ChapterUnreadableError("BROKEN", "a member of the archive has no name; pack it again")
        self._infos = [info for info in self._zip.infolist() if not info.is_dir()]
        if any(info.flag_bits & 1 for info in self._infos):
            raise ChapterUnreadableError("PASSWORD", "the archive is encrypted; take the password off")
        super().__init__((info.filename, info.file_size) for info in self._infos)

    def read(self, member: Member) -> bytes:
        try:
            return self._zip.read(self._infos[member.place])
        except _DAMAGED as error:
            raise PageUnreadableError("READ", f"{member.name}: {error}") from error

    def salvage(self, member: Member) -> bytes:
        parts: list[bytes] = []
        try:
            with self._zip.open(self._infos[member.place]) as file:
                file._expected_crc = None  # type: ignore[attr-defined]  # zipfile has no public way to read on
                while part := file.read(4096):
                    parts.append(part)
        except _DAMAGED:
            pass
        return b"".join(parts)


class FolderChapter(Chapter):
    """A folder of images; files below deeper folders are not part of it."""

    def __init__(self, storage: Storage, ref: ChapterRef) -> None:
        self._folder = storage.child(ref.key) if ref.key else storage
        members = ((entry.key, entry.size) for entry in self._folder.list() if "/" not in entry.key)
        archives = ARCHIVE_SUFFIXES  # an archive that lies in the folder is a chapter of its own
        super().__init__((n, size) for n, size in members if PurePosixPath(n).suffix.lower() not in archives)

    def read(self, member: Member) -> bytes:
        try:
            return self._folder.read(member.name)
        except ObjectNotFoundError as error:
            raise PageUnreadableError("READ", f"{member.name}: {error}") from error


def _open_later(storage: Storage, ref: ChapterRef) -> Chapter:
    suffix = PurePosixPath(ref.rel).suffix.lower()
    raise ChapterUnreadableError("UNSUPPORTED", f"{suffix} archives are not read yet; repack it as CBZ")


_OPENERS = {"zip": ZipChapter, "folder": FolderChapter, "later": _open_later}


def open_chapter(ref: ChapterRef) -> Chapter:
    """Open a chapter. Raises ChapterUnreadableError with a code, StorageError where storage fails."""
    return _OPENERS[ref.kind](open_storage(ref.root), ref)


def write_zip(members: Iterable[tuple[str, bytes]], out: Path | None = None) -> bytes | None:
    """A ZIP of stored members in the order given, with fixed times: equal members, equal bytes.

    Written to `out`, or returned. Members are taken one at a time.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer if out is None else out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue() if out is None else None


_CHAPTER_PAGE = re.compile(r"^(?P<chapter>.+)_(?P<page>\d+)$")


def chapter_and_page(stem: str) -> tuple[str, str] | None:
    """The convention `[chapter]_[page]` of page files: '012_003' -> ('12', '3'); None where a name is not so made."""
    match = _CHAPTER_PAGE.match(stem)
    return (plain(match["chapter"]), plain(match["page"])) if match else None


def plain(text: str) -> str:
    """A name for comparing: lower case, numbers without leading zeros."""
    return re.sub(r"\d+", lambda match: str(int(match[0])), text.lower().strip())
