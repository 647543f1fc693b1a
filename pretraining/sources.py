"""Which pictures teach the network, which ones judge it, and which it never sees."""

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "dev", "kept"]

TURNS = frozenset({"ep03", "ep08", "ep13", "ep17"})  # what a comparison of ways leaves out of training, and judges by
JUDGING = frozenset({"ep10", "ep19"})  # chapters of Pepper&Carrot, in both editions
KEPT = frozenset({"ep20", "ep21", "ep23"})  # for measuring what fine-tuning on a series adds
EDITIONS = ("peppercarrot", "peppercarrot-art")  # lettered, and the same pages without
STORYBOOKS = "storybooks"
SERIES = (STORYBOOKS, *EDITIONS, "climate-frogs", "page-blanche")
_PARTS, _PART = 20, 3  # of the storybooks


@dataclass(frozen=True)
class Picture:
    """A page or a single scene.

    series: the folder of its series.
    story: its chapter or story, a folder of that.
    name: of its file.
    artist: who drew it, or the story where nobody tells: pictures of one artist look alike.
    """

    series: str
    story: str
    name: str
    artist: str


def split_of(series: str, story: str) -> Split:
    """Return what a story is for: "train", "dev" (it judges what is trained) or "kept" (for fine-tuning)."""
    if series in EDITIONS:
        return "dev" if story in JUDGING else "kept" if story in KEPT else "train"
    if series == STORYBOOKS and zlib.crc32(story.encode()) % _PARTS == _PART:
        return "dev"
    return "train"


def find_pictures(root: Path, artists: Mapping[str, str] | None = None) -> Iterator[tuple[Picture, Path]]:
    """Find the pictures below a folder that holds SERIES, in order: root/series/story/name.

    artists: by story.

    Raises FileNotFoundError where a series is missing.
    """
    for series in SERIES:
        if not (root / series).is_dir():
            raise FileNotFoundError(f"{root / series} is missing: give a folder that holds {', '.join(SERIES)}")
        for path in sorted((root / series).glob("*/*.jpg")):
            story = path.parent.name
            artist = (artists or {}).get(story) or (story if series == STORYBOOKS else series)
            yield Picture(series, story, path.name, artist), path


def read_artists(table: str) -> dict[str, str]:
    """Return the artists by story from the table of licences: rows of | number | title | artists |.

    Stories of several artists are of their own.
    """
    rows = re.findall(r"^\| (\d{4}) \|[^|]*\| ([^|]+) \|$", table, re.MULTILINE)
    return {f"african-storybook-{number}": names.strip() for number, names in rows}
