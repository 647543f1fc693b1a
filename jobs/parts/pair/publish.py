"""What a pairing job leaves behind: pairs.json, which says what became of each picture, and shards.json."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from datasets.errors import BadUsageError
from datasets.shards import CARD
from datasets.storage import Storage, split_uri
from jobs.parts.dataset.card import SPLITS, card_of, sweep
from jobs.parts.dataset.report import publish_report
from jobs.parts.dataset.written import Written
from jobs.parts.pair.assign import Match
from jobs.parts.pair.config import PairConfig
from jobs.parts.pair.match import Edition
from jobs.parts.pair.plan import Verdict
from jobs.parts.pair.rows import RowPlan
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.options import as_settings
from jobs.parts.runtime.outcome import Exit, as_json

log = logging.getLogger("mangahue")
PAIRS = "pairs.json"


def check_owner(out: Storage, config: PairConfig) -> None:
    """Raises BadUsageError where other shards lie in --out, unless they may be replaced."""
    card = read_json(out, CARD)
    if card is None or config.replace:
        return
    settings = card.get("settings", {})
    if "accept" not in settings or (settings.get("color"), settings.get("gray")) != (config.color, config.gray):
        raise BadUsageError(f"--out {out.uri} holds other shards; give another folder, or --replace")


def why(one: Match) -> str:
    """What speaks for a match, in words."""
    if one.decided:
        return "decided in a review"
    agree = f"{one.fit.inliers} features and {one.fit.overlap:.0%} of the edges agree"
    agree += f", {one.fit.evenness:.0%} in the poorer parts"
    return agree + (f"; of the next page {one.second:.0%}" if one.second > 0 else "")


def pair_records(
    color: Edition, gray: Edition, verdict: Verdict, matches: Sequence[Match], reasons: Mapping[int, str]
) -> list[dict[str, Any]]:
    """What became of each colour picture, in their order: a record for each place it has, or one that says why not."""
    records = []
    taken, doubtful = ({id(one) for one in found} for found in (verdict.taken, verdict.doubtful))
    of_color: dict[int, list[Match]] = {}
    for one in matches:
        of_color.setdefault(one.color, []).append(one)
    for picture in range(len(color.numbers)):
        found = of_color.get(picture, [])
        kept = [one for one in found if id(one) in taken | doubtful] or found[:1]
        for one in kept:
            outcome = "paired" if id(one) in taken else "doubtful" if id(one) in doubtful else "unpaired"
            records.append({
                "color": color.name(picture), "gray": gray.name(one.gray), "outcome": outcome, "box": list(one.box),
                "mirrored": one.fit.mirrored, "confidence": round(one.confidence, 4), "why": why(one),
            })  # fmt: skip
        if not kept:
            records.append({
                "color": color.name(picture), "gray": None, "outcome": "unpaired", "box": None, "mirrored": False,
                "confidence": 0.0, "why": reasons.get(picture, "no page may be its own"),
            })  # fmt: skip
    return records


def publish(
    out: Storage,
    config: PairConfig,
    records: Sequence[dict[str, Any]],
    rows: Mapping[str, Sequence[RowPlan]],
    written: Written,
) -> Exit:
    """Write pairs.json, the report and, last of all, shards.json; delete shards that are no longer used. Logs the
    result.

    Returns FAILED where no page was readable, and then writes nothing. Returns PARTLY where some were not.
    """
    for failure in written.failures:
        log.warning("not read: %(source)s: %(code)s %(message)s", failure)
    card = card_of(
        as_settings(config),
        written.shards,
        {split: list(dict.fromkeys(row.chapter for row in rows[split])) for split in SPLITS},
        paired=written.paired,
        chroma=written.chroma,
        colored=written.colored,
        failures=written.failures,
    )
    pages = card["pages"]
    if not sum(pages.values()):
        log.error("not one page could be read; nothing is published")
        return Exit.FAILED
    outcomes = [record["outcome"] for record in records]
    _publish_report(out, config, records, written)
    out.put(PAIRS, as_json({"settings": as_settings(config), "pairs": list(records)}))
    out.put(CARD, as_json(card))
    sweep(out, [shard.key for shard in written.shards])
    log.info("%d pairs, %d to be decided, %d pictures without a page; %d training and %d held-out pages, %d not read "
             "-> %s", outcomes.count("paired"), outcomes.count("doubtful"), outcomes.count("unpaired"),
             pages["train"], pages["holdout"], len(written.failures), out.uri)  # fmt: skip
    if written.unfinished:
        log.error("%d of them because storage did not give them, or a tool is missing: run the same command again, and "
                  "it reads what is missing", written.unfinished)  # fmt: skip
    return Exit.PARTLY if written.failures else Exit.DONE


def _publish_report(out: Storage, config: PairConfig, records: Sequence[Mapping[str, Any]], written: Written) -> None:
    count = Counter(record["outcome"] for record in records)
    publish_report(
        out,
        title=f"Pairs {split_uri(out.uri)[1]}",
        pages=written.facts,
        duplicates=None,
        rejected=written.failures,
        previews=written.shown,
        settings=as_settings(config),
        note=f"Pairs: {count['paired']}; to be decided: {count['doubtful']}; colour pictures without a page: "
        f"{count['unpaired']}.",
        unpaired=[record for record in records if record["outcome"] != "paired"],
    )
