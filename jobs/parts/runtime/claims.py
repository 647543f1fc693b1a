"""Whose folder it is: the first job puts a file there, and every later job reads it."""

import json
from typing import Any

from datasets.errors import ObjectExistsError, ObjectNotFoundError
from datasets.storage import Storage
from jobs.parts.runtime.outcome import as_json


def claim(storage: Storage, key: str, mine: dict[str, Any]) -> dict[str, Any] | None:
    """Put `mine` at `key` if nothing is there. If two jobs try at once, one succeeds.

    Returns None where it was put, else what is there already; {} where that is damaged.
    """
    try:
        storage.put(key, as_json(mine), if_absent=True)
    except ObjectExistsError:
        return read_json(storage, key) or {}
    return None


def read_json(storage: Storage, key: str) -> dict[str, Any] | None:
    """The JSON object at `key`; None where there is none, {} where it is damaged."""
    try:
        values = json.loads(storage.read(key))
    except ObjectNotFoundError:
        return None
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
