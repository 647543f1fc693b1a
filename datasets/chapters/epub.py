"""EPUB books as chapters: the pictures of their pages, in the order of the spine.

The parts of an EPUB are defined by EPUB 3.3 (W3C), in Open Container Format and Package Document.
"""

import posixpath
import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from datasets.archive import ChapterRef
from datasets.chapters.base import Chapter, Listed, Member, unreadable
from datasets.chapters.streamed import DamagedError
from datasets.chapters.zipped import OpenedZip
from datasets.errors import ChapterUnreadableError, Code, PageUnreadableError
from datasets.limits import Limits
from datasets.page import IMAGE_SUFFIXES
from datasets.storage import Storage

_FONTS = frozenset({"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"})  # hidden fonts, not DRM
_SUFFIXES = {
    "image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/gif": ".gif", "image/avif": ".avif",
}  # fmt: skip
_PICTURE = re.compile(r"""<(?:img|image)\b[^>]*?\b(?:src|(?:xlink:)?href)\s*=\s*["']([^"']+)""", re.IGNORECASE)
_TEXT_BYTES = 4 * 2**20  # bytes that are read of a document; some books have one long one
_XML_BYTES = 32 * 2**20  # bytes of XML that is parsed; the package document of 20,000 pages takes 8 MB


class EpubChapter(Chapter):
    """An EPUB book; its pages are the pictures of its documents, in the order of the spine.

    Documents without a picture are left out, with a warning.
    """

    ordered = True

    def __init__(self, storage: Storage, ref: ChapterRef, limits: Limits) -> None:
        self._opened = OpenedZip(storage, ref, limits)
        self._infos = {info.filename: info for info in self._opened.infos}
        self._refuse_drm()
        pictures, blank = self._pictures()
        super().__init__([self._listed(number, path, kind) for number, (path, kind) in enumerate(pictures)], limits)
        self.warn("pages without a picture left out", blank)

    def _listed(self, number: int, path: str, kind: str) -> Listed:
        info = self._infos.get(path)
        suffix = PurePosixPath(path).suffix.lower()
        name = PurePosixPath(path).stem + (suffix if suffix in IMAGE_SUFFIXES else _SUFFIXES.get(kind, ".img"))
        return Listed(f"{number + 1:04d} {name}", info.file_size if info else 0, path)

    def read(self, member: Member) -> bytes:
        path = self.token(member)
        if path not in self._infos:
            raise PageUnreadableError(Code.MISSING, f"{path} is named in the book, and not in it")
        try:
            return self._opened.read(self._infos[path])
        except DamagedError as error:
            raise unreadable(member, error) from error

    def salvage(self, member: Member) -> bytes:
        path = self.token(member)
        return self._opened.partial(self._infos[path]) if path in self._infos else b""

    def close(self) -> None:
        self._opened.close()

    def _refuse_drm(self) -> None:
        if "META-INF/rights.xml" in self._infos or "META-INF/sinf.xml" in self._infos:
            raise _drm()
        if "META-INF/encryption.xml" in self._infos:
            methods = {
                node.get("Algorithm", "") for node in self._parse("META-INF/encryption.xml").iter()
                if _tag(node) == "EncryptionMethod"
            }  # fmt: skip
            if methods - _FONTS:
                raise _drm()

    def _pictures(self) -> tuple[list[tuple[str, str]], list[str]]:
        """Return the pictures of the pages in the order of the spine, and the documents that have none.

        A picture is (path, media type).
        """
        root = next((node.get("full-path", "") for node in self._parse("META-INF/container.xml").iter()
                     if _tag(node) == "rootfile"), "")  # fmt: skip
        package = self._parse(root)
        items = {node.get("id", ""): node for node in package.iter() if _tag(node) == "item"}
        kinds = {_resolve(root, node.get("href", "")): node.get("media-type", "") for node in items.values()}
        pictures: list[tuple[str, str]] = []
        blank: list[str] = []
        for reference in (node for node in package.iter() if _tag(node) == "itemref"):
            item = items.get(reference.get("idref", ""))
            if item is None:
                continue
            path = _resolve(root, item.get("href", ""))
            if item.get("media-type", "").startswith("image/") and "svg" not in item.get("media-type", ""):
                found = [path]
            else:
                found = self._pictures_of(path)
            pictures += [(picture, kinds.get(picture, "")) for picture in found]
            if not found:
                blank.append(path)
        return pictures, blank

    def _pictures_of(self, document: str) -> list[str]:
        """Return the paths of the pictures in a document, in its order.

        The document need not be well-formed.
        """
        if document not in self._infos:
            return []
        try:
            text = self._opened.read(self._infos[document], _TEXT_BYTES).decode("utf-8", "replace")
        except DamagedError:
            return []
        found = [_resolve(document, match) for match in _PICTURE.findall(text) if not urlsplit(match).scheme]
        return [path for path in dict.fromkeys(found) if PurePosixPath(path).suffix.lower() != ".svg"]

    def _parse(self, path: str) -> Element:
        if path not in self._infos:
            raise ChapterUnreadableError(Code.BROKEN, f"not a whole EPUB: {path or 'its package document'} is missing")
        if (size := self._infos[path].file_size) > _XML_BYTES:
            raise ChapterUnreadableError(Code.LIMIT, f"{path} unpacks to {size} bytes, over {_XML_BYTES}; repack it")
        try:
            return fromstring(self._opened.read(self._infos[path]))
        except (ParseError, DefusedXmlException, DamagedError, ValueError, LookupError) as error:
            raise ChapterUnreadableError(Code.BROKEN, f"not a whole EPUB: {path}: {error}") from error


def _tag(node: Any) -> str:
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""


def _resolve(document: str, link: str) -> str:
    """Return the path in the archive that a link in a document leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(document), unquote(urlsplit(link).path)))


def _drm() -> ChapterUnreadableError:
    return ChapterUnreadableError(Code.DRM, "the book is locked by its seller (DRM); get it without")
