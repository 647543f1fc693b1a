"""Which picture of a TIFF file is the page."""

import io
from contextlib import suppress
from dataclasses import dataclass

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from datasets.errors import Code, PageUnreadableError

_NEW_SUBFILE, _SUBFILE, _WIDTH, _HEIGHT = 254, 255, 256, 257  # fields (TIFF 6.0); the first two say what it is for
_REDUCED_OR_MASK = 1 | 4  # bits of the first
_REDUCED = 2  # value of the second
_THUMBNAIL = 256  # pixels: the longest side of a small picture that is no page
_RATIO = 0.05  # by which the shape of a smaller copy may differ


@dataclass(frozen=True)
class Picture:
    """One picture of a file.

    number: from 0.
    width, height: pixels.
    marked: whether the file says that it is a smaller copy, or a mask.
    """

    number: int
    width: int
    height: int
    marked: bool

    def is_beside(self, largest: "Picture") -> bool:
        """Return whether it is no page but a smaller copy of one, a mask, or a thumbnail."""
        if self.marked:
            return True
        if 2 * max(self.width, self.height) > max(largest.width, largest.height):
            return False
        shape, wanted = self.width * largest.height, self.height * largest.width
        return abs(shape - wanted) <= _RATIO * wanted or max(self.width, self.height) <= _THUMBNAIL


def page_of(data: bytes) -> int:
    """Return the number of the picture that is the page: the only one of full size.

    data: a TIFF file.

    Raises PageUnreadableError SEVERAL where more than one is of full size.
    """
    pictures = pictures_of(data)
    if len(pictures) < 2:
        return 0
    largest = max(pictures, key=lambda picture: (not picture.marked, picture.width * picture.height))
    pages = [picture for picture in pictures if picture is largest or not picture.is_beside(largest)]
    if len(pages) > 1:
        message = f"a TIFF of {len(pages)} pages; save each as a file of its own, or the file as PDF"
        raise PageUnreadableError(Code.SEVERAL, message)
    return largest.number


def pictures_of(data: bytes) -> list[Picture]:
    """Return all pictures of a TIFF file, up to the first whose directory can't be read."""
    header = data[: 16 if data[2:4] in (b"+\0", b"\0+") else 8]
    pictures: list[Picture] = []
    file, seen = io.BytesIO(data), {0}
    with suppress(Exception):  # the reader of a broken directory raises whatever comes
        at = ImageFileDirectory_v2(header).next
        while at not in seen:
            seen.add(at)
            file.seek(at)
            tags = ImageFileDirectory_v2(header)
            tags.load(file)
            marked = bool(tags.get(_NEW_SUBFILE, 0) & _REDUCED_OR_MASK) or tags.get(_SUBFILE) == _REDUCED
            pictures.append(Picture(len(pictures), int(tags[_WIDTH]), int(tags[_HEIGHT]), marked))
            at = tags.next
    return pictures
