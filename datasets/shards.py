"""Page shards: Parquet files of page rows, written as a stream and read back as one.

A shard folder holds `train/*.parquet`, `holdout/*.parquet` and `shards.json`. The last is written last: without it the
folder is not whole. This is the one module of `datasets` that knows Ray.
"""

import hashlib
import io
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.errors import BadUsageError
from datasets.page import SCHEMA, Page
from datasets.storage import Storage, open_storage
from imaging.color import U8
from imaging.descreen import network_view, squeezed
from imaging.target import CHANNELS, quantized_target

if TYPE_CHECKING:
    import ray.data

log = logging.getLogger("mangahue")
CARD = "shards.json"
KINDS = ("pairs", "ink", "color")  # of training examples
SHARD_BYTES = 128 * 2**20
_LACKING = {
    "pairs": "with ink and colours: train --variant cyclegan, which takes pages without pairs, or ingest with another "
    "--gray-from, which derives the ink",
    "ink": "with ink: ingest --gray too, or with a --gray-from that derives it",
    "color": "with colours: ingest --color too",
}
_GROUP_BYTES = 8 * 2**20  # bytes of a row group, the least that a reader holds
_TASK_PAGES = 128  # pages to a reading task: with fewer, its start costs too much


@dataclass(frozen=True)
class Shard:
    """A written shard.

    key: in the shard folder.
    pages: number of its pages.
    size: in bytes.
    digest: sha256 over its rows' names and pictures, in hex.
    masked: number of its pages that have a mask.
    examples: number of its pages that give an example, by kind as for `ShardSet.stream`.
    """

    key: str
    pages: int
    size: int
    digest: str
    masked: int = 0
    examples: dict[str, int] = field(default_factory=dict)


def write_shards(storage: Storage, pages: Iterable[Page], split: str) -> Iterator[Shard]:
    """Pack pages into shards of about 128 MB, and put each under a name made from its content.

    storage: the shard folder.
    pages: taken one at a time; one shard is held at a time.
    split: "train" or "holdout".

    The same pages give the same name, so a task that runs twice leaves one shard.
    """
    packer = _Packer()
    for page in pages:
        packer.add(page)
        if packer.size >= SHARD_BYTES:
            yield packer.put(storage, split)
            packer = _Packer()
    if packer.pages:
        yield packer.put(storage, split)


class _Packer:
    def __init__(self) -> None:
        self.size = 0
        self.pages = 0
        self._masked = 0
        self._examples = dict.fromkeys(KINDS, 0)
        self._group: list[Page] = []
        self._group_size = 0
        self._out = io.BytesIO()
        self._writer = pq.ParquetWriter(self._out, SCHEMA, compression="none")  # pictures are compressed already
        self._digest = hashlib.sha256()

    def add(self, page: Page) -> None:
        for value in (page.series, page.chapter, str(page.index), page.name, page.gray_from):
            self._digest.update(value.encode() + b"\0")
        self._digest.update(hashlib.sha256(page.gray or b"").digest() + hashlib.sha256(page.color or b"").digest())
        if page.mask is not None:
            self._digest.update(b"mask" + hashlib.sha256(page.mask).digest())
            self._masked += 1
        for kind in page.kinds:
            self._examples[kind] += 1
        self._group.append(page)
        self.pages += 1
        self.size += page.size()
        self._group_size += page.size()
        if self._group_size >= _GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        if self._group:
            columns = {name: [getattr(page, name) for page in self._group] for name in SCHEMA.names}
            self._writer.write_table(pa.table(columns, schema=SCHEMA))
        self._group, self._group_size = [], 0

    def put(self, storage: Storage, split: str) -> Shard:
        self._write_group()
        self._writer.close()
        data = self._out.getvalue()
        digest = self._digest.hexdigest()
        key = f"{split}/pages-{digest[:16]}.parquet"
        storage.put(key, data)
        return Shard(key, self.pages, len(data), digest, self._masked, self._examples)


def unread(card: Mapping[str, Any]) -> int:
    """Return how many chapters or pages an ingest left out through no fault of theirs; 0 for a finished one.

    card: the content of its `shards.json`, of this version or an earlier one.
    """
    if "unfinished" in card:
        return sum(group["written"]["unfinished"] for group in card["unfinished"])
    return sum(failure["code"] == "STORAGE" for failure in card.get("failures", []))


