"""The end of an ingest: the report, then the card."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from datasets.shards import CARD
from datasets.storage import Storage, split_uri
from jobs.parts.dataset.card import SPLITS, card_of, sweep
from jobs.parts.dataset.duplicates import Duplicate
from jobs.parts.dataset.report import publish_report
from jobs.parts.dataset.written import Written
from jobs.parts.ingest.config import IngestConfig
from jobs.parts.ingest.pairing import ChapterPlan
from jobs.parts.ingest.shards import plan_digest
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
    card = card_of(
        as_settings(config),
        written.shards,
        {split: [chapter.rel for chapter in chapters if chapter.split == split] for split in SPLITS},
        paired=written.paired,
        chroma=written.chroma,
        colored=written.colored,
        failures=written.failures,
    )
    card["plan"] = plan_digest(chapters)
    card["near_duplicates"] = [{"source": one.page.source, "kept": one.kept.source} for one in duplicates]
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


def _publish_report(out: Storage, config: IngestConfig, written: Written, duplicates: Sequence[Duplicate]) -> None:
    publish_report(
        out,
        title=f"Data set {split_uri(out.uri)[1]}",
        pages=written.facts,
        duplicates=duplicates,
        rejected=written.failures,
        previews=written.shown,
        settings=as_settings(config),
        note=_UNFINISHED if written.unfinished else "",
    )
