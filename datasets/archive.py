"""Chapters as people keep them: found in a folder tree by name, and written back.

What is in them is for `datasets.chapters`. The `rel` of a chapter is its path in the source, with '/'. It is the
chapter's name everywhere: in shards, in the output, in reports.
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from datasets.errors import BadUsageError, MangahueError, ObjectNotFoundError, StorageError
from datasets.names import is_image
from datasets.storage import Entry, check_key, open_storage, split_uri

OUTPUT_HOME = "_mangahue"  # where a colouring job keeps its log; it holds no chapters
TAR_SUFFIXES = frozenset(
    {".cbt", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst"}
)
ZIP_SUFFIXES = frozenset({".cbz", ".zip"})
PDF_SUFFIX, EPUB_SUFFIX = ".pdf", ".epub"
REBUILT_SUFFIXES = frozenset({PDF_SUFFIX, EPUB_SUFFIX})  # kept as they are but for their pictures, with --keep-format
ARCHIVE_SUFFIXES = ZIP_SUFFIXES | TAR_SUFFIXES | REBUILT_SUFFIXES | {".cbr", ".rar", ".cb7", ".7z"}
Kind = Literal["archive", "folder", "picture"]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a ZIP, for all members: equal pages give equal bytes


@dataclass(frozen=True)
class ChapterRef:
    """A chapter before it is opened.

    root: URI of the source's storage.
    key: where the chapter lies in it.
    rel: the chapter's name.
    kind: "archive", "folder", or "picture": one that is a chapter by itself.
    size: in bytes.
    version: changes when the content does.
    """

    root: str
    key: str
    rel: str
    kind: Kind
    size: int
    version: str

    @property
    def uri(self) -> str:
        """The address of the chapter."""
        return f"{self.root}/{self.key}".rstrip("/")

    @property
    def name(self) -> str:
        """The last part of `rel`, without the extension of a file: 'ep10' for 'series/ep10.cbz'."""
        name = PurePosixPath(self.rel).name
        return name[: len(name) - len(suffix_of(name))] if self.kind != "folder" else name

    def version_now(self) -> str:
        """Return the version that storage has at this moment; "" where the chapter is gone."""
        storage = open_storage(self.root)
        if self.kind != "folder":
            entry = storage.stat(self.key)
            return "" if entry is None else entry.version
        folder = storage.child(self.key) if self.key else storage
        prefix = f"{self.key}/" if self.key else ""
        files = (entry for entry in folder.list(refused=leave_out) if "/" not in entry.key)
        own = (entry for entry in files if suffix_of(entry.key) not in ARCHIVE_SUFFIXES)
        return _folder_version([Entry(prefix + entry.key, entry.size, entry.version) for entry in own])


def suffix_of(name: str) -> str:
    """Return a name's extension in lower case, with its dot; '.tar.gz' and the like are one."""
    path = PurePosixPath(name.lower())
    double = "".join(path.suffixes[-2:])
    return double if double in TAR_SUFFIXES else path.suffix


Unusable = Callable[[ChapterRef, MangahueError], None]


def leave_out(key: str, error: StorageError) -> None:
    """Leave out of a listing what can't be listed: `find_chapters` has told of it."""


