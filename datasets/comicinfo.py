"""ComicInfo.xml, the metadata that comic readers share (anansi-project's schema, v2.0)."""

import io
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, parse

COMIC_INFO = "ComicInfo.xml"
# The xs:sequence of the schema's ComicInfo: v2.0, with what the draft of v2.1 adds.
_SEQUENCE = [
    "Title", "Series", "Number", "Count", "Volume", "AlternateSeries", "AlternateNumber", "AlternateCount",
    "Summary", "Notes", "Year", "Month", "Day", "Writer", "Penciller", "Inker", "Colorist", "Letterer",
    "CoverArtist", "Editor", "Translator", "Publisher", "Imprint", "Genre", "Tags", "Web", "PageCount",
    "LanguageISO", "Format", "BlackAndWhite", "Manga", "Characters", "Teams", "Locations", "ScanInformation",
    "StoryArc", "StoryArcNumber", "SeriesGroup", "AgeRating", "Pages", "CommunityRating", "MainCharacterOrTeam",
    "Review", "GTIN",
]  # fmt: skip
_NOTE = "Coloured by mangahue."
# Real files have a few kB, or a few hundred where they describe each page: 20,000 pages take 3 MB.
_MOST_BYTES = 8 * 2**20
_MOST_ELEMENTS = 100_000
_DEEPEST = 100  # elements in each other, the root included; the schema has 3
_LONGEST = 300  # letters of a warning, which may repeat what the file says


def mark_colored(data: bytes, pages: Sequence[tuple[int, int, int]] = ()) -> tuple[bytes, str]:
    """Say in a ComicInfo.xml that the book is coloured now, and return the file and a warning.

    data: the file.
    pages: (bytes, width, height) of each page in reading order; zeros where not known.

    BlackAndWhite becomes No, Notes gets a line, and pages get their new sizes where the file has sizes. An element that
    is not there yet goes where the schema wants it. All other elements are kept. What is not well-formed XML, tries to
    expand entities, or is larger than any such file needs to be, comes back as it is, with a warning; else the warning
    is "".
    """
    if len(data) > _MOST_BYTES:
        return data, kept_because(f"it has {len(data)} bytes, and may have {_MOST_BYTES}")
    try:
        tree = parse(io.BytesIO(data), parser=DefusedXMLParser(target=_Builder(), forbid_dtd=True))
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError) as error:
        return data, kept_because(f"{type(error).__name__}: {error}")
    root = tree.getroot()
    if root is None or root.tag.rpartition("}")[2] != "ComicInfo":
        return data, kept_because("its root is no ComicInfo")
    namespace = root.tag.removesuffix("ComicInfo")
    _child(root, f"{namespace}BlackAndWhite").text = "No"
    notes = _child(root, f"{namespace}Notes")
    if _NOTE not in (notes.text or "").split("\n"):
        notes.text = f"{notes.text}\n{_NOTE}" if notes.text else _NOTE
    for element in root.iterfind(f"{namespace}Pages/{namespace}Page"):
        _refresh(element, pages)
    out = io.BytesIO()
    tree.write(out, encoding="utf-8", xml_declaration=True)
    return out.getvalue(), ""


def kept_because(reason: str) -> str:
    """The warning that the file is kept as it is."""
    return f"{COMIC_INFO} is kept as it is: {reason}"[:_LONGEST]


class _Builder(ElementTree.TreeBuilder):
    """Builds a tree with its comments. Raises ValueError for too many elements, or too many in each other."""

    def __init__(self) -> None:
        super().__init__(insert_comments=True)
        self._count = self._depth = 0

    def start(self, tag: Any, attrs: Any, /) -> ElementTree.Element:
        self._count += 1
        self._depth += 1
        if self._count > _MOST_ELEMENTS:
            raise ValueError(f"more than {_MOST_ELEMENTS} elements")
        if self._depth > _DEEPEST:
            raise ValueError(f"elements in each other, deeper than {_DEEPEST}")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ElementTree.Element:
        self._depth -= 1
        return super().end(tag)


def _refresh(element: ElementTree.Element, pages: Sequence[tuple[int, int, int]]) -> None:
    """Update the sizes that a Page element has.

    Page@Image is an index in reading order.
    """
    image = element.get("Image", "")
    if not (image.isascii() and image.isdigit() and len(image) < 7 and int(image) < len(pages)):
        return
    for name, value in zip(("ImageSize", "ImageWidth", "ImageHeight"), pages[int(image)], strict=True):
        if name in element.attrib and value:
            element.set(name, str(value))


def _child(root: ElementTree.Element, tag: str) -> ElementTree.Element:
    """Return the element of this tag, put before all that follow it in the schema where it is not there yet."""
    found = root.find(tag)
    if found is not None:
        return found
    namespace, name = tag[: tag.rfind("}") + 1], tag.rpartition("}")[2]
    later = {namespace + other for other in _SEQUENCE[_SEQUENCE.index(name) + 1 :]}
    at = next((index for index, child in enumerate(root) if child.tag in later), len(root))
    added = ElementTree.Element(tag)
    added.tail = root[at - 1].tail if at else root.text  # indented as its neighbour
    root.insert(at, added)
    return added
