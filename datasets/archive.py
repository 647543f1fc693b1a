"""Chapters as people keep them: found in a folder tree by name, and written back.

What is in them is for `datasets.chapters`. The `rel` of a chapter is its path in the source, with '/'. It is the
chapter's name everywhere: in shards, in the output, in reports.
"""

import hashlib
import io
import itertools
import logging
import re
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from datasets.errors import BadUsageError, MangahueError, ObjectNotFoundError, StorageError
from datasets.names import composed, is_image, junk_folder, may_be_image
from datasets.signatures import HEAD_BYTES, picture_format
from datasets.storage import Entry, Storage, check_key, open_storage, split_uri
from datasets.volumes import by_archive, parts_beside, volume_of

log = logging.getLogger("mangahue")
OUTPUT_HOME = "_mangahue"  # where a colouring job keeps its log; it holds no chapters
TAR_SUFFIXES = frozenset(
    {".cbt", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst"}
)
ZIP_SUFFIXES = frozenset({".cbz", ".zip"})
PDF_SUFFIX, EPUB_SUFFIX = ".pdf", ".epub"
REBUILT_SUFFIXES = frozenset({PDF_SUFFIX, EPUB_SUFFIX})  # kept as they are but for their pictures, with --keep-format
ARCHIVE_SUFFIXES = ZIP_SUFFIXES | TAR_SUFFIXES | REBUILT_SUFFIXES | {".cbr", ".rar", ".cb7", ".7z"}
Kind = Literal["archive", "folder", "picture"]

_MOST_FORMS = 64  # of an address that are looked for
_NAMED = 8  # folders in a message
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
        """The last part of `rel`, without the extension of a file: 'ep10' for 'series/ep10.cbz' or 'ep10.part1.rar'."""
        name = PurePosixPath(self.rel).name
        if self.kind == "folder":
            return name
        stem, volume = name[: len(name) - len(suffix_of(name))], volume_of(name)
        return stem if volume is None else volume.stem

    def version_now(self) -> str:
        """Return the version that storage has at this moment; "" where the chapter is gone."""
        storage = open_storage(self.root)
        if self.kind != "folder":
            entry = storage.stat(self.key)
            if entry is None or entry.version == self.version or volume_of(self.key) is None:
                return "" if entry is None else entry.version
            return _version(parts_beside(storage, self.key))
        folder = storage.child(self.key) if self.key else storage
        prefix = f"{self.key}/" if self.key else ""
        files = (entry for entry in folder.list(refused=leave_out) if "/" not in entry.key)
        own = (entry for entry in files if not is_archive(entry.key))
        return _folder_version([Entry(prefix + entry.key, entry.size, entry.version) for entry in own])


def suffix_of(name: str) -> str:
    """Return a name's extension in lower case, with its dot; '.tar.gz' and the like are one."""
    path = PurePosixPath(name.lower())
    double = "".join(path.suffixes[-2:])
    return double if double in TAR_SUFFIXES else path.suffix


def is_archive(name: str) -> bool:
    """Return whether a file is an archive, or a part of one, by its name."""
    return suffix_of(name) in ARCHIVE_SUFFIXES or volume_of(name) is not None


Unusable = Callable[[ChapterRef, MangahueError], None]


def leave_out(key: str, error: StorageError) -> None:
    """Leave out of a listing what can't be listed: `find_chapters` has told of it."""


def find_chapters(uri: str, unusable: Unusable | None = None) -> Iterator[ChapterRef]:
    """Yield all chapters at any depth below `uri`, which may itself be one chapter.

    uri: an archive, a folder of chapters, or one picture; composed or decomposed, where storage has the other form.
    unusable: called for each entry that is, or may hold, a chapter and can't be used, and told why. BadUsageError: its
        key is none. StorageError: a folder can't be listed, or an archive or page is no file. None: the error is
        raised.

    An archive is a chapter, in several parts too; so is a folder that holds images itself. One folder's entries are
    held at a time. A file is opened only where its name leaves open what it is, and no other file of its folder is an
    image by name. What NAS, bins, sync and library programs leave (`junk_folder`) is left out, and said once with a
    count. Raises BadUsageError where nothing is there.
    """
    tell = unusable or _raise
    uri = _as_stored(uri)
    parent, last = _split(uri)
    if (ref := _file_at(parent, last)) is not None:
        yield ref
        return
    if is_archive(last):
        raise BadUsageError(f"source {uri} does not exist; give an archive, or a folder of chapters")
    try:
        yield from _chapters_below(uri, last, tell)
    except BadUsageError:
        entry = open_storage(parent).stat(last) if may_be_image(last) else None
        if entry is None or not _is_picture(open_storage(parent), entry):
            raise
        yield _file_ref(parent, entry, "picture")


def _chapters_below(uri: str, last: str, tell: Unusable) -> Iterator[ChapterRef]:
    """Yield the chapters of a folder.

    last: its name, which its own pages have as a chapter.
    """
    storage = open_storage(uri)
    listing = _Listing(storage, last, tell)
    folders: dict[str, list[Entry]] = {}
    for entry in storage.list(refused=listing.refuse):
        name = entry.key.rpartition("/")[2]
        if not listing.takes(entry.key) or (is_archive(name) and name.startswith("._")):
            continue
        if is_archive(name) and volume_of(name) is None:
            yield from _usable(_file_ref(storage.uri, entry, "archive"), tell)
            continue
        folder = entry.key.rpartition("/")[0]
        for finished in [name for name in folders if name and not f"{folder}/".startswith(f"{name}/")]:
            yield from _refs_of(storage, last, finished, folders.pop(finished), tell)
        folders.setdefault(folder, []).append(entry)
    own = folders.pop("", [])
    for folder, entries in folders.items():
        yield from _refs_of(storage, last, folder, entries, tell)
    if listing.shares_name:
        last = f"{last} (its own pages)"  # a folder in it has that name already
    yield from _refs_of(storage, last, "", own, tell)
    listing.conclude(uri)


class _Listing:
    """What the listing of a source is found to hold, beside its chapters.

    last: the source's name.
    shares_name: whether a folder in it has that name too.
    """

    def __init__(self, storage: Storage, last: str, tell: Unusable) -> None:
        self._storage, self._last, self._tell = storage, last, tell
        self._found = self.shares_name = False
        self._left_out: Counter[str] = Counter()

    def takes(self, key: str) -> bool:
        """Return whether an entry is part of the library: neither of a colouring job, nor of a `junk_folder`."""
        self._found = True
        self.shares_name = self.shares_name or key.startswith(f"{self._last}/")
        if OUTPUT_HOME in key.split("/"):
            return False
        if junk := junk_folder(key):
            self._left_out[junk] += 1
        return not junk

    def refuse(self, key: str, error: StorageError) -> None:
        """Tell of what can't be listed, and may hold, or be, a chapter."""
        name = key.rstrip("/")
        named = is_archive(name) or is_image(name)
        if self.takes(key) and (named or not isinstance(error, ObjectNotFoundError)):
            kind: Kind = "folder" if key.endswith("/") else "archive"
            self._tell(ChapterRef(self._storage.uri, name, name, kind, 0, ""), error)

    def conclude(self, uri: str) -> None:
        """Say what was left out of the source. Raises BadUsageError where there was nothing at all."""
        if self._left_out:
            names = ", ".join(repr(name) for name, _ in self._left_out.most_common(_NAMED))
            count = self._left_out.total()
            log.warning("%d files of %s are left out, as no part of it: they lie in %s", count, uri, names)
        if not self._found:
            raise BadUsageError(f"source {uri} is empty or does not exist; give an archive, or a folder of chapters")


def _file_at(root: str, key: str) -> ChapterRef | None:
    """Return the chapter that is this file, an archive or a picture; None where there is no such."""
    storage = open_storage(root)
    if not (is_archive(key) or is_image(key)) or (entry := storage.stat(key)) is None:
        return None
    if is_archive(key):
        return _archive_ref(root, parts_beside(storage, key) or [entry])
    return _file_ref(root, entry, "picture")


def _as_stored(uri: str) -> str:
    """Return an address in the Unicode form in which something is there; as it is where nothing is."""
    if uri.isascii():
        return uri
    forms = ([part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD"))] for part in uri.split("/"))
    spelled = map("/".join, itertools.product(*map(dict.fromkeys, forms)))
    return next(filter(_is_there, itertools.islice(spelled, _MOST_FORMS)), uri)


def _is_there(uri: str) -> bool:
    parent, last = _split(uri)
    return open_storage(parent).stat(last) is not None or any(True for _ in open_storage(uri).list(refused=leave_out))


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


def _archive_ref(root: str, parts: list[Entry]) -> ChapterRef:
    return ChapterRef(root, parts[0].key, parts[0].key, "archive", sum(part.size for part in parts), _version(parts))


def _version(parts: list[Entry]) -> str:
    named = [Entry(part.key.rpartition("/")[2], part.size, part.version) for part in parts]  # however it was found
    return parts[0].version if len(parts) == 1 else _folder_version(named)


def _refs_of(storage: Storage, last: str, folder: str, entries: list[Entry], tell: Unusable) -> Iterator[ChapterRef]:
    """Yield the archives of a folder that may have several parts, and the folder itself where it holds pages."""
    for parts in by_archive(entries).values():
        yield from _usable(_archive_ref(storage.uri, parts), tell)
    entries = [entry for entry in entries if volume_of(entry.key) is None]
    size = sum(entry.size for entry in entries)
    ref = ChapterRef(storage.uri, folder, folder or last, "folder", size, _folder_version(entries))
    try:
        holds = any(is_image(entry.key) for entry in entries) or any(_is_picture(storage, entry) for entry in entries)
    except StorageError as error:
        tell(ref, error)
        return
    if holds:
        yield from _usable(ref, tell) if folder else iter([ref])


def _is_picture(storage: Storage, entry: Entry) -> bool:
    """Return whether a file is a page by its first bytes, where its name leaves that open. Raises StorageError."""
    if not entry.size or not may_be_image(entry.key):
        return False
    try:
        return bool(picture_format(storage.read_range(entry.key, 0, HEAD_BYTES)))
    except BadUsageError:  # its key is none
        return False


def _folder_version(entries: list[Entry]) -> str:
    digest = hashlib.sha256()
    for entry in sorted(entries, key=lambda entry: entry.key):
        digest.update(f"{entry.key}\0{entry.size}\0{entry.version}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def write_zip(members: Iterable[tuple[str, bytes]], out: Path | None = None, comment: bytes = b"") -> bytes | None:
    """Write a ZIP of stored members, in the order given, with fixed times: equal members give equal bytes.

    members: names and contents, taken one at a time.
    out: the file to write; None to return the bytes.
    comment: of the archive.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer if out is None else out, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = comment
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
    """Return a name for comparing: composed, in lower case, numbers without leading zeros."""
    return re.sub(r"\d+", lambda match: str(int(match[0])), composed(text.lower()).strip())
