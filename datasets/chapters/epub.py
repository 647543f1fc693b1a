"""EPUB books as chapters: the pictures of their pages, in the order of the spine.

The parts of an EPUB are defined by EPUB 3.3 (W3C), in Open Container Format and Package Document.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from datasets.archive import ChapterRef
from datasets.chapters.base import Chapter, Listed, Member, unreadable
from datasets.chapters.book_pages import TEXT_BYTES, Documents, Lost, Shown, resolve
from datasets.chapters.streamed import DamagedError
from datasets.chapters.xhtml import as_xml, local_name, text_of
from datasets.chapters.zipped import OpenedZip
from datasets.errors import ChapterUnreadableError, Code, PageUnreadableError
from datasets.limits import Limits
from datasets.names import composed
from datasets.page import IMAGE_SUFFIXES
from datasets.signatures import HEAD_BYTES, picture_format
from datasets.storage import Storage

_FONTS = frozenset({"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"})  # hidden fonts, not DRM
_SUFFIXES = {
    "image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/gif": ".gif", "image/avif": ".avif",
}  # fmt: skip
_XML_BYTES = 32 * 2**20  # bytes of XML that is parsed; the package document of 20,000 pages takes 8 MB
_FALLBACKS = 8  # in a row, each of another
_PACKAGE = "application/oebps-package+xml"


class EpubChapter(Chapter):
    """An EPUB book; its pages are the pictures of its documents, in the order of the spine.

    Pages of text are left out, with a warning. A page whose picture can't be had is an empty one, with its code.
    """

    ordered = True

    def __init__(self, storage: Storage, ref: ChapterRef, limits: Limits) -> None:
        self._book = Book(storage, ref, limits)
        pages, texts = self._book.pages(limits.members)
        super().__init__([self._listed(number, page) for number, page in enumerate(pages)], limits)
        self.keep_comment(self._book.comment)
        self.warnings += self._book.warnings
        self.warn(f"{Code.TEXT}: pages of text, which hold no picture, left out", texts)

    def _listed(self, number: int, page: "str | Lost") -> Listed:
        path = page if isinstance(page, str) else page.path
        info = self._book.find(path) if isinstance(page, str) else None
        suffix = PurePosixPath(path).suffix.lower()
        if suffix not in IMAGE_SUFFIXES:
            suffix = _SUFFIXES.get(self._book.kind_of(path), ".jpg")
        return Listed(f"{number + 1:04d} {PurePosixPath(path).stem}{suffix}", info.file_size if info else 0, page)

    def read(self, member: Member) -> bytes:
        page = self.token(member)
        if isinstance(page, Lost):
            raise PageUnreadableError(page.code, page.message)
        try:
            data = self._book.read(page)
        except DamagedError as error:
            raise unreadable(member, error) from error
        if data is None:
            raise PageUnreadableError(Code.MISSING, f"{page} is named in the book, and not in it")
        return data

    def salvage(self, member: Member) -> bytes:
        page = self.token(member)
        return self._book.partial(page) if isinstance(page, str) else b""

    def close(self) -> None:
        self._book.close()


class Book:
    """The files of an EPUB, found by the names that its documents give them.

    files: in the order of the archive, with slashes in their names.
    warnings: for the report.
    """

    def __init__(self, storage: Storage, ref: ChapterRef, limits: Limits) -> None:
        """Open a book. Raises ChapterUnreadableError: BROKEN, DRM, PASSWORD, LIMIT."""
        self._opened = OpenedZip(storage, ref, limits)
        self.files = [Listed(_path(item.name), item.size, item.token) for item in self._opened.listed()]
        self.warnings = self._opened.warnings
        self._by_name: dict[str, Any] = {}
        for form in (str, composed, _folded):
            for item in self.files:
                self._by_name.setdefault(form(item.name), item.token)
        self._refuse_drm()
        self._root, self._items, self._spine = self._package()
        self._kinds: dict[str, str] = {}
        for node in self._items.values():
            self._kinds.setdefault(_folded(self.path_of(node)), node.get("media-type", "").strip().lower())

    def find(self, path: str) -> Any:
        """Return the archive's entry for a path; None where there is none.

        A name that is the same but for its Unicode form, or for case, stands for one that is not there. So does a name
        that is not unquoted.
        """
        forms = (path, composed(path), _folded(path), quote(path), _folded(quote(path)))
        return next((self._by_name[form] for form in forms if form in self._by_name), None)

    def kind_of(self, path: str) -> str:
        """Return the media type that the package document gives to a path; "" for none."""
        return self._kinds.get(_folded(path), "")

    def path_of(self, item: Element | Mapping[str, str]) -> str:
        """Return the path of an item of the package document, or of one of its attributes."""
        return resolve(self._root, item.get("href", ""))

    def read(self, path: str, most: int | None = None) -> bytes | None:
        """Return a file's bytes, `most` at most; None where there is no such file. Raises DamagedError."""
        info = self.find(path)
        return None if info is None else self._opened.read(info, most)

    @property
    def comment(self) -> bytes:
        """The archive's comment."""
        return self._opened.comment

    @property
    def package_file(self) -> Any:
        """The archive's entry for the package document."""
        return self.find(self._root)

    def left_of(self, info: Any) -> bytes:
        """Return a file's bytes, or of a damaged one what can be read."""
        try:
            return self._opened.read(info)
        except DamagedError:
            return self._opened.partial(info)

    def partial(self, path: str) -> bytes:
        """Return what can be read of a damaged file."""
        info = self.find(path)
        return b"" if info is None else self._opened.partial(info)

    def close(self) -> None:
        """Release the archive's files."""
        self._opened.close()

    def pages(self, most: int) -> tuple[list[str | Lost], list[str]]:
        """Return the pages in the order of the spine, and the paths of those that are text.

        A page is the path of its picture. Each item of the spine has one at least, or is lost, or is text.

        most: items that the spine may have. After more pages than this the rest is not looked at.

        Raises ChapterUnreadableError LIMIT.
        """
        if len(self._spine) > most:
            message = f"{len(self._spine)} documents in its spine, over {most}; see --max-members"
            raise ChapterUnreadableError(Code.LIMIT, message)
        documents = Documents(lambda path: self.read(path, TEXT_BYTES + 1))
        looked = list(self._looked(documents))
        used = Counter(path for _, shown in looked for path, is_sheets in shown.pictures.items() if is_sheets)
        pages: list[str | Lost] = []
        texts = []
        for path, shown in looked:
            found = [picture for picture, is_sheets in shown.pictures.items() if not (is_sheets and used[picture] > 1)]
            if not found and not shown.has_text:
                found = list(shown.pictures)
            pages += [*found, *shown.lost]
            if not found and not shown.lost:
                texts.append(path)
            if len(pages) > most:
                break
        return pages, texts

    def _looked(self, documents: Documents) -> Iterator[tuple[str, Shown]]:
        """Yield each item of the spine, and what it shows."""
        for idref in self._spine:
            item = self._items.get(idref)
            if item is None:
                message = f"the spine names {idref!r}, which the book does not describe"
                yield idref, Shown(lost=[Lost(idref, Code.MISSING, message)])
                continue
            item = self._fallback(item)
            path, kind = self.path_of(item), item.get("media-type", "").strip().lower()
            try:
                yield path, Shown({path: False}) if self._is_picture(path, kind) else documents.shown(path)
            except DamagedError as error:
                yield path, Shown(lost=[Lost(path, Code.READ, f"{path}: {error}")])

    def _is_picture(self, path: str, kind: str) -> bool:
        """Return whether a file is a picture: by its media type, else by its first bytes where that leaves it open.

        Raises DamagedError.
        """
        if "html" in kind or "xml" in kind or kind.startswith("image/"):
            return kind.startswith("image/") and "svg" not in kind
        return bool(picture_format(self.read(path, HEAD_BYTES) or b""))

    def _fallback(self, item: Element) -> Element:
        """Return the item that stands for one of a kind that books do not show, along its fallbacks."""
        for _ in range(_FALLBACKS):
            kind, other = item.get("media-type", "").lower(), self._items.get(item.get("fallback", ""))
            if other is None or "html" in kind or kind.startswith("image/"):
                break
            item = other
        return item

    def _refuse_drm(self) -> None:
        if self.find("META-INF/rights.xml") or self.find("META-INF/sinf.xml"):
            raise _drm()
        if self.find("META-INF/encryption.xml"):
            methods = {
                node.get("Algorithm", "") for node in self._parse("META-INF/encryption.xml").iter()
                if local_name(node) == "encryptionmethod"
            }  # fmt: skip
            if methods - _FONTS:
                raise _drm()

    def _package(self) -> tuple[str, dict[str, Element], list[str]]:
        """Return the path of the package document, its items by their names, and the names in its spine."""
        files = [node for node in self._parse("META-INF/container.xml").iter() if local_name(node) == "rootfile"]
        files.sort(key=lambda node: node.get("media-type", _PACKAGE) != _PACKAGE)
        root = resolve("", files[0].get("full-path", "")) if files else ""
        package = self._parse(root)
        items = {node.get("id", "").strip(): node for node in package.iter() if local_name(node) == "item"}
        references = (node for node in package.iter() if local_name(node) == "itemref")
        return root, items, [node.get("idref", "").strip() for node in references]

    def _parse(self, path: str) -> Element:
        info = self.find(path) if path else None
        if info is None:
            raise ChapterUnreadableError(Code.BROKEN, f"not a whole EPUB: {path or 'its package document'} is missing")
        if info.file_size > _XML_BYTES:
            message = f"{path} unpacks to {info.file_size} bytes, over {_XML_BYTES}; repack it"
            raise ChapterUnreadableError(Code.LIMIT, message)
        try:
            parser = DefusedXMLParser(encoding="utf-8")
            parser.feed(as_xml(text_of(self._opened.read(info))))
            return parser.close()
        except (ParseError, DefusedXmlException, DamagedError, ValueError, LookupError) as error:
            raise ChapterUnreadableError(Code.BROKEN, f"not a whole EPUB: {path}: {error}") from error


def _path(name: str) -> str:
    """Return a member's name as documents have it: some programs part folders by backslashes, or begin with './'."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _folded(name: str) -> str:
    return composed(composed(name).casefold())


def _drm() -> ChapterUnreadableError:
    return ChapterUnreadableError(Code.DRM, "the book is locked by its seller (DRM); get it without")
