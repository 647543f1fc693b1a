"""Reads the pages of a chapter, from one or both editions, in the sandbox."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from datasets.chapters import Member
from datasets.errors import Code, MangahueError, PageUnreadableError
from datasets.limits import SLOW
from datasets.page import Page, decode, encode, gray_of
from imaging.color import U8
from jobs.parts.dataset.facts import facts_of, preview_of
from jobs.parts.dataset.report import MOST_PREVIEWS
from jobs.parts.dataset.written import Written
from jobs.parts.ingest.pairing import ChapterPlan, Edition, pair_pages
from jobs.parts.runtime.sandbox import sandbox
from jobs.parts.source import reader
from jobs.parts.source.failure import Failure
from jobs.parts.source.policy import Policy

_POLICY = Policy()
_SLOW = SLOW * _POLICY.limits.seconds


def read_chapter(chapter: ChapterPlan, written: Written, previews: int = MOST_PREVIEWS) -> Iterator[Page]:
    """The readable pages of a chapter. What can't be read is added to `written.failures` with its path."""
    members: dict[str, list[Member]] = {"color": [], "gray": []}
    for side, edition in (("color", chapter.color), ("gray", chapter.gray)):
        if edition is None:
            continue
        try:
            directory = sandbox().call(reader.look_inside, edition.ref, _POLICY, seconds=_SLOW)
            members[side] = edition.pages(directory)
        except MangahueError as error:
            written.fail(Failure.of(edition.ref.uri, error, fetching=True))
    only_color, only_gray = (edition.only if edition else None for edition in (chapter.color, chapter.gray))
    for index, (color, gray) in enumerate(pair_pages(members["color"], members["gray"], (only_color, only_gray))):
        of_color, of_gray = (
            _read_picture(edition, member, written) if edition and member else None
            for edition, member in ((chapter.color, color), (chapter.gray, gray))
        )
        if of_color or of_gray:
            member, edition = (color, chapter.color) if of_color else (gray, chapter.gray)
            assert member is not None
            assert edition is not None
            page, pixels = _row(chapter, index, f"{edition.ref.uri}/{member.name}", member.name, of_color, of_gray)
            written.note(facts := facts_of(page, *pixels))
            written.show(facts, partial(preview_of, page, *pixels), previews)
            yield page


@dataclass(frozen=True)
class _Picture:
    """A page of one edition.

    pixels: (H, W, 3) sRGB.
    data: its bytes.
    """

    pixels: U8
    data: bytes


def _read_picture(edition: Edition, member: Member, written: Written) -> _Picture | None:
    """A page of an edition; None where it can't be read, which is noted."""
    source = f"{edition.ref.uri}/{member.name}"
    try:
        fetched = sandbox().call(reader.fetch, edition.ref, _POLICY, member, seconds=_SLOW)
    except MangahueError as error:
        written.fail(Failure.of(source, error, fetching=True))
        return None
    try:
        if fetched.error is not None:
            raise fetched.error
        return _own_half(edition, sandbox().call(decode, fetched.data, seconds=_POLICY.limits.seconds), fetched.data)
    except MangahueError as error:
        written.fail(Failure.of(source, error))
        return None


def _row(
    chapter: ChapterPlan, index: int, source: str, name: str, color: _Picture | None, gray: _Picture | None
) -> tuple[Page, tuple[U8 | None, U8 | None]]:
    """The row of a page, and its pixels: gray levels and colours."""
    first = color or gray
    assert first is not None
    page = Page(
        series=chapter.series,
        chapter=chapter.rel,
        index=index,
        name=name,
        gray=gray.data if gray else None,
        color=color.data if color else None,
        gray_from="source" if gray else chapter.gray_from,
        width=first.pixels.shape[1],
        height=first.pixels.shape[0],
        split=chapter.split,
        source=source,
    )
    return page, (gray_of(gray.pixels) if gray else None, color.pixels if color else None)


def _own_half(edition: Edition, pixels: U8, data: bytes) -> _Picture:
    """The page of a picture, and its bytes: as they came, or a PNG of its half. The right one has an odd column."""
    if edition.half is None:
        return _Picture(pixels, data)
    middle = pixels.shape[1] // 2
    if not middle:
        raise PageUnreadableError(Code.NOT_IMAGE, "a picture of one column has no two halves")
    page = pixels[:, :middle] if edition.half == "left" else pixels[:, middle:]
    return _Picture(page, encode(page, "png"))
