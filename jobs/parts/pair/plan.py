"""What a pairing job writes: which pairs are taken, which are to be decided, and the rows of the shards."""

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from datasets.archive import ChapterRef
from datasets.shards import SHARD_BYTES
from datasets.storage import split_uri
from jobs.parts.pair.assign import Match
from jobs.parts.pair.match import Edition
from jobs.parts.pair.rows import RowPlan, ShardTask, Source

_MORE_PAGES = 3  # between two pages than between their pictures: an edition may have pages that the other lacks
_LEAST_TASK = 16 * 2**20  # bytes of pictures


@dataclass(frozen=True)
class Verdict:
    """What became of the pictures.

    taken: matches that make pairs.
    doubtful: matches that a person is to decide, the surest first.
    """

    taken: Sequence[Match]
    doubtful: Sequence[Match]


def judge(matches: Sequence[Match], accept: float, reject: float) -> Verdict:
    """Part the matches by their confidence. A picture with a pair has no doubts any more.

    The order of pages brings doubts too: a match that is not sure at all, on a page that has no picture, is to be
    decided where the next paired pictures before and after it are on pages before and after its own, not further off.
    """
    taken = [one for one in matches if one.confidence >= accept]
    placed = {one.color for one in taken}
    others = [one for one in matches if one.confidence < accept and one.color not in placed]
    order, full = sorted((one.color, one.gray) for one in taken), {one.gray for one in taken}
    doubtful = [
        one for one in others if one.confidence >= reject or (one.gray not in full and _fills_a_gap(one, order))
    ]
    return Verdict(taken, doubtful)


def _fills_a_gap(one: Match, order: Sequence[tuple[int, int]]) -> bool:
    """Whether a picture lies between two pictures as its page between theirs.

    order: (picture, page) of each pair, in the order of pictures.
    """
    at = bisect(order, (one.color,))
    if not 0 < at < len(order):
        return False
    (color, gray), (next_color, next_gray) = order[at - 1], order[at]
    return gray < one.gray < next_gray and next_gray - gray <= next_color - color + _MORE_PAGES


def chapter_of(ref: ChapterRef) -> str:
    """A chapter's name, without the extension of an archive."""
    path = PurePosixPath(ref.rel)
    return str(path if ref.kind == "folder" else path.with_name(ref.name))


def source_of(edition: Edition, picture: int) -> Source:
    """The chapter and the member of a picture."""
    group, number = edition.numbers[picture]
    return edition.groups[group].ref, edition.groups[group].members[number]


def pair_row(color: Edition, gray: Edition, one: Match, root: str, index: int) -> RowPlan:
    """The row of a pair.

    root: URI of the black-and-white edition.
    """
    matrix = tuple(tuple(float(value) for value in row) for row in one.fit.homography)
    ref, member = source_of(gray, one.gray)
    return RowPlan(*_named(ref, root), index, member.name, (ref, member), source_of(color, one.color), matrix)


def _named(ref: ChapterRef, root: str) -> tuple[str, str]:
    """The series and the name of a chapter."""
    chapter = chapter_of(ref)
    folder = str(PurePosixPath(chapter).parent)
    return split_uri(root)[1] if folder == "." else folder, chapter


def plan_rows(
    color: Edition, gray: Edition, taken: Sequence[Match], roots: tuple[str, str], kept: set[str]
) -> dict[str, list[RowPlan]]:
    """The rows of each split: each page with the pictures on it, or alone; then the pictures without a page.

    roots: URIs of the colour and of the black-and-white edition.
    kept: names of the black-and-white chapters that are held out. Pictures without a page are held out where one of
        their chapter is on a page that is.
    """
    on_page: dict[int, list[Match]] = {}
    for one in sorted(taken, key=lambda one: (one.gray, one.box, one.color)):
        on_page.setdefault(one.gray, []).append(one)
    rows: dict[str, list[RowPlan]] = {"train": [], "holdout": []}
    count: dict[tuple[str, str], int] = {}
    held_colors = set()

    def next_index(named: tuple[str, str]) -> int:
        count[named] = count.get(named, -1) + 1
        return count[named]

    for page in range(len(gray.numbers)):
        ref, member = source_of(gray, page)
        named = _named(ref, roots[1])
        split = "holdout" if named[1] in kept else "train"
        for one in on_page.get(page, []):
            rows[split].append(pair_row(color, gray, one, roots[1], next_index(named)))
            if split == "holdout":
                held_colors.add(source_of(color, one.color)[0])
        if page not in on_page:
            rows[split].append(RowPlan(*named, next_index(named), member.name, (ref, member), None))
    placed = {one.color for one in taken}
    for picture in range(len(color.numbers)):
        if picture not in placed:
            ref, member = source_of(color, picture)
            named = _named(ref, roots[0])
            split = "holdout" if ref in held_colors else "train"
            rows[split].append(RowPlan(*named, next_index(named), member.name, None, (ref, member)))
    return rows


def shard_tasks(rows: Mapping[str, Sequence[RowPlan]], out: str) -> list[ShardTask]:
    """Tasks of neighbouring rows, up to the bytes of a shard, smaller where that keeps more cores busy."""
    sizes = {split: [sum(member.size for _, member in row.sources) for row in found] for split, found in rows.items()}
    most = min(SHARD_BYTES, max(_LEAST_TASK, sum(map(sum, sizes.values())) // 8))
    tasks = []
    for split, found in rows.items():
        part: list[RowPlan] = []
        held = 0
        for row, size in zip(found, sizes[split], strict=True):
            if part and held + size > most:
                tasks.append(ShardTask(out, split, tuple(part)))
                part, held = [], 0
            part.append(row)
            held += size
        if part:
            tasks.append(ShardTask(out, split, tuple(part)))
    return tasks
