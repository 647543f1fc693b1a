"""Exported networks on this machine's disk, so that each is exported once: in XDG_CACHE_HOME, else ~/.cache.

A file is the sha256 of its content, and the content. One that is damaged counts as none. Where the folder can't be
used, networks are exported each time.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from datasets.errors import BadUsageError, MangahueError
from datasets.storage import Storage, open_storage

log = logging.getLogger("mangahue")
_MOST = 8  # networks that are kept, those exported last
_DIGEST = 32  # bytes of a sha256


def cached(key: str, make: Callable[[], bytes]) -> bytes:
    """What `make` returns, from the cache where it was made before.

    key: a file's name that tells all that the content depends on.
    """
    with suppress(MangahueError):
        storage = open_storage(cache_folder())
        data = storage.read(key)
        if _digest(content := data[_DIGEST:]) == data[:_DIGEST]:
            return content
        log.warning("%s/%s is damaged: the network is exported again", storage.uri, key)
    made = make()
    try:
        storage = open_storage(cache_folder())
        storage.put(key, _digest(made) + made)
        _prune(storage)
    except MangahueError as error:
        log.warning("the network is exported each time, since it can't be kept: %s", error)
    return made


def cache_folder() -> str:
    """Where exported networks are kept. Raises BadUsageError where the user has no home."""
    try:
        return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mangahue/networks")
    except RuntimeError as error:
        raise BadUsageError("this user has no home folder; set XDG_CACHE_HOME to a folder of its own") from error


def _prune(storage: Storage) -> None:
    for entry in sorted(storage.list(), key=lambda entry: entry.modified)[:-_MOST]:
        storage.delete(entry.key)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
