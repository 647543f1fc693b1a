"""The errors a user can meet. Every message names the thing, the value and the fix."""

from enum import StrEnum


class MangahueError(Exception):
    """Root of all errors this project raises on purpose."""


class BadUsageError(MangahueError):
    """A request that can not be carried out as made: an option, a path, a folder that belongs to another run."""


class MissingToolError(MangahueError):
    """A system package that a format needs is not on this node."""


class StorageError(MangahueError):
    """A read or a write that storage refused or never answered."""


class UnreachableError(StorageError):
    """Storage did not answer, or said that it is too busy; it may answer later."""


class TrainingFailedError(MangahueError):
    """A training that Ray could not bring to its end."""


class ObjectNotFoundError(StorageError):
    """There is no such object, bucket or folder."""


class AccessDeniedError(StorageError):
    """The credentials given may not do this."""


class ObjectExistsError(StorageError):
    """A conditional put lost: an object is already there."""


class Code(StrEnum):
    """What is wrong with a chapter or a page, in a word for reports; docs/errors.md says what to do about each."""

    # A chapter is quarantined with one of these.
    EMPTY = "EMPTY"
    BROKEN = "BROKEN"
    CUT_OFF = "CUT_OFF"
    PASSWORD = "PASSWORD"
    DRM = "DRM"
    VOLUME = "VOLUME"
    LIMIT = "LIMIT"
    NO_PAGES = "NO_PAGES"
    CHANGED = "CHANGED"
    COLLISION = "COLLISION"
    NAME = "NAME"
    # A page is kept as it is, and flagged, with one of these.
    READ = "READ"
    MISSING = "MISSING"
    NO_PICTURE = "NO_PICTURE"
    NOT_IMAGE = "NOT_IMAGE"
    UNSUPPORTED = "UNSUPPORTED"
    SEVERAL = "SEVERAL"
    RANGE = "RANGE"
    TRUNCATED = "TRUNCATED"
    PIXELS = "PIXELS"
    FORMAT = "FORMAT"
    MEMORY = "MEMORY"
    NOT_FINITE = "NOT_FINITE"
    # The gate has one of these against a coloured page.
    INK = "INK"
    TINT = "TINT"
    GAMUT = "GAMUT"
    DULL = "DULL"
    HUE = "HUE"
    WILD = "WILD"
    # A chapter or a page.
    CRASHED = "CRASHED"
    TIMEOUT = "TIMEOUT"
    # A page that is left out, with a warning.
    TEXT = "TEXT"
    # A chapter: the run ended before it was done.
    STOPPED = "STOPPED"
    # What was published, as verify.py finds it.
    GONE = "GONE"
    SIZE = "SIZE"
    ALTERED = "ALTERED"
    SWAPPED = "SWAPPED"
    MANIFEST = "MANIFEST"


class CodedError(MangahueError):
    """An error that goes into a report with its code."""

    def __init__(self, code: Code, message: str) -> None:
        """Make an error with a code.

        code: what is wrong.
        message: for people; the code is put before it.
        """
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type["CodedError"], tuple[Code, str]]:
        return type(self), (self.code, self.message)


class ChapterUnreadableError(CodedError):
    """A chapter that can not be coloured as a whole."""


class PageUnreadableError(CodedError):
    """A page whose bytes can not be fetched, decoded or coloured."""