def find_chapters(uri: str, unusable: Unusable | None = None) -> Iterator[ChapterRef]:
    """Yield all chapters at any depth below `uri`, which may itself be one chapter.

    uri: an archive, a folder of chapters, or one picture.
    unusable: called for each entry that is, or may hold, a chapter and can't be used, and told why. BadUsageError: its
        key is none. StorageError: a folder can't be listed, or an archive or page is no file. None: the error is
        raised.

    An archive is a chapter; so is a folder that holds images itself. One folder's entries are held at a time. Raises
    BadUsageError where nothing is there.
    """
    tell = unusable or _raise
    parent, last = _split(uri)
    if suffix_of(last) in ARCHIVE_SUFFIXES:
        entry = open_storage(parent).stat(last)
        if entry is None:
            raise BadUsageError(f"source {uri} does not exist; give an archive, or a folder of chapters")
        yield _file_ref(parent, entry, "archive")
        return
    if is_image(last) and (entry := open_storage(parent).stat(last)) is not None:
        yield _file_ref(parent, entry, "picture")
        return
    storage = open_storage(uri)
    found = shares_name = False
    folders: dict[str, list[Entry]] = {}

    def refuse(key: str, error: StorageError) -> None:
        nonlocal found, shares_name
        found = True
        shares_name = shares_name or key.startswith(f"{last}/")
        path = PurePosixPath(key)
        named = suffix_of(path.name) in ARCHIVE_SUFFIXES or is_image(path.name)
        if OUTPUT_HOME not in path.parts and (named or not isinstance(error, ObjectNotFoundError)):
            name = key.rstrip("/")
            tell(ChapterRef(storage.uri, name, name, "folder" if key.endswith("/") else "archive", 0, ""), error)

    for entry in storage.list(refused=refuse):
        found = True
        shares_name = shares_name or entry.key.startswith(f"{last}/")
        path = PurePosixPath(entry.key)
        if OUTPUT_HOME in path.parts:
            continue
        if suffix_of(path.name) in ARCHIVE_SUFFIXES:
            if not path.name.startswith("._"):
                yield from _usable(_file_ref(storage.uri, entry, "archive"), tell)
            continue
        folder = entry.key.rpartition("/")[0]
        for finished in [name for name in folders if name and not f"{folder}/".startswith(f"{name}/")]:
            for ref in _folder_ref(storage.uri, last, finished, folders.pop(finished)):
                yield from _usable(ref, tell)
        folders.setdefault(folder, []).append(entry)
    own = folders.pop("", [])
    for folder, entries in folders.items():
        for ref in _folder_ref(storage.uri, last, folder, entries):
            yield from _usable(ref, tell)
    if shares_name:
        last = f"{last} (its own pages)"  # a folder in it has that name already
    yield from _folder_ref(storage.uri, last, "", own)
    if not found:
        raise BadUsageError(f"source {uri} is empty or does not exist; give an archive, or a folder of chapters")


def _raise(ref: ChapterRef, error: MangahueError) -> None:
    raise error


def _usable(ref: ChapterRef, tell: Unusable) -> Iterator[ChapterRef]:
    """Yield the chapter, unless its key is none."""
    try:
        check_key(ref.key)
    except BadUsageError as error:
        tell(ref, error)
    else:
        yield ref


def _split(uri: str) -> tuple[str, str]:
    """Split an address as `split_uri` does; a bucket or '/' has no parent, and gets its own name."""
    try:
        return split_uri(uri)
    except BadUsageError:
        return uri, uri.rstrip("/").rpartition("/")[2] or "root"


def _file_ref(root: str, entry: Entry, kind: Kind) -> ChapterRef:
    return ChapterRef(root, entry.key, entry.key, kind, entry.size, entry.version)


def _folder_ref(root: str, last: str, folder: str, entries: list[Entry]) -> Iterator[ChapterRef]:
    if any(is_image(entry.key) for entry in entries):
        size = sum(entry.size for entry in entries)
        yield ChapterRef(root, folder, folder or last, "folder", size, _folder_version(entries))


def _folder_version(entries: list[Entry]) -> str:
    digest = hashlib.sha256()
    for entry in sorted(entries, key=lambda entry: entry.key):
        digest.update(f"{entry.key}\0{entry.size}\0{entry.version}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def write_zip(members: Iterable[tuple[str, bytes]], out: Path | None = None) -> bytes | None:
    """Write a ZIP of stored members, in the order given, with fixed times: equal members give equal bytes.

    members: names and contents, taken one at a time.
    out: the file to write; None to return the bytes.
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
    """Return chapter and page of a page file named `[chapter]_[page]`: '012_003' gives ('12', '3').

    Returns None for a name of another form.
    """
    match = _CHAPTER_PAGE.match(stem)
    return (plain(match["chapter"]), plain(match["page"])) if match else None


def plain(text: str) -> str:
    """Return a name for comparing: in lower case, numbers without leading zeros."""
    return re.sub(r"\d+", lambda match: str(int(match[0])), text.lower().strip())
