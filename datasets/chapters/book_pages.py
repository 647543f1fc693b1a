"""What the documents of a book show: their pictures, in the order of each document.

Where HTML, SVG and CSS name pictures: WHATWG HTML (embedded content), SVG 2 (embedded content), CSS Backgrounds 3.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

from defusedxml.common import DefusedXmlException

from datasets.chapters.backgrounds import Rule, backgrounds, rules_of
from datasets.chapters.xhtml import CSS_INSTRUCTION, TooLargeError, attribute, local_name, parse_document
from datasets.errors import Code

_LINKS = {"img": "src", "image": "href", "object": "data", "embed": "src", "iframe": "src", "body": "background",
          "table": "background", "td": "background"}  # fmt: skip
_HOLDS_OTHERS = frozenset({"object", "embed", "iframe"})  # what they hold may be no picture
_DRAWN = frozenset({"svg", "canvas", "video"})
_DOCUMENTS = frozenset({".xhtml", ".html", ".htm", ".xht", ".xml", ".svg"})
_NO_PICTURES = frozenset({
    ".mp3", ".m4a", ".ogg", ".oga", ".opus", ".mp4", ".m4v", ".webm", ".ogv", ".pdf", ".swf", ".js", ".css", ".ttf",
    ".otf", ".woff", ".woff2", ".txt", ".json", ".smil",
})  # fmt: skip
_NESTED = 20  # documents in documents
TEXT_BYTES = 4 * 2**20  # bytes that are read of a document; some books have one long one


@dataclass(frozen=True)
class Lost:
    """A page of a book, or a picture of it, that can't be had.

    path: of the document, or of the picture.
    code, message: why.
    """

    path: str
    code: Code
    message: str


@dataclass
class Shown:
    """What a document shows.

    pictures: paths of its pictures, in its order; whether a style sheet of the book lays them behind it.
    lost: what else it has that should be a picture.
    has_text: whether it has text.
    """

    pictures: dict[str, bool] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    has_text: bool = False


class Documents:
    """Reads the documents of a book; each is read once.

    read: gives a file's bytes, up to TEXT_BYTES and one more; None where the book has no such file.
        Raises DamagedError.
    """

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        self._read = read
        self._shown: dict[str, Shown] = {}
        self._rules: dict[str, list[Rule]] = {}

    def shown(self, path: str, depth: int = 0) -> Shown:
        """Return what a document shows."""
        if path not in self._shown:
            self._shown[path] = Shown()  # what it is to itself, where it holds itself
            self._shown[path] = self._look(path, depth)
        return self._shown[path]

    def _look(self, path: str, depth: int) -> Shown:
        data = self._read(path)
        if data is None:
            return Shown(lost=[Lost(path, Code.MISSING, f"{path} is named in the book, and not in it")])
        if PurePosixPath(path).suffix.lower() in _NO_PICTURES:
            return Shown(lost=[Lost(path, Code.NO_PICTURE, f"{path} is neither a document nor a picture")])
        try:
            root = parse_document(data[:TEXT_BYTES])
        except DefusedXmlException as error:
            return Shown(lost=[Lost(path, Code.NO_PICTURE, f"{path} declares entities, and is not read: {error}")])
        except TooLargeError as error:
            return Shown(lost=[Lost(path, Code.LIMIT, f"{path} has {error}")])
        page = _Page(self, path, root, depth)
        page.look()
        if len(data) > TEXT_BYTES:
            message = f"{path} is longer than {TEXT_BYTES} bytes, of which pictures are looked for in the first"
            page.shown.lost.append(Lost(path, Code.LIMIT, message))
        return page.shown

    def sheet(self, base: str, link: str) -> tuple[str, bytes] | None:
        """Return the path and the bytes of a style sheet; None where there is none."""
        path = resolve(base, link)
        data = None if is_outside(link) else self._read(path)
        return None if data is None else (path, data[:TEXT_BYTES])

    def rules(self, base: str, link: str) -> list[Rule] | None:
        """Return the rules of a style sheet; None where there is none."""
        path = resolve(base, link)
        if path not in self._rules:
            if (found := self.sheet(base, link)) is None:
                return None
            self._rules[path] = rules_of(found[1], path, self.sheet)
        return self._rules[path]


class _Page:
    """One document that is looked at."""

    def __init__(self, documents: Documents, path: str, root: Element, depth: int) -> None:
        self._documents, self._path, self._root, self._depth = documents, path, root, depth
        self._base = path
        self._maybe: list[Lost] = []  # lost, if the document shows nothing else
        self.shown = Shown()

    def look(self) -> None:
        base = next((attribute(node, "href") for node in self._root.iter() if local_name(node) == "base"), "")
        self._base = (
            resolve(self._path, base.rpartition("/")[0] + "/_") if base and not is_outside(base) else self._path
        )
        behind = backgrounds(self._root, list(self._sheets()), self._base)
        inside: set[Element] = set()  # what is shown only where an object can't be
        has_drawing = False
        body = next((node for node in self._root.iter() if local_name(node) == "body"), self._root)
        for node in self._root.iter():
            if node in inside:
                continue
            has_drawing = has_drawing or local_name(node) in _DRAWN
            if self._take_element(node) and local_name(node) == "object":
                inside.update(node.iter())
            for base, link in behind.get(node, []):
                self._take(base, link, is_background=True)
        self.shown.has_text = any(text.strip() for text in body.itertext())
        if has_drawing:
            message = f"{self._path} is a drawing or a film, and holds no picture"
            self._maybe.append(Lost(self._path, Code.NO_PICTURE, message))
        if not self.shown.pictures and not self.shown.lost:
            self.shown.lost += self._maybe[:1]

    def _sheets(self) -> Iterator[Rule]:
        for node in self._root.iter():
            name = local_name(node)
            kinds = attribute(node, "rel").lower().split()
            if name == "style":
                yield from rules_of("".join(node.itertext()), self._base, self._documents.sheet)
            elif name == CSS_INSTRUCTION or (name == "link" and "stylesheet" in kinds and "alternate" not in kinds):
                link = attribute(node, "href")
                rules = self._documents.rules(self._base, link)
                if rules is None:
                    message = f"{link}, a style sheet of {self._path}, is not in the book"
                    self._maybe.append(Lost(self._path, Code.MISSING, message))
                yield from rules or []

    def _take_element(self, node: Element) -> bool:
        """Take the picture that an element shows. Returns whether there is one."""
        name = local_name(node)
        link = attribute(node, _LINKS[name]) if name in _LINKS else ""
        if name == "image" and not link:  # which HTML takes for an img
            link = attribute(node, "src")
        if name == "img" and not link:
            link = attribute(node, "srcset").split(",")[0].strip().split(" ")[0]
        elif name == "input" and attribute(node, "type").lower() == "image":
            link = attribute(node, "src")
        return bool(link) and self._take(self._base, link, kind=attribute(node, "type"), others=name in _HOLDS_OTHERS)

    def _take(self, base: str, link: str, *, kind: str = "", others: bool = False, is_background: bool = False) -> bool:
        """Take what a link leads to. Returns whether that is a picture, or holds one.

        kind: its media type, where the link says so.
        others: it may be no picture.
        """
        if link.startswith("#"):
            return False
        if is_outside(link):
            lost = Lost(self._path, Code.NO_PICTURE, f"{link[:80]}, in {self._path}, is no file of the book")
            (self._maybe if is_background or others else self.shown.lost).append(lost)
            return False
        path = resolve(base, link)
        suffix = PurePosixPath(path).suffix.lower()
        if suffix in _DOCUMENTS or "svg" in kind or "html" in kind:
            return self._take_nested(path)
        if others and not kind.startswith("image/") and suffix in _NO_PICTURES:
            return False
        self.shown.pictures.setdefault(path, is_background and base != self._base)
        return True

    def _take_nested(self, path: str) -> bool:
        if self._depth >= _NESTED:
            message = f"{path} is not looked at: {_NESTED} documents hold each other, and then it"
            self._maybe.append(Lost(path, Code.LIMIT, message))
            return False
        nested = self._documents.shown(path, self._depth + 1)
        for picture, is_sheets in nested.pictures.items():
            self.shown.pictures.setdefault(picture, is_sheets)
        self._maybe += nested.lost
        return bool(nested.pictures)


def is_outside(link: str) -> bool:
    """Return whether a link leads out of the book: it has a scheme, as in https: and data:, or a host."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return True
    return bool(parts.scheme or parts.netloc)


def resolve(document: str, link: str) -> str:
    """Return the path in the archive that a link in a document leads to; it does not leave the archive."""
    try:
        path = unquote(urlsplit(link).path).replace("\\", "/")
    except ValueError:  # no address at all
        path = link
    parts: list[str] = [] if path.startswith("/") else document.split("/")[:-1]
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
