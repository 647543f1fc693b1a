"""Opens chapters and reads their members, inside a sandbox. No Ray and no torch here."""

from dataclasses import dataclass

from datasets.archive import ChapterRef
from datasets.chapters import Chapter, Directory, Member, open_chapter
from datasets.errors import PageUnreadableError
from jobs.parts.source.policy import Policy


@dataclass(frozen=True)
class Fetched:
    """A member's bytes, and what is wrong with them, if anything."""

    data: bytes
    error: PageUnreadableError | None = None


_open: dict[tuple[ChapterRef, Policy], Chapter] = {}  # kept open, because members are read one after the other
_MOST_OPEN = 2  # ingest reads two editions side by side


def look_inside(ref: ChapterRef, policy: Policy) -> Directory:
    """The directory of a chapter. Raises ChapterUnreadableError, StorageError, MissingToolError."""
    return _chapter(ref, policy).directory()


def fetch(ref: ChapterRef, policy: Policy, member: Member) -> Fetched:
    """Read a member. Where it can't be read whole, the result holds what could be read, and the error.

    Raises ChapterUnreadableError where the chapter is no longer what it was.
    """
    chapter = _chapter(ref, policy)
    try:
        return Fetched(chapter.read(member))
    except PageUnreadableError as error:
        return Fetched(chapter.salvage(member), error)


def _chapter(ref: ChapterRef, policy: Policy) -> Chapter:
    if (ref, policy) not in _open:
        while len(_open) >= _MOST_OPEN:
            _open.pop(next(iter(_open))).close()
        _open[ref, policy] = open_chapter(ref, policy.limits, salvage=policy.salvage)
    return _open[ref, policy]
