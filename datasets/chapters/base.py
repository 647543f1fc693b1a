"""An opened chapter: its members in the order they are kept, and their bytes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from natsort import natsort_keygen

from datasets.archive import is_archive
from datasets.errors import ChapterUnreadableError, Code, PageUnreadableError
from datasets.limits import RATIO_FROM, Limits
from datasets.names import is_image, is_junk, may_be_image, safe_name
from datasets.signatures import HEAD_BYTES, picture_format

_natural = natsort_keygen()
_NAMED = 5  # names in a warning
_COMMENT_BYTES = 65_535  # that a ZIP takes
_ZIP_END = b"PK\x05\x06"  # by which readers look for the end of a ZIP, and stop in a comment that has it


@dataclass(frozen=True)
class Member:
    """A file in a chapter.

    name: under which it may be written.
    size: unpacked bytes, as the archive says.
    index: among the pages in reading order, from 0; None for other files.
    member_index: in the archive, where two members may have one name.
    original: the archive's own name for it.
    """

    name: str
    size: int
    index: int | None
    member_index: int = 0
    original: str = ""


@dataclass
class Listed:
    """What an archive's directory says of a member.

    name: the archive's own.
    size: unpacked bytes.
    token: by which the archive finds the member again.
    """

    name: str
    size: int
    token: Any = None


@dataclass
class Directory:
    """All that is known of a chapter without its pages.

    members: in the order of the archive.
    sequential: whether members are read one after the other only, so that the last costs as much as all of them.
    warnings: for the report.
    damage: what is missing from an archive of which only the beginning is there; "" for a whole one.
    comment: of the archive itself, which some programs keep tags in.
    """

    members: list[Member]
    sequential: bool = False
    warnings: list[str] = field(default_factory=list)
    damage: str = ""
    comment: bytes = b""

    @property
    def pages(self) -> list[Member]:
        """The pages in reading order."""
        pages = [(member.index, member) for member in self.members if member.index is not None]
        return [member for _, member in sorted(pages, key=lambda pair: pair[0])]


class Chapter(ABC):
    """A chapter that is open for reading.

    sequential: whether members are read one after the other only.
    ordered: whether pages come in reading order already; else the natural order of their names is taken.
    """

    sequential: bool = False
    ordered: ClassVar[bool] = False  # else pages are sorted by name, in natural order

    def __init__(self, listed: Iterable[Listed], limits: Limits, packed: int | None = None) -> None:
        """Take the members of a chapter, within the limits.

        listed: the members, in the order of the archive.
        limits: what the chapter may ask for.
        packed: bytes of the archive, where members may be far larger than it; None elsewhere.

        Raises ChapterUnreadableError.
        """
        self.limits = limits
        self.warnings: list[str] = []
        self.damage = ""
        self.comment = b""
        kept = self._within(listed, packed)
        self._tokens = [item.token for item in kept]
        pages = [member_index for member_index, item in enumerate(kept) if self._is_page(member_index, item)]
        if not pages:
            raise self._no_pages(kept)
        if not self.ordered:
            pages.sort(key=lambda member_index: _natural(kept[member_index].name))
        order = {member_index: index for index, member_index in enumerate(pages)}
        names = [safe_name(item.name) for item in kept]
        self.members = [
            Member(name, item.size, order.get(member_index), member_index, item.name)
            for member_index, (name, item) in enumerate(zip(names, kept, strict=True))
        ]
        self.warn("archives in it are not opened, and no chapters; unpack it one level to colour them", _nested(kept))
        self.warn(
            "unsafe names changed", [member.original for member in self.members if member.original != member.name]
        )

    def _is_page(self, member_index: int, item: Listed) -> bool:
        """Return whether a member is a page: by its name, else by its first bytes where its name leaves that open."""
        if is_image(item.name) or not may_be_image(item.name):
            return is_image(item.name)
        return bool(picture_format(self.head(Member(item.name, item.size, None, member_index, item.name))))

    def _within(self, listed: Iterable[Listed], packed: int | None) -> list[Listed]:
        """Return the members that are not junk. Raises LIMIT."""
        kept: list[Listed] = []
        junk: list[Listed] = []
        total, limits = 0, self.limits
        for number, item in enumerate(listed, 1):
            total += item.size
            if number > limits.members:
                raise ChapterUnreadableError(Code.LIMIT, f"over {limits.members} members; see --max-members")
            if item.size > limits.member_bytes:
                message = f"{item.name}: {_mb(item.size)}, over {_mb(limits.member_bytes)}; see --max-member-mb"
                raise ChapterUnreadableError(Code.LIMIT, message)
            if total > limits.unpacked_bytes:
                message = f"unpacks to over {_mb(limits.unpacked_bytes)}; see --max-unpacked-mb"
                raise ChapterUnreadableError(Code.LIMIT, message)
            if packed is not None and total > RATIO_FROM and total > limits.ratio * packed:
                message = f"{packed} bytes unpack to over {limits.ratio} times as much; see --max-ratio"
                raise ChapterUnreadableError(Code.LIMIT, message)
            (junk if is_junk(item.name) else kept).append(item)
        self.warn("left out, as no part of the book", [item.name for item in junk])
        return kept

    def _no_pages(self, kept: list[Listed]) -> ChapterUnreadableError:
        if nested := _nested(kept):
            more = f" and {len(nested) - 1} more" if len(nested) > 1 else ""
            message = (
                f"it holds archives instead of pages: {nested[0]!r}{more}, which are not opened; unpack it one level, "
                "into a folder of its name: then each is a chapter"
            )
            return ChapterUnreadableError(Code.LIMIT, message)
        return ChapterUnreadableError(Code.NO_PAGES, "; ".join(["no images in it", *self.warnings]))

    def warn(self, what: str, names: list[str]) -> None:
        """Note a warning for the report, unless there are no such names."""
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            self.warnings.append(f"{what}: {', '.join(map(repr, names[:_NAMED]))}{more}")

    def keep_comment(self, comment: bytes) -> None:
        """Take the archive's comment for the output, or warn that a ZIP can not have it."""
        if len(comment) > _COMMENT_BYTES or _ZIP_END in comment:
            self.warnings.append(f"the archive's comment of {len(comment)} bytes is left out: a ZIP can't have it")
        else:
            self.comment = comment

    def directory(self) -> Directory:
        """Return what is known of the chapter without its pages."""
        return Directory(self.members, self.sequential, self.warnings, self.damage, self.comment)

    @property
    def pages(self) -> list[Member]:
        """The pages in reading order."""
        return self.directory().pages

    def token(self, member: Member) -> Any:
        """Return the token by which the archive finds a member again."""
        return self._tokens[member.member_index]

    @abstractmethod
    def read(self, member: Member) -> bytes:
        """Return a member's bytes. Raises PageUnreadableError READ where they can not be read whole."""

    def head(self, member: Member) -> bytes:
        """Return the first HEAD_BYTES of a member, or what can be read of them."""
        try:
            return self.read(member)[:HEAD_BYTES]
        except PageUnreadableError:
            return self.salvage(member)[:HEAD_BYTES]

    def salvage(self, member: Member) -> bytes:
        """Return what can be read of a member that `read` refuses; it may be nothing."""
        return b""

    def close(self) -> None:  # noqa: B027  # most have nothing to release
        """Release the files; a closed chapter is not read again."""


def _nested(members: Iterable[Listed]) -> list[str]:
    return [item.name for item in members if is_archive(item.name)]


def unreadable(member: Member, why: object) -> PageUnreadableError:
    """Return the error for a member that can not be read whole."""
    return PageUnreadableError(Code.READ, f"{member.original}: {why}")


def encrypted() -> ChapterUnreadableError:
    """Return the error for an encrypted chapter."""
    return ChapterUnreadableError(Code.PASSWORD, "the chapter is encrypted; take the password off")


def _mb(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"
