"""How much a chapter may ask for before it is taken for an attack or an accident."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The most that a chapter may ask for; each is far above what real libraries hold.

    unpacked_bytes: all members of a chapter together, unpacked.
    member_bytes: one member, unpacked.
    ratio: unpacked to packed bytes, for a chapter that unpacks to more than RATIO_FROM.
    members: members of a chapter, pages of a PDF or EPUB included.
    pixels: pixels of a page.
    seconds: for one page in one stage; opening a chapter and fetching a page may take ten times as long.
    """

    unpacked_bytes: int = 16 * 2**30
    member_bytes: int = 256 * 2**20
    ratio: int = 200
    members: int = 20_000
    pixels: int = 178_956_970  # where Pillow itself refuses; a newspaper page of 600 dpi has 55 million
    seconds: float = 60.0


RATIO_FROM = 64 * 2**20  # bytes: even a few blank pages, saved as bitmaps, pack to a thousandth
SLOW = 10  # how many times `Limits.seconds` a whole chapter's directory, or a fetch from afar, may take
