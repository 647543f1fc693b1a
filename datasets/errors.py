"""The errors a user can meet. Every message names the thing, the value and the fix."""


class MangahueError(Exception):
    """Root of all errors this project raises on purpose."""


class BadUsageError(MangahueError):
    """What was asked for can not be done as asked: an option, a path, a folder that belongs to another run."""


class StorageError(MangahueError):
    """A read or a write that storage refused or never answered."""


class ObjectNotFoundError(StorageError):
    """No such object, bucket or folder."""


class AccessDeniedError(StorageError):
    """The credentials given may not do this."""


class ObjectExistsError(StorageError):
    """A conditional put lost: something is already there."""


class ChapterUnreadableError(MangahueError):
    """A chapter that can not be opened as a whole.

    code: a short upper-case word for reports, e.g. EMPTY, BROKEN, PASSWORD, NO_PAGES.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type["ChapterUnreadableError"], tuple[str, str]]:
        return type(self), (self.code, self.message)


class PageUnreadableError(MangahueError):
    """A page whose bytes can not be decoded.

    code: NOT_IMAGE, TRUNCATED, PIXELS or READ.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type["PageUnreadableError"], tuple[str, str]]:
        return type(self), (self.code, self.message)
