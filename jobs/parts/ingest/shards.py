"""The parts of jobs/ingest.py: plan the chapters, read their pages into shards with Ray Data, publish the card."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np
import ray.data

from datasets.chapters import Member
from datasets.errors import BadUsageError, Code, MangahueError, PageUnreadableError, StorageError
from datasets.limits import SLOW
from datasets.page import Page, decode, encode
from datasets.shards import CARD, SHARD_BYTES, Shard, unread, write_shards
from datasets.storage import Storage, open_storage, split_uri
from imaging.color import U8, to_lab
from jobs.parts.ingest.config import HOLDOUT, IngestConfig
from jobs.parts.ingest.layouts import LaidOut, by_layout, side_folders
from jobs.parts.ingest.pairing import ChapterPlan, Edition, find_editions, pair_editions, pair_pages
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.options import as_settings
from jobs.parts.runtime.outcome import Exit, as_json
from jobs.parts.runtime.progress import Meter
from jobs.parts.runtime.sandbox import sandbox
from jobs.parts.source import reader
from jobs.parts.source.holdout import held_out
from jobs.parts.source.policy import Policy

log = logging.getLogger("mangahue")
_LEAST_GROUP = 16 * 2**20
_SPLITS = ("train", "holdout")
_POLICY = Policy()
_SLOW = SLOW * _POLICY.limits.seconds


@dataclass
class Written:
    """What a group of chapters, or the whole job, has written.

    shards: the shards.
    failures: source, code and message of each chapter or page that could not be read.
    chroma: sums of the mean a and b of `colored` training pages.
    colored: training pages with colour.
    paired: pages that have both editions.
    unfinished: how many of the failures say nothing of the page or chapter: storage failed, or a tool is missing.
    """

    shards: list[Shard] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    chroma: list[float] = field(default_factory=lambda: [0.0, 0.0])
    colored: int = 0
    paired: int = 0
    unfinished: int = 0

    @property
    def pages(self) -> int:
        """How many pages are in the shards."""
        return sum(shard.pages for shard in self.shards)

    @classmethod
    def from_json(cls, text: str) -> "Written":
        return cls.of(json.loads(text))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Written":
        return cls(**{**values, "shards": [Shard(**shard) for shard in values["shards"]]})

    def add(self, other: "Written") -> None:
        self.shards += other.shards
        self.failures += other.failures
        self.chroma = [a + b for a, b in zip(self.chroma, other.chroma, strict=True)]
        self.colored += other.colored
        self.paired += other.paired
        self.unfinished += other.unfinished


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
    if card.get("plan") != _plan_digest(chapters):
        raise BadUsageError(f"--out {out.uri} holds other shards; give another folder, or --replace")
    if missing := unread(card):
        log.info("%d chapters or pages could not be read the last time; they are read now", missing)
        return None
    log.info("the shards in %s are these chapters' already; nothing to do", out.uri)
    return Exit.PARTLY if card["failures"] else Exit.DONE


def _plan_digest(chapters: Sequence[ChapterPlan]) -> str:
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
        _sweep(out, ())
        return {}
    return {group["plan"]: Written.of(group["written"]) for group in card.get("unfinished", [])}


def _sweep(out: Storage, kept: Sequence[str]) -> None:
    """Delete all shards but those `kept`."""
    for split in _SPLITS:
        for entry in list(out.list(f"{split}/pages-")):
            if entry.key not in kept:
                out.delete(entry.key)


def write_all(chapters: Sequence[ChapterPlan], out: str, earlier: Mapping[str, Written]) -> dict[str, Written]:
    """Read chapters into shards, in groups of one split. Returns what each has written, by the digest of its plan.

    earlier: what is written already. A group is read again where its storage failed, and the better result is taken.
    """
    groups = _groups(chapters)
    plans = [_plan_digest(group) for group in groups]
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
    for split in _SPLITS:
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
    written = read_group(ray.get(groups)[number], out)
    return {"group": [number], "written": [json.dumps(asdict(written))]}


def read_group(group: Sequence[ChapterPlan], out: str) -> Written:
    """Read a group of chapters into shards."""
    written = Written()
    pages = (page for chapter in group for page in read_chapter(chapter, written))
    written.shards += write_shards(open_storage(out), pages, group[0].split)
    return written


def read_chapter(chapter: ChapterPlan, written: Written) -> Iterator[Page]:
    """The readable pages of a chapter. What can't be read is added to `written.failures` with its path."""
    members: dict[str, list[Member]] = {"color": [], "gray": []}
    for side, edition in (("color", chapter.color), ("gray", chapter.gray)):
        if edition is None:
            continue
        try:
            directory = sandbox().call(reader.look_inside, edition.ref, _POLICY, seconds=_SLOW)
            members[side] = edition.pages(directory)
        except MangahueError as error:
            _note(written, edition.ref.uri, error, fetching=True)
    of_color, of_gray = (edition.only if edition else None for edition in (chapter.color, chapter.gray))
    for index, (color, gray) in enumerate(pair_pages(members["color"], members["gray"], (of_color, of_gray))):
        picture: dict[str, bytes | None] = {"color": None, "gray": None}
        pixels: dict[str, U8] = {}
        for side, member, edition in (("color", color, chapter.color), ("gray", gray, chapter.gray)):
            if member is None or edition is None:
                continue
            source = f"{edition.ref.uri}/{member.name}"
            try:
                fetched = sandbox().call(reader.fetch, edition.ref, _POLICY, member, seconds=_SLOW)
            except MangahueError as error:
                _note(written, source, error, fetching=True)
                continue
            try:
                if fetched.error is not None:
                    raise fetched.error
                decoded = sandbox().call(decode, fetched.data, seconds=_POLICY.limits.seconds)
                pixels[side], picture[side] = _own_half(edition, decoded, fetched.data)
            except MangahueError as error:
                _note(written, source, error)
        if pixels:
            member, edition = (color, chapter.color) if picture["color"] else (gray, chapter.gray)
            assert member is not None
            assert edition is not None
            height, width = next(iter(pixels.values())).shape[:2]
            _count(written, chapter.split, pixels)
            yield Page(
                series=chapter.series,
                chapter=chapter.rel,
                index=index,
                name=member.name,
                gray=picture["gray"],
                color=picture["color"],
                gray_from="source" if picture["gray"] else chapter.gray_from,
                width=width,
                height=height,
                split=chapter.split,
                source=f"{edition.ref.uri}/{member.name}",
            )


