"""The card of a data set, shards.json, and the shards beside it."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from datasets.shards import Shard
from datasets.storage import Storage
from jobs.parts.runtime.outcome import utc_now

SPLITS = ("train", "holdout")


def card_of(
    settings: Mapping[str, Any],
    shards: Sequence[Shard],
    chapters: Mapping[str, Sequence[str]],
    *,
    paired: int,
    chroma: Sequence[float],
    colored: int,
    failures: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """What shards.json says of any data set.

    settings: the options of the job that made it.
    chapters: names of those of each split.
    paired: rows that have both editions.
    chroma: sums of the mean a and b of `colored` training pages.
    failures: source, code and message of what could not be read.
    """
    listed = sorted((asdict(shard) for shard in shards), key=lambda shard: shard["key"])
    return {
        "settings": settings,
        "created": utc_now(),
        "fingerprint": hashlib.sha256("".join(shard["digest"] for shard in listed).encode()).hexdigest(),
        "pages": {split: sum(s.pages for s in shards if s.key.startswith(f"{split}/")) for split in SPLITS},
        "paired": paired,
        "chapters": {split: list(chapters[split]) for split in SPLITS},
        "mean_chroma": [value / max(1, colored) for value in chroma],
        "shards": listed,
        "failures": list(failures),
    }


def sweep(out: Storage, kept: Collection[str]) -> None:
    """Delete all shards but those `kept`."""
    for split in SPLITS:
        for entry in list(out.list(f"{split}/pages-")):
            if entry.key not in kept:
                out.delete(entry.key)
