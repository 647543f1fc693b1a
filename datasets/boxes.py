"""Files in boxes (ISO/IEC 14496-12, as JPEG 2000 and JPEG XL use them)."""

from collections.abc import Iterator


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the content of each box of a file, or of a box that holds others; a cut one comes as it is.

    data: the file's bytes, or the content of a box.
    """
    at = 0
    while at + 8 <= len(data):
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:  # a longer number follows
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = at + size if size else len(data)  # 0: up to the end of the file
        if end < at + head:
            return
        yield data[at + 4 : at + 8], data[at + head : end]
        at = end


def jp2_profile(data: bytes) -> bytes | None:
    """Return the ICC profile of a JPEG 2000 picture (ISO/IEC 15444-1, annex I); None where it has none.

    data: the encoded bytes.
    """
    header = next((content for name, content in boxes(data) if name == b"jp2h"), b"")
    colours = (content for name, content in boxes(header) if name == b"colr")
    return next((content[3:] for content in colours if content[:1] in (b"\2", b"\3")), None)
