"""Whose folder it is: the first job puts a file there, and every later job reads it."""

import json
from contextlib import suppress
from typing import Any

from datasets.errors import AccessDeniedError, ObjectExistsError, ObjectNotFoundError
from datasets.storage import Storage
from jobs.parts.runtime.outcome import as_json


def claim(storage: Storage, key: str, mine: dict[str, Any]) -> dict[str, Any] | None:
    """Put `mine` at `key` if nothing is there. If two jobs try at once, one succeeds.

    Returns None where it was put, else what is there already; {} where that is damaged.
    Raises BadUsageError where the store overwrites what is there: one conditional put must be refused, and is made to
    see that it is. What it would overwrite is what it writes, so a refused job takes no folder from its owner.
    """
    there = _read(storage, key)
    if there is None:
        there = as_json(mine)
        try:
            storage.put(key, there, if_absent=True)
        except ObjectExistsError:  # another job was first; the store has proved itself
            return read_json(storage, key) or {}
        if _overwrites(storage, key, there):
            with suppress(AccessDeniedError):  # a job's rights may end before its own claim
                storage.delete(key)
            raise storage.careless()
        return None
    if _overwrites(storage, key, there):
        raise storage.careless()
    return _parsed(there)


def _overwrites(storage: Storage, key: str, there: bytes) -> bool:
    """Whether a conditional put of what is there already succeeds."""
    try:
        storage.put(key, there, if_absent=True)
    except ObjectExistsError:
        return False
    return True


def _read(storage: Storage, key: str) -> bytes | None:
    try:
        return storage.read(key)
    except ObjectNotFoundError:
        return None


def read_json(storage: Storage, key: str) -> dict[str, Any] | None:
    """The JSON object at `key`; None where there is none, {} where it is damaged."""
    data = _read(storage, key)
    return None if data is None else _parsed(data)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
