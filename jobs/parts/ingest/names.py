"""What the names of chapters and pages say, whatever an edition puts before all of its own."""

import re
from collections.abc import Sequence
from itertools import takewhile

from datasets.archive import chapter_and_page, plain

_SEPARATORS = re.compile(r"[_\-\s]+")
# Words that say what is counted: volume 3 is not chapter 3, and extra 1 is not page 1.
_UNITS = {
    "v", "vol", "volume", "tome", "t", "book", "season", "s", "part", "arc", "ch", "chap", "chapter", "ep", "episode",
    "p", "pg", "page", "extra", "extras", "special", "specials", "omake", "bonus", "gaiden", "side", "sidestory",
    "oneshot", "cover", "covers", "interlude", "prologue", "epilogue",
}  # fmt: skip


def bare_names(stems: Sequence[str]) -> list[str]:
    """Names for comparing those of one edition with those of another: `Berserk_001-002` gives '1_2'.

    They are in lower case, with numbers without leading zeros, and `-` and blanks are `_`. Words without a number that
    all numbered names of the edition begin with are left out: the series, and how the edition is called. It takes two
    such names to know, and a word that says what is counted (volume, extra) stays.
    """
    named = [[part for part in _SEPARATORS.split(plain(stem)) if part] for stem in stems]
    numbered = [parts for parts in named if any(map(_has_number, parts))]
    shared: list[str] = []
    if len(numbered) > 1:
        first, last = min(numbered), max(numbered)  # what these two begin with, all between them do
        same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
        shared = list(takewhile(lambda part: not _has_number(part) and part not in _UNITS, (part for part, _ in same)))
    count = len(shared)
    return ["_".join(parts[count:] if parts[:count] == shared else parts) for parts in named]


def _has_number(part: str) -> bool:
    return any(character.isdigit() for character in part)


def chapters_of(stems: Sequence[str]) -> list[str]:
    """The chapters of a folder whose pages are all named [chapter]_[page], or [chapter]-[page]; [] for one chapter.

    Pages named `004-005` are spreads, as long as no number stands before two of them.
    """
    named = [chapter_and_page(stem) for stem in stems]
    if not all(named):
        bare = [name.split("_") for name in bare_names(stems)]
        if not all(len(parts) == 2 and parts[0].isdigit() and parts[1].isdigit() for parts in bare):
            return []
        named = [_by_any_separator(stem) for stem in stems]
        if len({pair[0] for pair in named if pair}) == len(stems):
            return []
    chapters = list(dict.fromkeys(pair[0] for pair in named if pair))
    return chapters if len(chapters) > 1 else []


def chapter_of(stem: str) -> str | None:
    """The chapter that a page of such a folder belongs to; None for a name of another form."""
    named = _by_any_separator(stem)
    return named[0] if named else None


def _by_any_separator(stem: str) -> tuple[str, str] | None:
    return chapter_and_page(stem) or chapter_and_page(stem.replace("-", "_"))


def page_numbers(stems: Sequence[str], chapter: str | None = None) -> list[str]:
    """The number of each page of a chapter; its name, where the pages are of several chapters or named otherwise.

    chapter: of the pages, where it is by their names that it is one (`chapters_of`).
    """
    named = [chapter_and_page(stem) for stem in stems]
    dashed = [_by_any_separator(stem) for stem in stems]
    if chapter is not None or (len(stems) > 1 and all(dashed)):
        named = dashed
    if len({pair[0] for pair in named if pair}) > 1:
        named = [None] * len(stems)
    return [pair[1] if pair else plain(stem) for pair, stem in zip(named, stems, strict=True)]
