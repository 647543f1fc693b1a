"""ComicInfo.xml, the metadata that comic readers share (anansi-project's schema, v2.0)."""

import io
from collections.abc import Sequence
from xml.etree import ElementTree

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, parse

COMIC_INFO = "ComicInfo.xml"
_NOTE = "Coloured by mangahue."


def mark_colored(data: bytes, pages: Sequence[tuple[int, int, int]] = ()) -> tuple[bytes, str]:
    """Say in a ComicInfo.xml that the book is coloured now, and return the file and a warning.

    data: the file.
    pages: (bytes, width, height) of each page in reading order; zeros where not known.

    BlackAndWhite becomes No, Notes gets a line, and pages get their new sizes where the file has sizes. All other
    elements are kept. What is not well-formed XML, or tries to expand entities, comes back as it is, with a warning;
    else the warning is "".
    """
    try:
        keeper = DefusedXMLParser(target=ElementTree.TreeBuilder(insert_comments=True), forbid_dtd=True)
        tree = parse(io.BytesIO(data), parser=keeper)
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError) as error:
        return data, f"{COMIC_INFO} is kept as it is: {type(error).__name__}: {error}"
    root = tree.getroot()
    if root is None or root.tag.rpartition("}")[2] != "ComicInfo":
        return data, f"{COMIC_INFO} is kept as it is: its root is no ComicInfo"
    namespace = root.tag.removesuffix("ComicInfo")
    _child(root, f"{namespace}BlackAndWhite").text = "No"
    notes = _child(root, f"{namespace}Notes")
    if _NOTE not in (notes.text or "").split("\n"):
        notes.text = f"{notes.text}\n{_NOTE}" if notes.text else _NOTE
    for element in root.iterfind(f"{namespace}Pages/{namespace}Page"):
        _refresh(element, pages)
    out = io.BytesIO()
    try:
        tree.write(out, encoding="utf-8", xml_declaration=True)
    except RecursionError:
        return data, f"{COMIC_INFO} is kept as it is: nested without end"
    return out.getvalue(), ""


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
    found = root.find(tag)
    return ElementTree.SubElement(root, tag) if found is None else found
