"""Leaves near-duplicates out of shards that are written: which rows of other chapters show the same page is known then.

Shards that hold such a row are written anew without it. Only their rows are read; no picture is decoded.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import ray.data

from datasets.shards import Shard, read_pages, write_shards
from datasets.storage import open_storage
from jobs.parts.dataset.duplicates import Duplicate, find_duplicates
from jobs.parts.dataset.written import Written

Rows = set[tuple[str, int, str]]  # PageFacts.row

log = logging.getLogger("mangahue")


def leave_out_duplicates(groups: Mapping[str, Written], out: str) -> tuple[dict[str, Written], list[Duplicate]]:
    """What each group has in the shards without near-duplicates; and the rows that were left out.

    groups: what write_all returned. Where one is unfinished, all rows stay until the next run has read the rest.
    out: URI of the shards.
    """
    if any(written.unfinished for written in groups.values()):
        return dict(groups), []
    duplicates = find_duplicates([page for written in groups.values() for page in written.facts])
    dropped = {duplicate.page.row for duplicate in duplicates}
    thinned = {digest: _without(written, dropped) for digest, written in groups.items()}
    changed = [digest for digest, written in groups.items() if len(thinned[digest].facts) < len(written.facts)]
    if changed:
        log.info("near-duplicates left out: %d", len(dropped))
        for number, shards in rewrite_groups([groups[digest].shards for digest in changed], dropped, out):
            thinned[changed[number]].shards = shards
    return thinned, duplicates


def _without(written: Written, dropped: Rows) -> Written:
    """What is written, but for these rows; its shards are as they were."""
    if not any(page.row in dropped for page in written.facts):
        return written
    thinned = replace(written, facts=[], chroma=[0.0, 0.0], colored=0, paired=written.paired)
    for page in written.facts:
        if page.row not in dropped:
            thinned.note(page)
    thinned.paired -= sum(page.gray and page.color for page in written.facts)
    thinned.previews = [preview for preview in written.previews if preview[0] not in dropped]
    return thinned


def rewrite_groups(groups: Sequence[Sequence[Shard]], dropped: Rows, out: str) -> Iterator[tuple[int, list[Shard]]]:
    """Write each group's shards anew with Ray Data, each group in a task. Yields its number and shards, in no order."""
    rows = ray.data.from_items([{"group": i} for i in range(len(groups))], override_num_blocks=len(groups))
    options = {"groups": ray.put(groups), "dropped": ray.put(dropped), "out": out}
    for row in rows.map_batches(_rewrite_group, batch_size=1, fn_kwargs=options).iter_rows():
        yield row["group"], [Shard(**shard) for shard in json.loads(row["shards"])]


def _rewrite_group(batch: dict[str, np.ndarray], *, groups: Any, dropped: Any, out: str) -> dict[str, Any]:
    (number,) = batch["group"]
    shards = rewrite(ray.get(groups)[number], ray.get(dropped), out)
    return {"group": [number], "shards": [json.dumps([asdict(shard) for shard in shards])]}


def rewrite(shards: Sequence[Shard], dropped: Rows, out: str) -> list[Shard]:
    """Write the rows of shards of one split anew, without those dropped. The old shards stay, for `publish_card`."""
    storage = open_storage(out)
    pages = read_pages(storage, [shard.key for shard in shards])
    kept = (page for page in pages if (page.chapter, page.index, page.source) not in dropped)
    return list(write_shards(storage, kept, shards[0].key.partition("/")[0]))
