"""Objects by key, on disk and on S3: everything else takes a Storage, and knows neither.

Both kinds keep the same promises. An object is visible whole or not at all, and of all conditional puts to one key
exactly one wins. They are in datasets/storage_disk.py and datasets/storage_s3.py; an address says which kind is
meant.
"""

import io
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import pyarrow.fs

from datasets.errors import BadUsageError, StorageError

TEMP_PREFIX = ".mangahue-tmp-"
COPY_BYTES = 1 << 20
Refused = Callable[[str, StorageError], None]  # told of a key that a listing has to leave out, and why


@dataclass(frozen=True)
class Entry:
    """One object.

    key: relative to its storage's root.
    size: in bytes.
    version: changes when the content does.
    modified: when it was written, seconds since 1970; 0 in what `put` returns.
    """

    key: str
    size: int
    version: str
    modified: float = field(default=0.0, compare=False)


class Storage(ABC):
    """A folder on disk, or a prefix of a bucket; picklable, and safe to share between threads.

    uri: its address.

    A key has '/' between its parts. A key that is empty, absolute, or has an empty, '.' or '..' part raises
    BadUsageError: no name, however hostile, leads out of the root. Every method may raise StorageError or
    AccessDeniedError as well, and ObjectNotFoundError where there is no such bucket.
    """

    uri: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    @abstractmethod
    def list(self, prefix: str = "", refused: Refused | None = None) -> Iterator[Entry]:
        """Yield every object below the root whose key starts with `prefix`, as they are found.

        prefix: plain text, as on S3: 'a/' is what is in folder a, 'a' is that and 'ab' as well. Where nothing is,
            nothing comes.
        refused: called for each folder (its key ends with '/') and each file that can't be listed, and for what is no
            file: a link to nothing, a pipe (ObjectNotFoundError). The listing goes on. None: what is no file is left
            out, and all else is raised. A bucket is listed whole or not at all, and so is the folder of the prefix.

        S3 itself lists in the order of keys. Other servers may have their own order (SeaweedFS: folder by folder, 'a/1'
        before 'a-b'), so sort where you rely on the order.

        Our own temporary files are left out. Keys that would be refused (a bucket may hold 'a//b') come too, so that
        nothing is skipped unseen; they raise when they are used.
        """

    @abstractmethod
    def stat(self, key: str) -> Entry | None:
        """Return the object's entry; None where there is no object, as for a folder."""

    @abstractmethod
    def metadata(self, key: str) -> dict[str, str]:
        """Return what `put` was given as metadata; always empty on disk.

        Raises ObjectNotFoundError.
        """

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return the whole object. Raises ObjectNotFoundError."""

    @abstractmethod
    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return at most `length` bytes from `start`: fewer at the end, none beyond it.

        Raises ObjectNotFoundError, and BadUsageError for a negative number.
        """

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """Return a seekable reader of one version of the object, which the caller closes.

        It is not for several threads at once. Raises ObjectNotFoundError. On S3 reading raises StorageError if the
        object is replaced meanwhile.
        """

    def fetch(self, key: str, folder: Path) -> Path:
        """Return a file of this machine with the object's content, for programs that need one.

        key: of the object.
        folder: where a copy is made. On disk none is needed, and the file is the object itself.
        """
        path = folder / check_key(key).rpartition("/")[2]
        with self.open(key) as source, path.open("xb") as copy:
            shutil.copyfileobj(source, copy, COPY_BYTES)
        return path

    @abstractmethod
    def put(
        self,
        key: str,
        data: bytes | Path,
        *,
        if_absent: bool = False,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> Entry:
        """Write an object in one go: readers see all of it, or what was there before.

        key: of the object.
        data: the content, or a file that has it.
        if_absent: raise ObjectExistsError where an object is there already; of many writers one wins.
        metadata: ASCII; kept on S3 only.
        content_type: kept on S3 only.
        """

    @abstractmethod
    def careless(self) -> BadUsageError:
        """Return the error for a store where a conditional put has overwritten an object."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none. On disk the folders that are empty then are removed too."""

    @abstractmethod
    def abort_stale_uploads(self, older_than: timedelta, finished: Collection[str] = ()) -> int:
        """Remove what killed writers left below the root.

        older_than: uploads that were begun longer ago than this are removed.
        finished: keys whose uploads are removed whatever their age, on S3 only.

        On disk the uploads of this machine's processes that are no more are removed too. Returns how many uploads were
        removed.
        """

    @abstractmethod
    def child(self, prefix: str) -> "Storage":
        """Return the storage whose root is the folder `prefix` of this one."""

    @abstractmethod
    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        """Return PyArrow's file system and the path of this root in it, for Ray Data and Ray Train."""


def open_storage(uri: str) -> Storage:
    """Return the storage at an address.

    uri: 's3://bucket/prefix', 'file:///folder' or a path, with '~' expanded; BadUsageError for all else.

    Nothing is contacted: an error of the bucket or the folder shows at its first use.
    """
    kind, location = _parse(uri)
    # Imported here: both import this module, and local work can do without boto3.
    if kind == "file":
        from datasets.storage_disk import LocalStorage

        return LocalStorage(Path(location))
    from datasets.storage_s3 import S3Storage

    return S3Storage(location)


def split_uri(uri: str) -> tuple[str, str]:
    """Return the address of the folder that holds `uri`, and the last part: ('s3://b/x', 'y') for 's3://b/x/y'.

    Raises BadUsageError for a bucket or '/', which nothing holds.
    """
    kind, location = _parse(uri)
    parent, _, name = location.rpartition("/")
    if not name or (kind == "s3" and not parent):
        raise BadUsageError(f"{uri}: this is a root, and no folder holds it; name something inside it")
    return (f"s3://{parent}" if kind == "s3" else parent or "/"), name


def check_key(key: str) -> str:
    """Return the key if it names something below a root.

    Raises BadUsageError if it leads elsewhere, or can't be a name.
    """
    parts = key.replace("\\", "/").split("/")  # some servers (SeaweedFS) take a backslash for '/'
    if not key or "\0" in key or not {"", ".", ".."}.isdisjoint(parts):
        raise BadUsageError(
            f"{key!r} is no key: it must be relative, with '/' between parts, and no part empty, '.' or '..'; rename it"
        )
    if parts[-1].startswith(TEMP_PREFIX):
        raise BadUsageError(f"{key!r} is no key: names with {TEMP_PREFIX} are kept for temporary files; rename it")
    return key


def check_prefix(prefix: str) -> None:
    """Raise BadUsageError for a prefix of `list` that could lead out of a root."""
    *folders, last = prefix.replace("\\", "/").split("/")
    if "\0" in prefix or last == ".." or not {"", ".", ".."}.isdisjoint(folders):
        raise BadUsageError(f"{prefix!r} is no prefix of keys: it must be relative, and no part empty, '.' or '..'")


def check_range(start: int, length: int) -> None:
    """Raise BadUsageError for a range that no object has."""
    if start < 0 or length < 0:
        raise BadUsageError(f"no object has {length} bytes from {start}: both must be 0 or more")


@contextmanager
def open_source(data: bytes | Path) -> Iterator[tuple[BinaryIO, int]]:
    """Yield what is to be stored as a stream from its start, and its size in bytes.

    Raises BadUsageError for a file that can't be read.
    """
    if isinstance(data, bytes):
        yield io.BytesIO(data), len(data)
        return
    try:
        stream = data.open("rb")
    except OSError as error:
        raise BadUsageError(f"{data}, the file to be stored, can't be read: {error.strerror}") from error
    with stream:
        yield stream, os.fstat(stream.fileno()).st_size


def _parse(uri: str) -> tuple[str, str]:
    """Return ('s3', 'bucket/prefix') or ('file', '/absolute/path'), without a trailing '/'."""
    accepted = "use s3://bucket/prefix, file:///folder, or a path"
    scheme, separator, rest = uri.partition("://")
    scheme = scheme.lower() if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) else ""
    if scheme == "s3":
        location = rest.rstrip("/")
        bucket, _, prefix = location.partition("/")
        if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,254}", bucket):
            shown = "what stands there" if re.search("[@:]", bucket) else repr(bucket)  # it may be a key and its secret
            raise BadUsageError(
                f"{shown} is no bucket's name in an s3:// address; {accepted}, and no credentials in it"
            )
        if prefix:
            check_key(prefix)
        return "s3", location
    if scheme == "file":
        host, slash, path = rest.partition("/")
        if not slash or host not in ("", "localhost"):
            raise BadUsageError(
                f"{uri!r} names a host, not a folder of this machine: write file:///folder, with three slashes"
            )
        uri = "/" + unquote(path)
    elif scheme or not uri or uri.lower().startswith("file:"):
        raise BadUsageError(f"no storage of scheme {scheme or uri!r}: {accepted}")
    if "\0" in uri:
        raise BadUsageError(f"{uri!r} is no path: it contains a zero byte")
    try:
        path = os.path.normpath(Path(uri).expanduser().absolute())
    except RuntimeError:  # ~someone
        raise BadUsageError(f"{uri!r}: no such user's home; write the whole path") from None
    return "file", "/" + path.strip("/")
