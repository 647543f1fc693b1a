"""PDF files made by hand, object by object, as no program that we have would make them."""

from collections.abc import Mapping, Sequence

Objects = Mapping[int, bytes]

FIRST = 100  # number of the first object that a test gives
SHOWN = b"/Resources << /XObject << /I %d 0 R >> >>" % FIRST  # a page's entry: its picture is called /I


def stream(entries: bytes, data: bytes) -> bytes:
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries, len(data), data)


def jpeg_object(jpeg: bytes, width: int, height: int, more: bytes = b"", space: bytes = b"/DeviceGray") -> bytes:
    """A picture. more: entries beside those that it must have."""
    entries = b"/Type /XObject /Subtype /Image /Width %d /Height %d /BitsPerComponent 8" % (width, height)
    return stream(entries + b" /Filter /DCTDecode /ColorSpace %s %s" % (space, more), jpeg)


def made_pdf(pages: Sequence[tuple[bytes, bytes]], objects: Objects, catalog: bytes = b"") -> bytes:
    """A PDF.

    pages: for each its entries, and its content.
    objects: from number FIRST on.
    catalog: entries of the document's catalog.
    """
    kids = [10 + 2 * number for number in range(len(pages))]
    all_objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R %s >>" % catalog,
        2: b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), b" ".join(b"%d 0 R" % kid for kid in kids)),
    }
    for kid, (entries, content) in zip(kids, pages, strict=True):
        all_objects[kid] = b"<< /Type /Page /Parent 2 0 R /Contents %d 0 R %s >>" % (kid + 1, entries)
        all_objects[kid + 1] = stream(b"", content)
    return written({**all_objects, **objects})


def written(objects: Objects) -> bytes:
    """A PDF of these objects, of which 1 is the catalog."""
    out = bytearray(b"%PDF-1.7\n")
    places = {}
    for number, body in objects.items():
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (max(objects) + 1)
    for number in range(1, max(objects) + 1):
        out += b"%010d 00000 n \n" % places[number] if number in places else b"0000000000 65535 f \n"
    return bytes(out + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (max(objects) + 1, table))
