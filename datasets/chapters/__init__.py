"""Chapters opened: the first bytes of an archive decide what it is, whatever its name says.

A format of its own is one module here with a Chapter, and one line in `_OPENERS`. Who reads what:

ZIP: zipfile; a member in a method that it does not know, libarchive (ppmd, zstd) or unar (deflate64).
RAR: rarfile lists; libarchive reads; what does not agree with the list's sizes and checksums is asked of unar.
7z, tar: libarchive, front to back.
PDF: pdfium. EPUB: zipfile; its documents expat, else html.parser; its style sheets tinycss2 and cssselect2.

Nothing is unpacked to a path.
"""

from collections.abc import Callable

from datasets.archive import ChapterRef, suffix_of
from datasets.chapters.base import Chapter, Directory, Member
from datasets.chapters.epub import EpubChapter
from datasets.chapters.folder import FolderChapter, PictureChapter
from datasets.chapters.pdf import PdfChapter
from datasets.chapters.rar import RarChapter
from datasets.chapters.streamed import StreamedChapter
from datasets.chapters.zipped import CutZipChapter, ZipChapter
from datasets.errors import ChapterUnreadableError, Code
from datasets.limits import Limits
from datasets.storage import Storage, open_storage

__all__ = ["Chapter", "Directory", "Member", "open_chapter"]

_OPENERS: dict[str, Callable[[Storage, ChapterRef, Limits], Chapter]] = {
    "ZIP": lambda storage, ref, limits: _zip(storage, ref, limits),
    "EPUB": EpubChapter,
    "RAR4": lambda storage, ref, limits: RarChapter(storage, ref, limits, "rar"),
    "RAR5": lambda storage, ref, limits: RarChapter(storage, ref, limits, "rar5"),
    "7z": lambda storage, ref, limits: StreamedChapter(storage, ref, limits, "7zip"),
    "tar": lambda storage, ref, limits: StreamedChapter(storage, ref, limits, "tar"),
    "PDF": PdfChapter,
}
_EXPECTED = {
    ".cbz": "ZIP", ".zip": "ZIP", ".epub": "EPUB", ".cbr": "RAR", ".rar": "RAR", ".cb7": "7z", ".7z": "7z",
    ".pdf": "PDF",
}  # fmt: skip
_MAGIC = {
    b"Rar!\x1a\x07\x00": "RAR4", b"Rar!\x1a\x07\x01\x00": "RAR5", b"7z\xbc\xaf\x27\x1c": "7z", b"\x1f\x8b": "tar",
    b"BZh": "tar", b"\xfd7zXZ\x00": "tar", b"\x28\xb5\x2f\xfd": "tar",
}  # fmt: skip
_HEAD = 1024
_ZIP_LOCAL = b"PK\x03\x04"


def open_chapter(ref: ChapterRef, limits: Limits | None = None, *, salvage: bool = False) -> Chapter:
    """Open a chapter.

    ref: the chapter.
    limits: None for the defaults.
    salvage: whether to take what is there of a ZIP archive whose end is missing.

    Raises ChapterUnreadableError with a code, StorageError where storage fails, and MissingToolError.
    """
    limits = limits or Limits()
    storage = open_storage(ref.root)
    if ref.kind != "archive":
        return (FolderChapter if ref.kind == "folder" else PictureChapter)(storage, ref, limits)
    head = storage.read_range(ref.key, 0, _HEAD)
    if not head:
        raise ChapterUnreadableError(Code.EMPTY, "the archive has no bytes")
    found = _format_of(head, suffix_of(ref.key))
    try:
        chapter = _OPENERS[found](storage, ref, limits)
    except ChapterUnreadableError as error:
        if not (error.code == Code.BROKEN and head.startswith(_ZIP_LOCAL) and b"PK\x05\x06" not in _tail(storage, ref)):
            raise
        chapter = _cut_off(storage, ref, limits, error, salvage)
    expected = _EXPECTED.get(suffix_of(ref.key), "tar")
    if not found.startswith(expected):
        chapter.warnings.append(f"named {suffix_of(ref.key)}, and is {found}: read as what it is")
    return chapter


def _zip(storage: Storage, ref: ChapterRef, limits: Limits) -> Chapter:
    try:
        return ZipChapter(storage, ref, limits)
    except ChapterUnreadableError as error:
        if isinstance(error.__cause__, UnicodeDecodeError):  # names that are marked as UTF-8, and are not
            return StreamedChapter(storage, ref, limits, "zip")
        raise


def _format_of(head: bytes, suffix: str) -> str:
    """Return a key of _OPENERS. Raises BROKEN."""
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return "EPUB" if head[30:58] == b"mimetypeapplication/epub+zip" or suffix == ".epub" else "ZIP"
    if head[257:262] == b"ustar":
        return "tar"
    if b"%PDF-" in head:  # something may come before it; in a tar it may be the first file
        return "PDF"
    if _EXPECTED.get(suffix, "tar") == "tar":
        return "tar"
    if _EXPECTED[suffix] == "ZIP":
        return "ZIP"  # something may come before the archive: its directory is at the end
    raise ChapterUnreadableError(Code.BROKEN, f"no archive that is known: it begins with {head[:8]!r}")


def _tail(storage: Storage, ref: ChapterRef) -> bytes:
    """Return the bytes where the end of a ZIP archive's directory would be."""
    return storage.read_range(ref.key, max(0, ref.size - 66_000), 66_000)


def _cut_off(
    storage: Storage, ref: ChapterRef, limits: Limits, error: ChapterUnreadableError, salvage: bool
) -> Chapter:
    try:
        chapter = CutZipChapter(storage, ref, limits)
    except ChapterUnreadableError as other:
        raise (other if other.code in (Code.LIMIT, Code.PASSWORD) else error) from other
    if salvage:
        return chapter
    chapter.close()
    message = f"the end of the archive is missing; {chapter.whole} of its pages are whole: --salvage publishes them"
    raise ChapterUnreadableError(Code.CUT_OFF, message)
