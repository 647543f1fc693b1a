"""The parts of jobs/ingest.py: plan the chapters, and read their pages into shards with Ray Data."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import ray.data

from datasets.errors import BadUsageError
from datasets.shards import CARD, SHARD_BYTES, unread, write_shards
from datasets.storage import Storage, open_storage, split_uri
from jobs.parts.dataset.card import SPLITS, sweep
from jobs.parts.dataset.report import MOST_PREVIEWS
from jobs.parts.dataset.written import Written
from jobs.parts.ingest.config import HOLDOUT, IngestConfig
from jobs.parts.ingest.layouts import LaidOut, by_layout, side_folders
from jobs.parts.ingest.pairing import ChapterPlan, find_editions, pair_editions
from jobs.parts.ingest.reading import read_chapter
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.outcome import Exit
from jobs.parts.runtime.progress import Meter
from jobs.parts.source.holdout import held_out

log = logging.getLogger("mangahue")
_LEAST_GROUP = 16 * 2**20


def plan(config: IngestConfig) -> list[ChapterPlan]:
    """All chapters of both editions, paired and assigned to a split. Only names are read, no pages.

    Raises BadUsageError where there is no chapter, where --holdout fits none, or where the layout is not as it says.
    """
    found = sorted(_find_chapters(config), key=lambda chapter: chapter.rel)
    if not found:
        raise BadUsageError(f"no chapter in {config.color or config.gray}: no archive, and no folder with images")
    kept = {chapter.rel for chapter in found if chapter.split == "holdout"}
    if config.holdout is not None or not kept:
        rels = [chapter.rel for chapter in found]
        kept = held_out(rels, HOLDOUT if config.holdout is None else config.holdout, config.seed)
    root = split_uri(config.color or config.gray or "")[1]
    plans = []
    for chapter in found:
        folder = str(PurePosixPath(chapter.rel).parent)
        series = root if folder == "." else folder
        split = "holdout" if chapter.rel in kept else "train"
        plans.append(ChapterPlan(chapter.rel, series, split, config.gray_from, chapter.color, chapter.gray))
    log.info("%d chapters, %d of them held out", len(plans), len(kept))
    return plans


def _find_chapters(config: IngestConfig) -> list[LaidOut]:
    color = find_editions(config.color) if config.color else []
    if config.aligned and config.color:
        return by_layout(config.color, color, config.aligned)
    if folders := side_folders(color):
        raise BadUsageError(
            f"--color {config.color} holds {' and '.join(sorted(folders))}: say which of A and B is the gray page by "
            "--aligned AtoB (A is) or BtoA (B is)"
        )
    gray = find_editions(config.gray) if config.gray else []
    return [LaidOut(*pair, None) for pair in pair_editions(color, gray)]


def already_done(out: Storage, config: IngestConfig, chapters: Sequence[ChapterPlan]) -> Exit | None:
    """The exit code of the finished ingest in `out`, if it is this very one. None if there is none, or one that lacks
    pages because storage failed.

    Raises BadUsageError where other shards are there, unless they may be replaced.
    """
    card = read_json(out, CARD)
    if config.replace or card is None:
        return None
    if card.get("plan") != plan_digest(chapters):
        raise BadUsageError(f"--out {out.uri} holds other shards; give another folder, or --replace")
    if missing := unread(card):
        log.info("%d chapters or pages could not be read the last time; they are read now", missing)
        return None
    log.info("the shards in %s are these chapters' already; nothing to do", out.uri)
    return Exit.PARTLY if card["failures"] else Exit.DONE


def plan_digest(chapters: Sequence[ChapterPlan]) -> str:
    def as_before(items: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in items if (name, value) != ("half", None)}  # a field of a later version

    plans = [asdict(chapter, dict_factory=as_before) for chapter in chapters]
    return hashlib.sha256(json.dumps(plans).encode()).hexdigest()


def take_up(out: Storage, config: IngestConfig) -> dict[str, Written]:
    """What the unfinished ingest in `out` has written, by the digest of each group's plan; {} where it does not say.

    Where no card is there, or what is there is to be replaced, the shards are deleted. Other files stay.
    """
    card = read_json(out, CARD)
    if config.replace or card is None:
        out.delete(CARD)
        sweep(out, ())
        return {}
    return {group["plan"]: Written.of(group["written"]) for group in card.get("unfinished", [])}


def write_all(chapters: Sequence[ChapterPlan], out: str, earlier: Mapping[str, Written]) -> dict[str, Written]:
    """Read chapters into shards, in groups of one split. Returns what each has written, by the digest of its plan.

    earlier: what is written already. A group is read again where its storage failed, and the better result is taken.
    """
    groups = _groups(chapters)
    plans = [plan_digest(group) for group in groups]
    numbers = [i for i, digest in enumerate(plans) if digest not in earlier or earlier[digest].unfinished]
    found = dict(earlier)
    with Meter("ingest", sum(len(groups[i]) for i in numbers)) as meter:
        for i, written in read_groups(groups, numbers, out):
            if plans[i] not in earlier or not written.unfinished or written.pages >= earlier[plans[i]].pages:
                found[plans[i]] = written
            meter.advance(len(groups[i]), written.pages)
    return {digest: found[digest] for digest in plans}


def read_groups(
    groups: Sequence[Sequence[ChapterPlan]], numbers: Sequence[int], out: str
) -> Iterator[tuple[int, Written]]:
    """Read the groups with these numbers with Ray Data, each in a task. Yields what each has written, in no order."""
    rows = ray.data.from_items([{"group": i} for i in numbers], override_num_blocks=len(numbers))
    reports = rows.map_batches(_ingest_group, batch_size=1, fn_kwargs={"groups": ray.put(groups), "out": out})
    for row in reports.iter_rows():
        yield row["group"], Written.from_json(row["written"])


def _groups(chapters: Sequence[ChapterPlan]) -> list[list[ChapterPlan]]:
    """Groups of neighbouring chapters of one split, up to the bytes of a shard. Smaller where that keeps more CPUs
    busy.
    """
    most = min(SHARD_BYTES, max(_LEAST_GROUP, sum(chapter.size for chapter in chapters) // 8))
    groups: list[list[ChapterPlan]] = []
    for split in SPLITS:
        size = most
        for chapter in (chapter for chapter in chapters if chapter.split == split):
            if size + chapter.size > most:
                groups.append([])
                size = 0
            groups[-1].append(chapter)
            size += chapter.size
    return groups


def _ingest_group(batch: dict[str, np.ndarray], *, groups: Any, out: str) -> dict[str, Any]:
    (number,) = batch["group"]
    all_groups = ray.get(groups)
    written = read_group(all_groups[number], out, previews=max(1, MOST_PREVIEWS // len(all_groups)))
    return {"group": [number], "written": [json.dumps(asdict(written))]}


def read_group(group: Sequence[ChapterPlan], out: str, *, previews: int = MOST_PREVIEWS) -> Written:
    """Read a group of chapters into shards.

    previews: how many pages to keep a preview of; up to twice as many are kept.
    """
    written = Written()
    pages = (page for chapter in group for page in read_chapter(chapter, written, previews))
    written.shards += write_shards(open_storage(out), pages, group[0].split)
    return written
