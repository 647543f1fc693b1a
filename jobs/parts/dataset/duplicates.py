"""Which rows of a data set are left out, since a near-duplicate of theirs is in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from imaging.near_duplicates import Look, near_duplicates
from jobs.parts.dataset.facts import PageFacts


@dataclass(frozen=True)
class Duplicate:
    """A row that is left out.

    page: its facts.
    kept: the facts of the near-duplicate that stays.
    """

    page: PageFacts
    kept: PageFacts


def find_duplicates(pages: Sequence[PageFacts]) -> list[Duplicate]:
    """The rows to leave out, in the order of `pages`.

    Held-out pages stay before those of the training, so that none of these has seen one of them. Then the row with
    more pictures stays, then the larger one, then the earlier one. A page of which there is a gray picture here, and a
    colour picture there, stays twice, unless one of the two is held out.
    """
    looks: dict[Look, int] = {}  # a number for each
    look_of = [looks.setdefault(page.seen, len(looks)) for page in pages]
    near: dict[int, list[int]] = {number: [number] for number in looks.values()}
    for one, other in near_duplicates(list(looks)).tolist():
        near[one].append(other)
        near[other].append(one)
    kept: dict[int, list[int]] = {number: [] for number in looks.values()}  # pages of each look
    left_out: dict[int, int] = {}
    for number in sorted(range(len(pages)), key=lambda number: (_rank(pages[number]), number)):
        stays = (other for look in near[look_of[number]] for other in kept[look])
        better = next((other for other in stays if _replaces(pages[other], pages[number])), None)
        if better is None:
            kept[look_of[number]].append(number)
        else:
            left_out[number] = better
    return [Duplicate(pages[number], pages[left_out[number]]) for number in sorted(left_out)]


def _rank(page: PageFacts) -> tuple[bool, int, int]:
    return page.split != "holdout", -(page.gray + page.color), -page.width * page.height


def _replaces(kept: PageFacts, page: PageFacts) -> bool:
    leaks = kept.split == "holdout" and page.split != "holdout"
    return leaks or (kept.gray >= page.gray and kept.color >= page.color)
