"""Objects as files below a folder. A conditional put is a hard link to a finished temporary file."""

import errno
import hashlib
import io
import itertools
import os
import platform
import stat
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import psutil
import pyarrow.fs

from datasets.errors import AccessDeniedError, BadUsageError, ObjectExistsError, ObjectNotFoundError, StorageError
from datasets.storage import (
    COPY_BYTES,
    TEMP_PREFIX,
    Entry,
    Refused,
    Storage,
    check_key,
    check_prefix,
    check_range,
    open_source,
)

_TRIES = 100  # to put a file into a folder that others remove whenever it is empty
_GONE = (
    errno.ENOENT,
    errno.ESTALE,
    errno.EEXIST,
)  # errors of a folder just removed; pathlib met it, and met it no more


class LocalStorage(Storage):
    """A folder of this machine, or one that all nodes mount.

    Conditional puts need a file system with hard links.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = str(root)

    def list(self, prefix: str = "", refused: Refused | None = None) -> Iterator[Entry]:
        check_prefix(prefix)
        folder, slash, _ = prefix.rpartition("/")
        for key, status in self._walk(self.root / folder, folder + slash, prefix, refused or _only_what_is_no_file):
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
            return cast(BinaryIO, io.BufferedReader(_LocalFile(path)))

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
                with _new_file(temp) as stream:
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
                self._remove_empty_folders(path)  # where it failed: elsewhere the object is in it
            _sync_folder(path.parent)
        return _local_entry(key, status)

    def careless(self) -> BadUsageError:
        return BadUsageError(
            f"{self.root}: on this file system a hard link overwrites a file that is there, so nothing keeps two jobs, "
            "or two workers of one job, apart; use another folder, or S3"
        )

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _os_errors(path), suppress(FileNotFoundError, NotADirectoryError):
            if not path.is_dir():
                path.unlink()
                self._remove_empty_folders(path)

    def abort_stale_uploads(self, older_than: timedelta, finished: Collection[str] = ()) -> int:
        limit, removed = time.time() - older_than.total_seconds(), 0
        for key, status in self._walk(self.root, "", "", _only_what_is_no_file):
            name = key.rpartition("/")[2]
            if name.startswith(TEMP_PREFIX) and (status.st_mtime <= limit or _is_orphan(name)):
                with _os_errors(self.root / key), suppress(FileNotFoundError):
                    (self.root / key).unlink()
                    removed += 1
                    self._remove_empty_folders(self.root / key)
        return removed

    def child(self, prefix: str) -> "LocalStorage":
        return LocalStorage(self._path(prefix.removesuffix("/")))

    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        return pyarrow.fs.LocalFileSystem(), str(self.root)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _remove_empty_folders(self, path: Path) -> None:
        """Remove the folders above `path`, up to the root, that hold nothing any more: on S3 there are none either."""
        with suppress(OSError):  # it holds something, or is a link, or another process was first
            for folder in itertools.takewhile(lambda above: above != self.root, path.parents):
                folder.rmdir()

    def _walk(
        self, folder: Path, base: str, prefix: str, refused: Refused, above: tuple[tuple[int, int], ...] = ()
    ) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the files in the order of their keys, links followed.

        above: the folders that lead here, so that no link leads in circles.

        Raises what it meets in `folder` itself; what it meets in it is for `refused`.
        """
        with _os_errors(folder):
            try:
                status = folder.stat()
                identity = (status.st_dev, status.st_ino)
                found = [(entry.name + "/" * _is_folder(entry), entry) for entry in os.scandir(folder)]
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
            try:
                if name.endswith("/"):
                    if key.startswith(prefix):
                        yield from self._walk(folder / entry.name, key, prefix, refused, (*above, identity))
                elif key.startswith(prefix) and (status_of_file := _status_of_file(entry)) is not None:
                    yield key, status_of_file
            except StorageError as error:
                refused(key, error)


def _only_what_is_no_file(key: str, error: StorageError) -> None:
    """Leave out what is no file, and raise all else."""
    if not isinstance(error, ObjectNotFoundError):
        raise error


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that can't be followed: asking for its status will tell
        return False


def _status_of_file(entry: "os.DirEntry[str]") -> os.stat_result | None:
    """Return the status of a file; None where it is gone since its folder was listed.

    Raises ObjectNotFoundError for what is no file, and what storage raises.
    """
    path = Path(entry.path)
    with _os_errors(path):
        try:
            status = entry.stat()
        except FileNotFoundError:
            if not entry.is_symlink():
                return None
            raise ObjectNotFoundError(f"{path}: a link to nothing; mend it, or take it away") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise ObjectNotFoundError(f"{path}: a link in a circle; mend it, or take it away") from None
            raise
    if not stat.S_ISREG(status.st_mode):
        raise ObjectNotFoundError(f"{path}: no file, but a pipe, a socket or a device; take it away")
    return status


class _LocalFile(io.FileIO):
    """A file whose reads raise our own errors: a library that meets an OSError takes it for damage of what it reads."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path

    def readinto(self, buffer: Any) -> int:
        with _os_errors(self._path):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with _os_errors(self._path):
            return super().readall()


def _local_entry(key: str, status: os.stat_result) -> Entry:
    return Entry(key, status.st_size, f"{status.st_size}-{status.st_mtime_ns}", status.st_mtime)


@cache
def _temp_home() -> str:
    """Return how the names of this machine's temporary files begin.

    Folders may be shared with other machines.
    """
    return f"{TEMP_PREFIX}{hashlib.sha256(platform.node().encode()).hexdigest()[:12]}-"


def _new_file(path: Path) -> BinaryIO:
    """Open a file that is not there yet, and make its folder.

    Another process may remove the folder before the file is in it, because it is empty. Then it is made again.
    """
    tries = 0
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("xb")
        except OSError as error:
            tries += 1
            if error.errno not in _GONE or tries == _TRIES:
                raise


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
