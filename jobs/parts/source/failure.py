"""What could not be read, and whether another try may read it."""

from dataclasses import dataclass

from datasets.errors import Code, StorageError


@dataclass(frozen=True)
class Failure:
    """What could not be read.

    final: whether it says something of the picture or chapter itself; else storage failed, or a tool is missing.
    """

    source: str
    code: str
    message: str
    final: bool

    @classmethod
    def of(cls, source: str, error: Exception, *, fetching: bool = False) -> "Failure":
        """Make one of an error.

        fetching: whether bytes were read from storage. If that took too long, storage may be at fault.
        """
        code = str(getattr(error, "code", "STORAGE" if isinstance(error, StorageError) else "TOOL"))
        final = code not in ("STORAGE", "TOOL") and not (fetching and code == Code.TIMEOUT)
        return cls(source, code, str(getattr(error, "message", error)), final)

    def to_json(self) -> dict[str, str]:
        """As a data set's card and report name it."""
        return {"source": self.source, "code": self.code, "message": self.message}
