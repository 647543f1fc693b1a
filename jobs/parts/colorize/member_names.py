"""The names of a chapter's members in the output."""

import itertools
from collections.abc import Sequence
from pathlib import PurePosixPath

from datasets.page import SUFFIX_OF, ImageFormat


def output_names(names: Sequence[str], image_format: ImageFormat) -> list[tuple[str, str]]:
    """For each member its name in the output if it is kept and if it is coloured; no two are equal, nor differ by case.

    A coloured page takes the extension of its new format; where that name is taken, it keeps the old one before it.
    """
    taken: set[str] = set()
    kept = [_free(name, taken) for name in names]
    return [(name, _free(_with_suffix(name, SUFFIX_OF[image_format]), taken, instead_of=name)) for name in kept]


def _with_suffix(name: str, wanted: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name if (suffix.lower(), wanted) == (".jpeg", ".jpg") else name.removesuffix(suffix) + wanted


def _free(name: str, taken: set[str], instead_of: str | None = None) -> str:
    """`name`, or one made of it that is not taken, which is then taken."""
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
