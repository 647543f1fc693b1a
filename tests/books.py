"""EPUB books made by hand: documents as people and programs write them."""

import zipfile
from collections.abc import Mapping, Sequence

from tests.archives import zipped

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)


def xhtml(body: str, head: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink"><head><title>t</title>{head}</head><body>{body}</body></html>'
    )


def package(items: Mapping[str, tuple[str, str]], spine: Sequence[str]) -> str:
    """A package document.

    items: (link, media type and whatever attributes follow it) by name.
    """
    listed = "".join(f'<item id="{name}" href="{link}" media-type="{kind}"/>' for name, (link, kind) in items.items())
    references = "".join(f'<itemref idref="{name}"/>' for name in spine)
    return (
        '<?xml version="1.0"?><!-- kept --><package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
        f"<manifest>{listed}</manifest><spine>{references}</spine></package>"
    )


def book(files: Mapping[str, str | bytes], opf: str) -> bytes:
    """An EPUB of these files below OEBPS/."""
    members = {"mimetype": b"application/epub+zip", "META-INF/container.xml": CONTAINER.encode()}
    members["OEBPS/book.opf"] = opf.encode()
    for name, data in files.items():
        members[f"OEBPS/{name}"] = data if isinstance(data, bytes) else data.encode()
    return zipped(members, zipfile.ZIP_STORED)


def book_of(documents: Mapping[str, str | bytes], files: Mapping[str, str | bytes]) -> bytes:
    """An EPUB whose spine is these documents of Text/."""
    items = {f"d{number}": (f"Text/{name}", "application/xhtml+xml") for number, name in enumerate(documents)}
    return book({**{f"Text/{name}": text for name, text in documents.items()}, **files}, package(items, list(items)))
