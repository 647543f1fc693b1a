"""Documents of a book as trees: XHTML and SVG parsed as XML, what is not well-formed as HTML.

XML 1.0, and the named characters of HTML (WHATWG). Both kinds of trees have elements of xml.etree.
"""

import codecs
import re
from html.entities import html5
from html.parser import HTMLParser
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

import webencodings
from defusedxml.ElementTree import DefusedXMLParser

_HEAD = 1024  # bytes in which an encoding is declared
_BEGINNING = 32  # bytes that are markup: ASCII in whatever encoding
_XML_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([^"']+)""")
_META_ENCODING = re.compile(rb"""<meta[^>]*?charset\s*=\s*["']?([^\s"'/>;]+)""", re.IGNORECASE)
_NAMED = re.compile(r"&([A-Za-z][A-Za-z0-9]*;)")
_XML_NAMED = frozenset({"amp;", "lt;", "gt;", "quot;", "apos;"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "image", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_MOST_ELEMENTS = 200_000  # of a document; a page of a comic has ten, a whole novel some ten thousand
_DEEPEST = 500  # elements in each other
CSS_INSTRUCTION = "xml-stylesheet"  # the processing instruction that names a style sheet; a child of the root here


class TooLargeError(ValueError):
    """A document has more elements, or more of them in each other, than any book needs."""


def parse_document(data: bytes) -> Element:
    """Return the root of a document.

    data: XHTML, SVG or HTML in any encoding that is declared, or UTF-8 or UTF-16.

    Raises DefusedXmlException where the document declares entities, TooLargeError.
    """
    text = text_of(data)
    parser = DefusedXMLParser(target=_Builder(), encoding="utf-8", forbid_entities=True)
    try:
        parser.feed(as_xml(text))
        return parser.close()
    except ParseError:
        lenient = _Html()
        lenient.feed(text)
        return lenient.tree()


def text_of(data: bytes) -> str:
    """Return the text of a document; what is no text in its encoding is replaced.

    Where no encoding is declared it is UTF-8, or UTF-16 where every other byte of the beginning is zero, or
    windows-1252, as in browsers, where it is no UTF-8.
    """
    head = data[:_HEAD]
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return data.decode("utf-32", "replace")
    declared = _XML_ENCODING.search(head) or _META_ENCODING.search(head)
    encoding = webencodings.lookup(declared[1].decode("ascii", "replace")) if declared else None
    zeros = [head[first:_BEGINNING:2].count(0) for first in (0, 1)]
    if max(zeros) > _BEGINNING / 8:
        encoding = webencodings.lookup("utf-16be" if zeros[0] > zeros[1] else "utf-16le")
    elif encoding is None or encoding.name.startswith("utf-16"):  # the declaration could not be read if that were so
        encoding = webencodings.UTF8 if _is_utf8(data) else webencodings.lookup("windows-1252")
    text, _ = webencodings.decode(data, encoding, "replace")
    return text


def _is_utf8(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)  # the last letter may be cut
    except UnicodeDecodeError:
        return False
    return True


def as_xml(text: str) -> bytes:
    """Return a document's text for a parser of XML, which knows none of the named characters of HTML."""
    named = _NAMED.sub(lambda match: match[0] if match[1] in _XML_NAMED else html5.get(match[1], match[0]), text)
    return named.lstrip().encode("utf-8", "replace")


def local_name(node: Any) -> str:
    """Return an element's name without its namespace, in lower case; "" for a comment."""
    return node.tag.rpartition("}")[2].lower() if isinstance(node.tag, str) else ""


def attribute(node: Element, name: str) -> str:
    """Return an attribute, one of the name without a namespace first; "" where there is none."""
    for wanted in (name, None):
        for key, value in node.attrib.items():
            if key == wanted or (wanted is None and key.rpartition("}")[2].lower() == name):
                return value.strip()
    return ""


class _Builder(TreeBuilder):
    """Builds a tree within limits. The style sheets that stand before it become children of its root."""

    def __init__(self) -> None:
        super().__init__()
        self._count = self._depth = 0
        self._sheets: list[str] = []

    def start(self, tag: Any, attrs: Any, /) -> Element:
        self._count += 1
        self._depth += 1
        if self._count > _MOST_ELEMENTS or self._depth > _DEEPEST:
            raise TooLargeError(f"more than {_MOST_ELEMENTS} elements, or {_DEEPEST} in each other")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)

    def pi(self, target: str, text: str | None = None, /) -> Element:
        if target == CSS_INSTRUCTION:
            self._sheets.append(text or "")
        return super().pi(target, text)

    def close(self) -> Element:
        root = super().close()
        for number, text in enumerate(self._sheets):
            attributes = dict(re.findall(r"""(\w+)\s*=\s*["']([^"']*)""", text))
            root.insert(number, Element(CSS_INSTRUCTION, attributes))
        return root


class _Html(HTMLParser):
    """Builds the tree of a document that is no XML: an end tag closes what is open in its element."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._builder = _Builder()
        self._open: list[str] = []
        self._builder.start("html", {})

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name = _unprefixed(tag)
        if name == "html":
            return
        self._builder.start(name, {_unprefixed(key): value or "" for key, value in reversed(attrs)})
        if name in _VOID:
            self._builder.end(name)
        else:
            self._open.append(name)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if _unprefixed(tag) not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        name = _unprefixed(tag)
        while name in self._open:
            closed = self._open.pop()
            self._builder.end(closed)
            if closed == name:
                break

    def parse_marked_section(self, i: int, report: int = 1) -> int:  # the base class raises on most of them
        return self.parse_bogus_comment(i)

    def handle_data(self, data: str) -> None:
        self._builder.data(data)

    def tree(self) -> Element:
        self.close()
        while self._open:
            self._builder.end(self._open.pop())
        self._builder.end("html")
        return self._builder.close()


def _unprefixed(name: str) -> str:
    return name.rpartition(":")[2].lower()
