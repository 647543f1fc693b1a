"""The parts of RAR archives, told by their names: ep.part1.rar and ep.part2.rar, or ep.rar, ep.r00 and ep.r01."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from datasets.storage import Entry, Storage

_NEW = re.compile(r"(.*)\.part0*(\d{1,6})(\.rar|\.cbr)", re.IGNORECASE | re.DOTALL)
_OLD = re.compile(r"(.*)\.([rs])(\d\d)", re.IGNORECASE | re.DOTALL)
_FIRST = re.compile(r"(.*)\.rar", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Volume:
    """A part of an archive, by its name.

    stem: what comes before the ending.
    ending: ".part.rar", ".part.cbr" or ".rar".
    number: from 0.
    """

    stem: str
    ending: str
    number: int


def volume_of(key: str) -> Volume | None:
    """Return what part of an archive a file is by its name; None for any other name.

    An archive in one part may be named as the first of several.
    """
    if found := _NEW.fullmatch(key):
        return Volume(found[1], f".part{found[3].lower()}", int(found[2]) - 1)
    if found := _OLD.fullmatch(key):
        return Volume(found[1], ".rar", int(found[3]) + (1 if found[2] in "rR" else 101))
    return Volume(found[1], ".rar", 0) if (found := _FIRST.fullmatch(key)) else None


def by_archive(entries: Iterable[Entry]) -> dict[tuple[str, str], list[Entry]]:
    """Return the parts of each archive in their order, by stem and ending. Files that are no parts are left out."""
    archives: dict[tuple[str, str], dict[int, Entry]] = defaultdict(dict)
    for entry in entries:
        if (volume := volume_of(entry.key)) is not None:
            archives[volume.stem, volume.ending][volume.number] = entry
    return {archive: [parts[number] for number in sorted(parts)] for archive, parts in archives.items()}


def parts_beside(storage: Storage, key: str) -> list[Entry]:
    """Return the parts of the archive that `key` is a part of, itself too, in their order; [] for any other name."""
    volume = volume_of(key)
    if volume is None:
        return []
    beside = storage.list(f"{volume.stem}.", lambda key, error: None)
    return by_archive(beside).get((volume.stem, volume.ending), [])
