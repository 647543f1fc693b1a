"""The names of a chapter's members in the output."""

import itertools
from collections.abc import Sequence
from pathlib import PurePosixPath

from datasets.page import SUFFIX_OF, ImageFormat


def output_names(names: Sequence[str], image_format: ImageFormat | None) -> list[tuple[str, str]]:
    """(name if kept, name if coloured) of each member in the output. No two are equal, or differ by case alone.

    A coloured page takes the extension of its new format. Where that name is taken, the new extension follows the old
    one.

    image_format: of coloured pages; None where each keeps its format, and its name.
    """
    taken: set[str] = set()
    kept = [_free(name, taken) for name in names]
    if image_format is None:
        return [(name, name) for name in kept]
    return [(name, _free(_with_suffix(name, SUFFIX_OF[image_format]), taken, instead_of=name)) for name in kept]


def _with_suffix(name: str, wanted: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name if (suffix.lower(), wanted) == (".jpeg", ".jpg") else name.removesuffix(suffix) + wanted


def _free(name: str, taken: set[str], instead_of: str | None = None) -> str:
    """`name`, or a name made from it that is not taken. The result counts as taken from then on."""
    if instead_of is not None and name.lower() == instead_of.lower():
        return instead_of
    path = PurePosixPath(name)
    candidates = itertools.chain(
        [name],
        [instead_of + path.suffix] if instead_of else [],
        (str(path.with_name(f"{path.stem} ({count}){path.suffix}")) for count in itertools.count(2)),
    )
    free = next(candidate for candidate in candidates if candidate.lower() not in taken)
    taken.add(free.lower())
    return free
