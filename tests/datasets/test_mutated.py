"""Any bytes at all: mutated chapters of every format are chapters still, or errors of ours.

FUZZ_EXAMPLES says how many of each test.
"""

import io
import itertools
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets.archive import find_chapters
from datasets.chapters import Chapter, open_chapter
from datasets.errors import ChapterUnreadableError, PageUnreadableError
from datasets.limits import Limits
from datasets.names import safe_name
from tests.archives import epub, packed, rar4_parts, rar5, rar5_parts, raw_zip, tarred, zipped
from tests.books import book_of, xhtml
from tests.pdfs import FIRST, SHOWN, jpeg_object, made_pdf

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "250"))
PAGES = {"p10.jpg": b"ten" * 400, "p2.jpg": b"two" * 300, "ComicInfo.xml": b"<ComicInfo/>", "sub/p1.png": b"one" * 200}
LIMITS = Limits(member_bytes=2**22, seconds=5)


def _saved(image_format: str) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((20, 30), 60).save(out, image_format)
    return out.getvalue()


def _named_zip() -> bytes:
    """Names in an encoding that is not told, one in UTF-8 beside it, folders, and names that can't share a disk."""
    names = ["能登/".encode("cp932"), "能登\\十話.png".encode("cp932"), "表紙.png".encode("cp932"), b"ch1", b"ch1\\",
             "É.png", "e\u0301.png", b"1.PNG", b"1.png"]  # fmt: skip
    said = b"\1" + struct.pack("<I", zlib.crc32(names[2])) + "表紙.png".encode()  # type: ignore[arg-type]
    extra = struct.pack("<HH", 0x7075, len(said)) + said
    return raw_zip([(name, b"" if name[-1:] in (b"/", b"\\") else b"page" * 9) for name in names], b"tags", extra)


def _boxed_pdf() -> bytes:
    shown = [
        (0, 0, b"q 20 0 0 30 0 0 cm /I Do Q"), (9, 90, b"q 1 1 9 9 re W n 20 0 0 30 0 0 cm /I Do Q"),
        (0, 0, b"q -20 0 0 30 20 0 cm /I Do Q"),
    ]  # fmt: skip
    entries = b"/MediaBox [0 0 20 30] /CropBox [%d 0 20 30] /Rotate %d " + SHOWN
    pages = [(entries % (crop, turn), content) for crop, turn, content in shown]
    return made_pdf(pages, {FIRST: jpeg_object(_saved("JPEG"), 20, 30, b"/Decode [0 1]")})


DOCUMENTS = {
    "1.xhtml": xhtml(
        '<p class="x">&nbsp;</p><object data="../2.png"><img alt=">" src="../a&amp;b.png"/></object>',
        "<style>p.x, div > p { background: #fff url('../a&amp;b.png') no-repeat !important }</style>",
    ),
    "2.xhtml": xhtml(
        '<svg xmlns="http://www.w3.org/2000/svg"><image xlink:href="../2.png"/></svg><!-- x --><iframe src="1.xhtml"/>',
        '<link rel="stylesheet" href="../s.css"/>',
    ),
}
SHEET = "@charset 'utf-8'; @import url(s.css); @media screen { .x { background-image: image-set('2.png' 1x) } }"
PICTURES = {"a&b.png": b"page" * 30, "2.png": b"page" * 30}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, ...]]:
    """Chapters, by their names. What follows the first part of one lies beside it."""
    folder = tmp_path_factory.mktemp("seeds")
    return {
        "ep.cbz": (zipped(PAGES),), "names.cbz": (_named_zip(),), "ep.cbr": (rar5(PAGES, comment=b"tags"),),
        "ep.cb7": (packed(PAGES, folder / "a.7z", "7zip"),), "ep.cbt": (tarred(PAGES),),
        "ep.tar.gz": (tarred(PAGES, "w:gz"),), "ep.epub": (epub({"1.png": b"page" * 30}),),
        "written.epub": (book_of(DOCUMENTS, {**PICTURES, "s.css": SHEET}),), "ep.pdf": (_saved("PDF"),),
        "boxes.pdf": (_boxed_pdf(),), "ep.part1.rar": tuple(rar5_parts(PAGES, 1500)),
        "old.rar": tuple(rar4_parts(PAGES, 1500)),
    }  # fmt: skip