@dataclass(frozen=True)
class ShardSet:
    """A whole shard folder.

    uri: its address.
    card: the content of its `shards.json`.
    """

    uri: str
    card: dict[str, Any]

    @classmethod
    def open(cls, uri: str) -> "ShardSet":
        """Open a shard folder. Raises BadUsageError where `uri` holds no whole one."""
        storage = open_storage(uri)
        if storage.stat(CARD) is None:
            raise BadUsageError(f"--data {uri} has no {CARD}: ingest wrote nothing there, or did not finish; run it")
        card = json.loads(storage.read(CARD))
        if missing := unread(card):
            log.warning(
                "--data %s is unfinished: storage did not give %d chapters or pages; run its ingest again to have them",
                storage.uri,
                missing,
            )
        return cls(storage.uri, card)

    @property
    def fingerprint(self) -> str:
        """The identity of the pages, in hex."""
        return str(self.card["fingerprint"])

    @property
    def mean_chroma(self) -> tuple[float, float]:
        """The mean ab of the training pages: what the simplest network would predict, a baseline."""
        a, b = self.card["mean_chroma"]
        return float(a), float(b)

    def pages(self, split: str) -> int:
        """Return the number of pages in a split."""
        return int(self.card["pages"][split])

    def examples(self, split: str, kind: str) -> int:
        """Return the number of pages in a split that give an example; of all pages, for shards of an earlier version.

        kind: as for `stream`.
        """
        shards = (shard for shard in self.card["shards"] if shard["key"].startswith(f"{split}/"))
        return sum(shard.get("examples", {}).get(kind, shard["pages"]) for shard in shards)

    @property
    def masked(self) -> bool:
        """Whether any page has a mask. Shards of an earlier version have none."""
        return any(shard.get("masked") for shard in self.card["shards"])

    def keys(self, split: str) -> list[str]:
        """Return the keys of a split's shards."""
        return [shard["key"] for shard in self.card["shards"] if shard["key"].startswith(f"{split}/")]

    def read(self, split: str) -> Iterator[Page]:
        """Yield the pages of a split, with one row group in memory at a time."""
        storage = open_storage(self.uri)
        for key in self.keys(split):
            with storage.open(key) as file, pq.ParquetFile(file) as shard:
                for group in range(shard.num_row_groups):
                    for row in shard.read_row_group(group).to_pylist():
                        yield Page.from_row(row)

    def sample(self, split: str, limit: int) -> list[Page]:
        """Return pages with ink and colour, evenly spread over the split.

        There are at most `limit` of them, and at least half of that where the split has so many.
        """
        kept: list[Page] = []
        stride = 1
        for i, page in enumerate(page for page in self.read(split) if "pairs" in page.kinds):
            if i % stride == 0:
                kept.append(page)
            if len(kept) == 2 * limit:
                kept, stride = kept[::2], 2 * stride
        return kept[:: -(-len(kept) // limit) or 1]

    def rows(self, split: str, *, num_cpus: float) -> "ray.data.Dataset":
        """Return the rows of a split as they are stored (datasets.page.SCHEMA).

        split: "train" or "holdout".
        num_cpus: CPUs that a task asks for.
        """
        import ray.data  # a second to load, which who reads a shard himself is spared

        filesystem, root = open_storage(self.uri).arrow()
        paths = [f"{root}/{key}" for key in self.keys(split)]
        return ray.data.read_parquet(paths, filesystem=filesystem, num_cpus=num_cpus)

    def stream(
        self, split: str, *, kind: str, size: int, target: str, passes: int, seed: int, num_cpus: float, cache: int
    ) -> "ray.data.Dataset":
        """Return a stream of training examples: `passes` times over the split, each in a new order of its blocks.

        split: "train" or "holdout".
        kind: "pairs" has ink and target, and the numbers of chapter and page; "ink" and "color" have one of the two,
            for training without pairs: all pages that have it.
        size: side of the network's square, in pixels.
        target: the target space, a key of imaging.target.CHANNELS.
        passes: over the split.
        seed: of the order.
        num_cpus: CPUs that a task asks for.
        cache: in bytes; a split whose examples fit is decoded once and kept in Ray's object store, where there are
            three passes or more. Otherwise it is decoded on each pass, and pages whose ink is drawn by chance are
            drawn anew.

        Ink is (1, size, size) uint8, as colouring sees it (imaging.descreen.network_view). Target is (C, size, size)
        int8 or uint8 (imaging.target), the page resized to a square as pix2pix does. Pages without colour give ink
        only. Where any page of the set has a mask, each example has a "mask" (1, size, size) uint8: 1 where the page is
        not judged, else 0. Raises BadUsageError where the split has no such pages.
        """
        import ray.data

        keys = self.keys(split)
        if not keys:
            raise BadUsageError(f"--data {self.uri} holds no {split} pages; ingest some, or hold out fewer chapters")
        if not (count := self.examples(split, kind)):
            raise BadUsageError(f"--data {self.uri} holds no {split} page {_LACKING[kind]}")
        order = np.random.default_rng(seed)
        options = {"uri": self.uri, "kind": kind, "size": size, "target": target, "masked": self.masked}
        channels = self.masked + {"pairs": 1 + CHANNELS[target], "ink": 1, "color": CHANNELS[target]}[kind]
        kept = passes > 2 and count * channels * size * size <= cache
        # A task is a list of shards to read: Ray's own reader, given small files many times over, came back short.
        reads = [
            (keys[i], int(order.integers(2**31)))
            for _ in range(1 if kept else passes)
            for i in order.permutation(len(keys))
        ]
        per_task = max(1, _TASK_PAGES * len(keys) // max(1, self.pages(split)))
        tasks = [{"reads": json.dumps(reads[i : i + per_task])} for i in range(0, len(reads), per_task)]
        rows = ray.data.from_items(tasks, override_num_blocks=len(tasks))
        examples = rows.flat_map(read_examples, fn_kwargs=options, num_cpus=num_cpus)
        if not kept:
            return examples
        blocks = examples.materialize().to_arrow_refs()
        return ray.data.from_arrow_refs([blocks[i] for _ in range(passes) for i in order.permutation(len(blocks))])


def read_examples(
    row: dict[str, Any], *, uri: str, kind: str, size: int, target: str, masked: bool = False
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the training examples of some shards.

    row: its "reads" is a JSON list of (key, seed of the row groups' order).
    uri: of the shard folder.
    kind: as for `ShardSet.stream`.
    size: as for `ShardSet.stream`.
    target: as for `ShardSet.stream`.
    masked: whether the examples have masks.
    """
    storage = open_storage(uri)
    for key, seed in json.loads(row["reads"]):
        with storage.open(key) as file, pq.ParquetFile(file) as shard:
            for group in np.random.default_rng(seed).permutation(shard.num_row_groups):
                for page in shard.read_row_group(int(group)).to_pylist():
                    options: dict[str, Any] = {"kind": kind, "size": size, "target": target}
                    yield from training_example(page, **options, draw=seed, masked=masked)


def training_example(
    row: dict[str, Any], *, kind: str, size: int, target: str, draw: int = 0, masked: bool = False
) -> list[dict[str, np.ndarray]]:
    """Return one row of a shard as a training example; an empty list where the page lacks what it takes.

    row: of a shard.
    kind: as for `ShardSet.stream`.
    size: as for `ShardSet.stream`.
    target: as for `ShardSet.stream`.
    draw: number of the drawing, where the gray page is drawn by chance (`Page.decode_gray`).
    masked: whether the example has a mask.
    """
    page = Page.from_row(row)
    example = _example(page, kind, size, target, draw)
    if example and masked:
        mask = page.decode_mask((size, size))
        example["mask"] = (np.zeros((size, size), np.uint8) if mask is None else mask.astype(np.uint8))[None]
    return [example] if example else []


def _example(page: Page, kind: str, size: int, target: str, draw: int) -> dict[str, Any]:
    if kind == "ink" and page.gray:
        return {"ink": network_view(page.decode_gray(hint=page.hint(size, draw)), size)[None]}
    if kind == "color":
        color = page.decode_color(size)
        return {} if color is None else {"target": _target(squeezed(color, size), target)}
    pair = page.network_pair(size, draw)
    if pair is None:
        return {}
    ink, color = pair
    if kind == "ink":
        return {"ink": ink[None]}
    numbers: dict[str, Any] = {"chapter": np.int64(_number_of(page)), "page": np.int64(page.index)}
    return {"ink": ink[None], "target": _target(color, target), **numbers}


def _number_of(page: Page) -> int:
    """Return a number for a page's chapter: equal for pages of one chapter, different for those of others."""
    named = f"{page.series}\0{page.chapter}".encode()
    return int.from_bytes(hashlib.sha256(named).digest()[:8], "big") >> 1


def _target(color: U8, space: str) -> np.ndarray:
    return np.ascontiguousarray(quantized_target(color, space))
