"""Names the pages that each picture may come from, in tasks: with an index of all pages, in parts beside the shards."""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from datasets.storage import open_storage
from imaging.page_search import SAMPLE, PageIndex, make_vocabulary, search
from jobs.parts.pair.page_features import HOME, Kept, load_features
from jobs.parts.pair.pictures import digest_of
from jobs.parts.pair.runners import Runner
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.outcome import as_json
from jobs.parts.runtime.progress import Meter
from jobs.parts.runtime.sandbox import sandbox

MOST_PAGES = 8  # named for a picture
PART_PAGES = 256  # of a part of the index
_MADE = "search 1"  # raised where the same features give other pages
_TASK_PICTURES = 64  # of a task at most; it reads the whole index once
_TASK_MEETINGS = 64 * 64  # pictures of a task by parts of the index: it holds what each has met on each
_MOST_SAMPLE = 400_000  # descriptors that a vocabulary is made from
_SECONDS = 3600.0  # for a task


@dataclass(frozen=True)
class KeptIndex:
    """An index of pages, as it lies in the shard folder.

    out: URI of the folder.
    vocabulary: key of the vocabulary, a NumPy array.
    parts: keys of the parts, in the order of pages.
    """

    out: str
    vocabulary: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class PartTask:
    """A part of an index to be made: of `pages`, the first of which has the number `first`."""

    key: str
    first: int
    pages: tuple[Kept, ...]


@dataclass(frozen=True)
class SearchTask:
    """Pictures whose pages are searched for.

    mirrored: as they look in a mirror.
    """

    pictures: tuple[Kept, ...]
    mirrored: bool


def make_index(runner: Runner, pages: Sequence[Kept], out: str) -> KeptIndex:
    """Make an index of pages, or take up what is there of it.

    pages: where the features of each are; there must be one.
    """
    home = f"{HOME}/index/{digest_of([_MADE, SAMPLE, PART_PAGES, pages])}"
    firsts = range(0, len(pages), PART_PAGES)
    tasks = [PartTask(f"{home}/{first:07}.npz", first, tuple(pages[first : first + PART_PAGES])) for first in firsts]
    index = KeptIndex(out, f"{home}/vocabulary.npy", tuple(task.key for task in tasks))
    storage = open_storage(out)
    if storage.stat(index.vocabulary) is None:
        packed = io.BytesIO()
        np.save(packed, _vocabulary(pages, out))
        storage.put(index.vocabulary, packed.getvalue())
    with Meter("index", len(pages), unit="pages") as meter:
        for task, _ in zip(tasks, runner.map(partial(_make_part, index=index), tasks), strict=True):
            meter.advance(len(task.pages), len(task.pages))
    return index


def search_all(
    runner: Runner, index: KeptIndex, pictures: Sequence[Kept], *, mirrored: bool = False
) -> list[list[int]]:
    """The numbers of the likeliest pages of each picture, as `imaging.page_search.search` names them."""
    most = max(1, min(_TASK_PICTURES, _TASK_MEETINGS // len(index.parts)))
    tasks = [SearchTask(tuple(pictures[i : i + most]), mirrored) for i in range(0, len(pictures), most)]
    found: list[list[int]] = []
    with Meter("search in the mirror" if mirrored else "search", len(pictures), unit="pages") as meter:
        for pages in runner.map(partial(_search, index=index), tasks):
            found += pages
            meter.advance(len(pages), len(pages))
    return found


def _vocabulary(pages: Sequence[Kept], out: str) -> np.ndarray:
    """A vocabulary from some features of each page; from fewer of each where there are many pages."""
    chance = np.random.default_rng(0)
    each = max(1, min(SAMPLE, _MOST_SAMPLE // len(pages)))
    parts = []
    for kept in pages:
        descriptors = load_features(out, *kept).descriptors
        parts.append(descriptors[chance.permutation(len(descriptors))[:each]])
    return make_vocabulary(np.concatenate(parts))


def _make_part(task: PartTask, *, index: KeptIndex) -> None:
    if open_storage(index.out).stat(task.key) is None:
        sandbox().call(put_part, task, index, seconds=_SECONDS)


def put_part(task: PartTask, index: KeptIndex) -> None:
    """Make a part of an index and put it beside the shards."""
    features = (load_features(index.out, *kept) for kept in task.pages)
    part = PageIndex.of(features, _load_vocabulary(index), task.first)
    open_storage(index.out).put(task.key, part.to_bytes())


def _search(task: SearchTask, *, index: KeptIndex) -> list[list[int]]:
    """The pages of a task's pictures, kept for the next run."""
    storage = open_storage(index.out)
    key = f"{HOME}/candidates/{digest_of([index.vocabulary, MOST_PAGES, asdict(task)])}.json"
    if kept := read_json(storage, key):
        return [list(pages) for pages in kept["pages"]]
    found = sandbox().call(search_pages, task, index, seconds=_SECONDS)
    storage.put(key, as_json({"pages": found}))
    return found


def search_pages(task: SearchTask, index: KeptIndex) -> list[list[int]]:
    """The pages of a task's pictures. One part of the index is in memory at a time."""
    storage = open_storage(index.out)
    features = [load_features(index.out, *kept) for kept in task.pictures]
    shown = [one.mirrored() for one in features] if task.mirrored else features
    parts = (PageIndex.from_bytes(storage.read(key)) for key in index.parts)
    return [pages.tolist() for pages in search(parts, _load_vocabulary(index), shown, MOST_PAGES)]


def _load_vocabulary(index: KeptIndex) -> np.ndarray:
    return np.asarray(np.load(io.BytesIO(open_storage(index.out).read(index.vocabulary))))