def written(folder: Path, name: str, data: bytes, others: tuple[bytes, ...]) -> Path:
    """Write a chapter, and the further parts of one in several."""
    beside = [name.replace("part1", f"part{number}") for number in range(2, len(others) + 2)]
    if "part1" not in name:
        beside = [name.replace(".rar", f".r{number:02}") for number in range(len(others))]
    for part, content in zip([name, *beside], [data, *others], strict=True):
        (folder / part).write_bytes(content)
    return folder / name


def read_all(chapter: Chapter) -> None:
    """Read what a chapter holds: bytes within the limits, or an error of ours."""
    for member in itertools.islice(chapter.members, 8):
        assert member.name == safe_name(member.name)
        with suppress(PageUnreadableError):
            assert len(chapter.read(member)) <= LIMITS.member_bytes
        assert isinstance(chapter.salvage(member), bytes)
    chapter.close()


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_mutated_archives_are_chapters_or_errors_of_ours(
    seeds: dict[str, tuple[bytes, ...]], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(seeds)))
    first, *others = seeds[name]
    changed = bytearray(first)
    edits = st.lists(st.tuples(st.integers(0, len(changed) - 1), st.integers(0, 255)), max_size=6)
    for place, value in data.draw(edits):
        changed[place] = value
    end = data.draw(st.one_of(st.just(len(changed)), st.integers(0, len(changed))))
    folder = tmp_path_factory.getbasetemp() / "mutated"
    folder.mkdir(exist_ok=True)
    path = written(folder, name, bytes(changed[:end]), tuple(others))
    (ref,) = find_chapters(str(path))
    try:
        chapter = open_chapter(ref, LIMITS, salvage=data.draw(st.booleans()))
    except ChapterUnreadableError:
        return
    read_all(chapter)


PIECES = [
    "<", ">", "/", '"', "'", "&", "&amp;", "&#0;", "url(", ")", "{", "}", "\\", "..", "<!--", "]]>", "<![CDATA[", "é",
    "#", "<!ENTITY x 'y'>", "<?xml version='1.0' encoding='utf-16'?>", "<p>", "</p>", "xlink:href", "\0", "%2e",
    "@import", "style", "data:", "//h/", "\ud800",
]  # fmt: skip
EDITS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 20), st.sampled_from(["", *PIECES])), max_size=6)


@settings(max_examples=EXAMPLES)
@given(which=st.sampled_from([*DOCUMENTS, "s.css"]), edits=EDITS, codec=st.sampled_from(["utf-8", "utf-16", "cp932"]))
def test_of_a_mutated_document_no_page_is_lost(
    tmp_path_factory: pytest.TempPathFactory, which: str, edits: list[tuple[int, int, str]], codec: str
) -> None:
    texts = {**DOCUMENTS, "s.css": SHEET}
    for place, count, piece in edits:
        begin = place % (len(texts[which]) + 1)
        texts[which] = texts[which][:begin] + piece + texts[which][begin + count :]
    encoded = {**texts, which: texts[which].encode(codec, "replace")}
    files = {**PICTURES, "s.css": encoded.pop("s.css")}
    path = written(tmp_path_factory.getbasetemp(), "document.epub", book_of(encoded, files), ())
    (ref,) = find_chapters(str(path))
    chapter = open_chapter(ref, LIMITS)
    said = [f"OEBPS/Text/{name}" for name in DOCUMENTS if any(name in warning for warning in chapter.warnings)]
    assert len(chapter.pages) + len(said) >= len(DOCUMENTS)
    read_all(chapter)
