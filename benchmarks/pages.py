"""The pages on which benchmarks measure."""

from collections.abc import Collection, Iterator
from pathlib import Path

from datasets.archive import find_chapters
from datasets.chapters import open_chapter
from datasets.page import decode
from imaging.color import U8


def name_of(uri: str) -> str:
    """What a model is called in a table: its training's folder, or "bundled"."""
    parts = uri.rstrip("/").split("/")
    return parts[-2] if len(parts) > 1 else parts[0]


def pages(root: str, chapters: Collection[str] = ()) -> Iterator[tuple[str, str, U8]]:
    """Every page below a folder.

    chapters: names of the chapters to read; all if empty.
    Yields (chapter, page name without suffix, pixels (H, W, 3)).
    """
    for ref in find_chapters(root):
        if not chapters or {ref.rel, Path(ref.rel).name, Path(ref.rel).stem} & set(chapters):
            chapter = open_chapter(ref)
            for page in chapter.pages:
                yield ref.rel, Path(page.name).stem, decode(chapter.read(page))
