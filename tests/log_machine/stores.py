"""The storages that the machine runs on: a disk, a store in memory with S3's semantics, and a real S3 server.

All calls below the library's home go through the driver that makes them. What they change is told to a watcher.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO
from unittest import mock

import pyarrow.fs

from datasets import storage_disk, storage_s3
from datasets.errors import BadUsageError, ObjectExistsError, ObjectNotFoundError
from datasets.storage import Entry, Refused, Storage, check_key, check_prefix, open_storage
from datasets.storage_disk import LocalStorage
from datasets.storage_s3 import S3Storage
from tests.log_machine.drivers import through_driver

Watcher = Callable[[str, str, str], None]  # method, URI of the storage, key: called after a put or a delete
_CALLS = ("stat", "metadata", "read", "read_range", "open", "put", "delete", "abort_stale_uploads")


@dataclass(frozen=True)
class _Object:
    data: bytes
    metadata: dict[str, str]
    modified: float

    @property
    def etag(self) -> str:
        return hashlib.md5(self.data).hexdigest()


class MemoryStorage(Storage):
    """Objects in memory, as S3 keeps them: keys without folders, versions by content, metadata.

    location: bucket and prefix.
    """

    buckets: dict[str, dict[str, _Object]] = {}  # noqa: RUF012  # shared by all, as a server's are

    def __init__(self, location: str) -> None:
        self.uri = f"s3://{location}"
        bucket, _, prefix = location.partition("/")
        self._objects = self.buckets.setdefault(bucket, {})
        self._root = f"{prefix}/" if prefix else ""

    def list(self, prefix: str = "", refused: Refused | None = None) -> Iterator[Entry]:
        check_prefix(prefix)
        start = self._root + prefix
        for key in sorted(key for key in self._objects if key.startswith(start)):
            yield self._entry(key, self._objects[key])

    def stat(self, key: str) -> Entry | None:
        found = self._objects.get(self._root + check_key(key))
        return None if found is None else self._entry(self._root + key, found)

    def metadata(self, key: str) -> dict[str, str]:
        return dict(self._found(key).metadata)

    def read(self, key: str) -> bytes:
        return self._found(key).data

    def read_range(self, key: str, start: int, length: int) -> bytes:
        return self._found(key).data[start : start + length]

    def open(self, key: str) -> BinaryIO:
        return io.BytesIO(self._found(key).data)

    def put(
        self,
        key: str,
        data: bytes | Path,
        *,
        if_absent: bool = False,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> Entry:
        whole = self._root + check_key(key)
        if if_absent and whole in self._objects:
            raise ObjectExistsError(f"{self.uri}/{key}: something is there already, and it was kept")
        content = data if isinstance(data, bytes) else data.read_bytes()
        self._objects[whole] = _Object(content, dict(metadata or {}), time.time())
        return replace(self._entry(whole, self._objects[whole]), modified=0)

    def careless(self) -> BadUsageError:
        return BadUsageError(f"{self.uri} overwrites")

    def delete(self, key: str) -> None:
        self._objects.pop(self._root + check_key(key), None)

    def abort_stale_uploads(self, older_than: timedelta, finished: Collection[str] = ()) -> int:
        return 0

    def child(self, prefix: str) -> Storage:
        return open_storage(f"{self.uri}/{prefix.removesuffix('/')}")

    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        raise NotImplementedError

    def _found(self, key: str) -> _Object:
        try:
            return self._objects[self._root + check_key(key)]
        except KeyError:
            raise ObjectNotFoundError(f"{self.uri}/{key}: no such object") from None

    def _entry(self, key: str, found: _Object) -> Entry:
        return Entry(key.removeprefix(self._root), len(found.data), found.etag, found.modified)


class Store(ABC):
    """Where one example of the machine lives.

    home: URI of the folder that holds the sources and the outputs.
    """

    home: str

    @abstractmethod
    def watched(self, watcher: Watcher) -> AbstractContextManager[Any]:
        """While this is entered, the project's storages are this one's, and its calls go through drivers."""

    def restore(self, key: str, data: bytes, age: float) -> None:
        """Put a file of an earlier time back as a backup does, with its time.

        age: seconds.
        """
        open_storage(self.home).put(key, data)


class Disk(Store):
    """A folder."""

    def __init__(self, home: Path) -> None:
        self.home = str(home)

    def watched(self, watcher: Watcher) -> AbstractContextManager[Any]:
        return mock.patch.object(storage_disk, "LocalStorage", _instrumented(LocalStorage, self.home, watcher))

    def restore(self, key: str, data: bytes, age: float) -> None:
        super().restore(key, data, age)
        os.utime(Path(self.home, key), (age, age))


class Memory(Store):
    """A bucket in memory."""

    def __init__(self, number: int) -> None:
        self.home = f"s3://machine-{number}/library"

    def watched(self, watcher: Watcher) -> AbstractContextManager[Any]:
        MemoryStorage.buckets.clear()
        return mock.patch.object(storage_s3, "S3Storage", _instrumented(MemoryStorage, self.home, watcher))


class Bucket(Store):
    """A prefix of a bucket on a real S3 server, which the environment names.

    home: an empty place in it.
    """

    def __init__(self, home: str) -> None:
        self.home = home

    def watched(self, watcher: Watcher) -> AbstractContextManager[Any]:
        return mock.patch.object(storage_s3, "S3Storage", _instrumented(S3Storage, self.home, watcher))


def _instrumented(kind: Any, home: str, watcher: Watcher) -> Any:
    """The class with its calls below `home` going through drivers. A listing is one call."""

    def passed(method: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(storage: Any, *arguments: Any, **options: Any) -> Any:
            if not f"{storage.uri}/".startswith(f"{home}/") or storage.__dict__.get("_inside"):
                return real(storage, *arguments, **options)

            def carry_out() -> Any:
                storage._inside = True  # what a call makes of others is one call
                try:
                    made = real(storage, *arguments, **options)
                    made = list(made) if method == "list" else made
                finally:
                    storage._inside = False
                if method in ("put", "delete"):
                    watcher(method, storage.uri, arguments[0])
                return made

            named = arguments[0] if arguments else options.get("prefix", "")
            made = through_driver(method, f"{storage.uri}/{named}", carry_out)
            return iter(made) if method == "list" else made

        return call

    methods = {method: passed(method, getattr(kind, method)) for method in ("list", *_CALLS)}
    return type(f"Watched{kind.__name__}", (kind,), methods)
