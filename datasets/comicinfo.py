"""ComicInfo.xml, the metadata that comic readers share (anansi-project's schema, v2.0)."""

import io
from xml.etree import ElementTree

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, parse

COMIC_INFO = "ComicInfo.xml"
_NOTE = "Coloured by mangahue."


def mark_colored(data: bytes) -> bytes:
    """Say that the book is coloured now: BlackAndWhite = No, and a line in Notes; all other elements are kept.

    data: the file. What is not well-formed XML, or tries to expand entities, comes back as it is.
    """
    try:
        keeper = DefusedXMLParser(target=ElementTree.TreeBuilder(insert_comments=True), forbid_dtd=True)
        tree = parse(io.BytesIO(data), parser=keeper)
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError):
        return data
    root = tree.getroot()
    if root is None or root.tag.rpartition("}")[2] != "ComicInfo":
        return data
    namespace = root.tag.removesuffix("ComicInfo")
    _child(root, f"{namespace}BlackAndWhite").text = "No"
    notes = _child(root, f"{namespace}Notes")
    if _NOTE not in (notes.text or "").split("\n"):
        notes.text = f"{notes.text}\n{_NOTE}" if notes.text else _NOTE
    out = io.BytesIO()
    try:
        tree.write(out, encoding="utf-8", xml_declaration=True)
    except RecursionError:  # nested without end
        return data
    return out.getvalue()


def _child(root: ElementTree.Element, tag: str) -> ElementTree.Element:
    found = root.find(tag)
    return ElementTree.SubElement(root, tag) if found is None else found
