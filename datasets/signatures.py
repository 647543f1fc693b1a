"""Pictures told by their first bytes, whatever their names say."""

import re

HEAD_BYTES = 64  # of a file, enough to tell any picture

_STARTS = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"II*\0": "TIFF",
    b"MM\0*": "TIFF", b"II+\0\x08": "TIFF", b"MM\0+\0\x08": "TIFF", b"\xff\x4f\xff\x51": "JPEG2000",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000", b"\xff\x0a": "JPEG XL", b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"II\xbc\x01": "JPEG XR",
}  # fmt: skip
_PPM = re.compile(rb"P[1-6]\s(?:#[^\n]*\n)?\s*\d+\s+\d+\s")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # bytes of the header that follows a BMP's first 14


def picture_format(head: bytes) -> str:
    """Return the format of a picture: one of Pillow's names, "JPEG XL", "JPEG XR" or "HEIC"; "" for what is none.

    head: the first HEAD_BYTES of a file, or all of a shorter one.
    """
    for start, name in _STARTS.items():
        if head.startswith(start):
            return name
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    return "PPM" if _PPM.match(head) else ""


def _of_brands(head: bytes) -> str:
    """Return the format of a file in boxes (ISO/IEC 14496-12) by the brands of its first one."""
    listed = head[8 : min(len(head), int.from_bytes(head[:4], "big"))]
    brands = {listed[at : at + 4] for at in range(0, len(listed), 4) if at != 4}  # the second is a version
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIC" if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"} else ""
