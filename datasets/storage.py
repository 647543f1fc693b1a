"""Objects by key, on disk and on S3: everything else takes a Storage, and knows neither.

Both kinds keep the same promises. An object is visible whole or not at all, and of all conditional puts to one key
exactly one wins. The S3 kind is in datasets/storage_s3.py; an address says which kind is meant.
"""

import errno
import hashlib
import io
import os
import platform
import re
import shutil
import stat
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import psutil
import pyarrow.fs

from datasets.errors import AccessDeniedError, BadUsageError, ObjectExistsError, ObjectNotFoundError, StorageError

TEMP_PREFIX = ".mangahue-tmp-"
COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One object.

    key: relative to its storage's root.
    size: in bytes.
    version: changes when the content does.
    """

    key: str
    size: int
    version: str


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
    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield every object below the root whose key starts with `prefix`, as they are found.

        prefix: plain text, as on S3: 'a/' is what is in folder a, 'a' is that and 'ab' as well. Where nothing is,
            nothing comes.

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
    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""

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
    if kind == "file":
        return LocalStorage(Path(location))
    from datasets.storage_s3 import (
        S3Storage,
    )  # here: it imports this module, and boto3, which local work can do without

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


class LocalStorage(Storage):
    """A folder of this machine, or one that all nodes mount.

    Conditional puts need a file system with hard links.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = str(root)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        check_prefix(prefix)
        folder, slash, _ = prefix.rpartition("/")
        for key, status in self._walk(self.root / folder, folder + slash, prefix, ()):
            if not key.rpartition("/")[2].startswith(TEMP_PREFIX):
                yield _local_entry(key, status)

    def stat(self, key: str) -> Entry | None:
        path = self._path(key)
        with _os_errors(path):
            try:
                status = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return _local_entry(key, status) if stat.S_ISREG(status.st_mode) else None

    def metadata(self, key: str) -> dict[str, str]:
        if self.stat(key) is None:
            raise ObjectNotFoundError(f"{self._path(key)}: no such file")
        return {}

    def read(self, key: str) -> bytes:
        with self.open(key) as stream, _os_errors(self._path(key)):
            return stream.read()

    def read_range(self, key: str, start: int, length: int) -> bytes:
        check_range(start, length)
        with self.open(key) as stream, _os_errors(self._path(key)):
            stream.seek(start)
            return stream.read(length)

    def open(self, key: str) -> BinaryIO:
        path = self._path(key)
        with _os_errors(path):
            return path.open("rb")

    def fetch(self, key: str, folder: Path) -> Path:
        return self._path(key)

    def put(
        self,
        key: str,
        data: bytes | Path,
        *,
        if_absent: bool = False,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> Entry:
        path = self._path(key)
        temp = path.with_name(f"{_temp_home()}{os.getpid()}-{uuid.uuid4().hex}")
        with _os_errors(path), open_source(data) as (source, _):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with temp.open("xb") as stream:
                    while chunk := source.read(COPY_BYTES):
                        stream.write(chunk)
                    stream.flush()
                    os.fsync(stream.fileno())
                    status = os.fstat(stream.fileno())
                if if_absent:
                    _link(temp, path)
                else:
                    temp.replace(path)
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise BadUsageError(
                    f"{path} can't be written: on disk a file and a folder can't share a name; choose another"
                ) from error
            finally:
                with suppress(FileNotFoundError, NotADirectoryError):
                    temp.unlink()
            _sync_folder(path.parent)
        return _local_entry(key, status)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _os_errors(path), suppress(FileNotFoundError, NotADirectoryError):
            if not path.is_dir():
                path.unlink()

    def abort_stale_uploads(self, older_than: timedelta, finished: Collection[str] = ()) -> int:
        limit, removed = time.time() - older_than.total_seconds(), 0
        for key, status in self._walk(self.root, "", "", ()):
            name = key.rpartition("/")[2]
            if name.startswith(TEMP_PREFIX) and (status.st_mtime <= limit or _is_orphan(name)):
                with _os_errors(self.root / key), suppress(FileNotFoundError):
                    (self.root / key).unlink()
                    removed += 1
        return removed

    def child(self, prefix: str) -> "LocalStorage":
        return LocalStorage(self._path(prefix.removesuffix("/")))

    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        return pyarrow.fs.LocalFileSystem(), str(self.root)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _walk(
        self, folder: Path, base: str, prefix: str, above: tuple[tuple[int, int], ...]
    ) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the files in the order of their keys, links followed.

        above: the folders that lead here, so that no link leads in circles.
        """
        with _os_errors(folder):
            try:
                status = folder.stat()
                identity = (status.st_dev, status.st_ino)
                found = [(entry.name + "/" * entry.is_dir(), entry) for entry in os.scandir(folder)]
            except FileNotFoundError:
                return
            except NotADirectoryError:
                if folder == self.root:
                    raise BadUsageError(f"{folder} is a file: give the folder that it is in") from None
                return
        if identity in above:
            return
        for name, entry in sorted(found, key=lambda pair: pair[0]):
            key = base + name
            if name.endswith("/"):
                if key.startswith(prefix):
                    yield from self._walk(folder / entry.name, key, prefix, (*above, identity))
            elif key.startswith(prefix):
                with _os_errors(folder / entry.name), suppress(FileNotFoundError):  # gone since, or a link to nothing
                    status = entry.stat()
                    if stat.S_ISREG(status.st_mode):
                        yield key, status


def _local_entry(key: str, status: os.stat_result) -> Entry:
    return Entry(key, status.st_size, f"{status.st_size}-{status.st_mtime_ns}")


@cache
def _temp_home() -> str:
    """Return how the names of this machine's temporary files begin.

    Folders may be shared with other machines.
    """
    return f"{TEMP_PREFIX}{hashlib.sha256(platform.node().encode()).hexdigest()[:12]}-"


def _is_orphan(temp: str) -> bool:
    """Return whether a temporary file was written by a process of this machine that is gone."""
    if not temp.startswith(_temp_home()):
        return False
    writer = temp.removeprefix(_temp_home()).partition("-")[0]
    return writer.isdigit() and not psutil.pid_exists(int(writer))


def _link(temp: Path, path: Path) -> None:
    """Publish a file: this is the one call that refuses to overwrite and shows the file whole."""
    try:
        path.hardlink_to(temp)
    except FileExistsError as error:
        raise ObjectExistsError(f"{path}: something is there already, and it was kept") from error
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise StorageError(
                f"{path}: this file system has no hard links, which keep two writers apart; use another folder, or S3"
            ) from error
        raise


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a power cut, where the file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _os_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise ObjectNotFoundError(f"{path}: no such file ({error.strerror}); check the path") from error
    except PermissionError as error:
        raise AccessDeniedError(f"{path}: {error.strerror}; check who owns it and its mode") from error
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error
