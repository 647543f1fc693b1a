"""Writes an EPUB again with other pictures: the names of its files, their order and all else stay."""

import re
import zipfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.parsers import expat

from datasets.archive import ChapterRef
from datasets.chapters.epub import Book
from datasets.limits import Limits
from datasets.signatures import HEAD_BYTES, picture_format
from datasets.storage import Storage

_TYPE = re.compile(rb"""(\bmedia-type\s*=\s*)(["'])[^"']*\2""")


def recolor_book(storage: Storage, ref: ChapterRef, limits: Limits, pictures: Mapping[int, bytes], out: Path) -> None:
    """Write an EPUB with the pictures of some pages replaced.

    pictures: encoded, by the page's index. Where several pages show one picture, that of the first is taken.
    out: the file to write.

    A picture keeps its name. Where it is of another format than it was, the package document says so. Raises
    ChapterUnreadableError, StorageError; KeyError for a page that has no picture in the book.
    """
    with closing(Book(storage, ref, limits)) as book:
        pages, _ = book.pages(limits.members)
        new: dict[int, bytes] = {}
        retyped: dict[str, str] = {}
        for index in sorted(pictures):
            page = pages[index]
            info = book.find(page) if isinstance(page, str) else None
            if info is None:
                raise KeyError(f"page {index + 1} of {ref.rel} has no picture in the book")
            if info.header_offset in new:
                continue
            new[info.header_offset] = pictures[index]
            if (name := _format(pictures[index])) != _format(book.left_of(info)):
                retyped[str(page)] = f"image/{name.lower()}"
        with zipfile.ZipFile(out, "w") as archive:
            archive.comment = book.comment
            for item in book.files:
                data = new[item.token.header_offset] if item.token.header_offset in new else book.left_of(item.token)
                if retyped and item.token is book.package_file:
                    data = _with_types(data, book, retyped)
                archive.writestr(_entry(item.token, item.name), data)


def _format(data: bytes) -> str:
    return picture_format(data[:HEAD_BYTES])


def _entry(info: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, info.date_time)
    made.compress_type = zipfile.ZIP_STORED if info.compress_type == zipfile.ZIP_STORED else zipfile.ZIP_DEFLATED
    made.external_attr, made.comment = info.external_attr, info.comment
    return made


def _with_types(data: bytes, book: Book, types: Mapping[str, str]) -> bytes:
    """Return the package document with other media types for some items, and every other byte as it was."""
    wanted = {id(book.find(path)): kind for path, kind in types.items()}
    begins: list[tuple[int, str]] = []
    parser = expat.ParserCreate()

    def begun(name: str, attributes: dict[str, Any]) -> None:
        if name.rpartition(":")[2] == "item":
            kind = wanted.get(id(book.find(book.path_of(attributes))))
            if kind is not None:
                begins.append((parser.CurrentByteIndex, kind))

    parser.StartElementHandler = begun
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError):
        return data  # in an encoding that expat does not know
    for offset, kind in reversed(begins):
        changed, count = _TYPE.subn(rb"\1\2" + kind.encode() + rb"\2", data[offset:], count=1)
        data = data[:offset] + changed if count else data
    return data
