"""The names of a chapter's members in the output."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from datasets.names import disk_name
from datasets.page import IMAGE_SUFFIXES, SUFFIX_OF, ImageFormat


def output_names(names: Sequence[str], image_format: ImageFormat | None) -> list[tuple[str, str]]:
    """(name if kept, name if coloured) of each member in the output. All can exist on one disk, whatever its system:
    no two are equal, or differ by case or Unicode form alone, and none is that of a folder.

    A coloured page takes the extension of its new format, in the place of one that begins as a picture's does
    ('.jpg_large'), else behind the name. Where that name is taken, the new extension follows the old one.

    image_format: of coloured pages; None where each keeps its format, and its name.
    """
    taken = _Taken(names)
    kept = [taken.add(name) for name in names]
    if image_format is None:
        return [(name, name) for name in kept]
    return [(name, taken.add(_with_suffix(name, SUFFIX_OF[image_format]), instead_of=name)) for name in kept]


def _with_suffix(name: str, wanted: str) -> str:
    suffix = PurePosixPath(name).suffix
    if (suffix.lower(), wanted) == (".jpeg", ".jpg"):
        return name
    return (name.removesuffix(suffix) if suffix.lower().startswith(tuple(IMAGE_SUFFIXES)) else name) + wanted


class _Taken:
    """Names that are taken: those of the folders that `names` need, and all that were added."""

    def __init__(self, names: Sequence[str]) -> None:
        folders = {folder for name in names for folder in map(str, PurePosixPath(name).parents)}
        self._names = {disk_name(folder) for folder in folders}
        self._numbers: dict[str, Iterator[int]] = defaultdict(lambda: itertools.count(2))

    def add(self, name: str, instead_of: str | None = None) -> str:
        """`name`, or a name made from it that is not taken. The result counts as taken from then on."""
        if instead_of is not None and disk_name(name) == disk_name(instead_of):
            return instead_of
        path = PurePosixPath(name)
        numbers = self._numbers[disk_name(name)]
        candidates = itertools.chain(
            [name],
            [instead_of + path.suffix] if instead_of else [],
            (str(path.with_name(f"{path.stem} ({number}){path.suffix}")) for number in numbers),
        )
        free = next(candidate for candidate in candidates if disk_name(candidate) not in self._names)
        self._names.add(disk_name(free))
        return free
