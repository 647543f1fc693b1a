"""The end of an ingest: the report, then the card."""

import base64
import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from datasets.shards import CARD
from datasets.storage import Storage, split_uri
from jobs.parts.dataset.duplicates import Duplicate
from jobs.parts.dataset.report import publish_report
from jobs.parts.ingest.config import IngestConfig
from jobs.parts.ingest.pairing import ChapterPlan
from jobs.parts.ingest.shards import SPLITS, plan_digest, sweep
from jobs.parts.ingest.written import Written
from jobs.parts.runtime.options import as_settings
from jobs.parts.runtime.outcome import Exit, as_json

_UNFINISHED = "Unfinished: storage did not give all chapters or pages. Near-duplicates are left out when it has."

log = logging.getLogger("mangahue")


def publish_card(
    out: Storage,
    config: IngestConfig,
    chapters: Sequence[ChapterPlan],
    groups: Mapping[str, Written],
    duplicates: Sequence[Duplicate],
) -> Exit:
    """Write the report, then shards.json, last of all, and log the result.

    groups, duplicates: what leave_out_duplicates returned. Where storage failed, the card has the groups, for the next
        run to take up.
    Returns FAILED where no page was readable, and then writes nothing. Returns PARTLY where some were not.
    """
    written = Written()
    for group in groups.values():
        written.add(group)
    for failure in written.failures:
        log.warning("not read: %(source)s: %(code)s %(message)s", failure)
    card = _card(config, chapters, written, duplicates)
    pages = card["pages"]
    if not sum(pages.values()):
        log.error("not one page could be read; nothing is published")
        return Exit.FAILED
    if written.unfinished:
        card["unfinished"] = [{"plan": digest, "written": asdict(group)} for digest, group in groups.items()]
    _publish_report(out, config, written, duplicates)
    out.put(CARD, as_json(card))
    sweep(out, [shard.key for shard in written.shards])
    log.info("%d training and %d held-out pages (%d pairs), %d not read -> %s", pages["train"], pages["holdout"],
             written.paired, len(written.failures), out.uri)  # fmt: skip
    if written.unfinished:
        log.error("%d of them because storage did not give them, or a tool is missing: the shards are unfinished; run "
                  "the same command again, and it reads what is missing", written.unfinished)  # fmt: skip
    return Exit.PARTLY if written.failures else Exit.DONE


def _card(
    config: IngestConfig, chapters: Sequence[ChapterPlan], written: Written, duplicates: Sequence[Duplicate]
) -> dict[str, Any]:
    """The card of a finished ingest."""
    shards = sorted((asdict(shard) for shard in written.shards), key=lambda shard: shard["key"])
    return {
        "settings": as_settings(config),
        "plan": plan_digest(chapters),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "fingerprint": hashlib.sha256("".join(shard["digest"] for shard in shards).encode()).hexdigest(),
        "pages": {
            split: sum(shard.pages for shard in written.shards if shard.key.startswith(f"{split}/")) for split in SPLITS
        },
        "paired": written.paired,
        "chapters": {split: [chapter.rel for chapter in chapters if chapter.split == split] for split in SPLITS},
        "mean_chroma": [value / max(1, written.colored) for value in written.chroma],
        "shards": shards,
        "failures": written.failures,
        "near_duplicates": [{"source": one.page.source, "kept": one.kept.source} for one in duplicates],
    }


def _publish_report(out: Storage, config: IngestConfig, written: Written, duplicates: Sequence[Duplicate]) -> None:
    shown = {page.row: page for page in written.facts}
    publish_report(
        out,
        title=f"Data set {split_uri(out.uri)[1]}",
        pages=written.facts,
        duplicates=duplicates,
        rejected=written.failures,
        previews=[(shown[row], base64.b64decode(jpeg)) for row, jpeg in written.previews],
        settings=as_settings(config),
        note=_UNFINISHED if written.unfinished else "",
    )
