"""What people have decided about pairs: read from the file that the review's page saves, and remembered."""

import json
from collections.abc import Mapping
from typing import Any

from datasets.errors import BadUsageError
from datasets.storage import Storage
from jobs.parts.pair.page_features import HOME
from jobs.parts.pair.pictures import digest_of
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.options import read_given
from jobs.parts.runtime.outcome import as_json

_KEY = f"{HOME}/decisions.json"


def pair_id(color: str, gray: str) -> str:
    """What a decision calls a pair: a digest of both names, which may hold anything."""
    return digest_of([color, gray])


def read_decisions(out: Storage, uri: str | None) -> dict[str, bool]:
    """Whether each pair that was decided is one, by its id: of earlier runs, and of this run's file, which wins.

    uri: of --decisions; None for none. What it says is remembered.
    Raises BadUsageError where it is no such file.
    """
    known = _decisions(read_json(out, _KEY) or {})
    if uri is None:
        return known
    try:
        given = _decisions(json.loads(read_given(uri, "--decisions", "the file that the review's page has saved")))
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise BadUsageError(
            f"--decisions {uri} is no file of decisions ({error!r}); give the one that the review's page has saved"
        ) from error
    known |= given
    listed = [{"id": name, "pair": pair} for name, pair in sorted(known.items())]
    out.put(_KEY, as_json({"decisions": listed}))
    return known


def _decisions(values: Mapping[str, Any]) -> dict[str, bool]:
    found = {str(one["id"]): one["pair"] for one in values.get("decisions", [])}
    if any(not isinstance(pair, bool) for pair in found.values()):
        raise ValueError("a pair is neither true nor false")
    return found