def _own_half(edition: Edition, pixels: U8, data: bytes) -> tuple[U8, bytes]:
    """The page of a picture, and its bytes: as they came, or a PNG of its half. The right one has an odd column."""
    if edition.half is None:
        return pixels, data
    middle = pixels.shape[1] // 2
    if not middle:
        raise PageUnreadableError(Code.NOT_IMAGE, "a picture of one column has no two halves")
    page = pixels[:, :middle] if edition.half == "left" else pixels[:, middle:]
    return page, encode(page, "png")


def _note(written: Written, source: str, error: Exception, *, fetching: bool = False) -> None:
    """Add a failure. It is final where it is one of the page or chapter itself.

    fetching: whether bytes were read from storage. If that took too long, storage may be at fault.
    """
    code = getattr(error, "code", "STORAGE" if isinstance(error, StorageError) else "TOOL")
    written.unfinished += code in ("STORAGE", "TOOL") or (fetching and code == Code.TIMEOUT)
    written.failures.append({"source": source, "code": code, "message": getattr(error, "message", str(error))})


def _count(written: Written, split: str, pixels: dict[str, U8]) -> None:
    written.paired += len(pixels) == 2
    if split == "train" and "color" in pixels:
        small = cv2.resize(pixels["color"], (64, 64), interpolation=cv2.INTER_AREA)
        a, b = to_lab(small)[..., 1:].mean(axis=(0, 1))
        written.chroma = [written.chroma[0] + float(a), written.chroma[1] + float(b)]
        written.colored += 1


def publish_card(
    out: Storage, config: IngestConfig, chapters: Sequence[ChapterPlan], groups: Mapping[str, Written]
) -> Exit:
    """Write shards.json, last of all, and log the result.

    groups: what write_all returned. Where storage failed, the card has it, for the next run to take up.
    Returns FAILED where no page was readable, and then writes nothing. Returns PARTLY where some were not.
    """
    written = Written()
    for group in groups.values():
        written.add(group)
    for failure in written.failures:
        log.warning("not read: %(source)s: %(code)s %(message)s", failure)
    pages = {
        split: sum(shard.pages for shard in written.shards if shard.key.startswith(f"{split}/")) for split in _SPLITS
    }
    if not sum(pages.values()):
        log.error("not one page could be read; nothing is published")
        return Exit.FAILED
    shards = sorted((asdict(shard) for shard in written.shards), key=lambda shard: shard["key"])
    card = {
        "settings": as_settings(config),
        "plan": _plan_digest(chapters),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "fingerprint": hashlib.sha256("".join(shard["digest"] for shard in shards).encode()).hexdigest(),
        "pages": pages,
        "paired": written.paired,
        "chapters": {split: [chapter.rel for chapter in chapters if chapter.split == split] for split in _SPLITS},
        "mean_chroma": [value / max(1, written.colored) for value in written.chroma],
        "shards": shards,
        "failures": written.failures,
    }
    if written.unfinished:
        card["unfinished"] = [{"plan": digest, "written": asdict(group)} for digest, group in groups.items()]
    out.put(CARD, as_json(card))
    _sweep(out, [shard.key for shard in written.shards])
    log.info("%d training and %d held-out pages (%d pairs), %d not read -> %s", pages["train"], pages["holdout"],
             written.paired, len(written.failures), out.uri)  # fmt: skip
    if written.unfinished:
        log.error("%d of them because storage did not give them, or a tool is missing: the shards are unfinished; run "
                  "the same command again, and it reads what is missing", written.unfinished)  # fmt: skip
    return Exit.PARTLY if written.failures else Exit.DONE
