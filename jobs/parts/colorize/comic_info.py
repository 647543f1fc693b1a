"""ComicInfo.xml of a coloured chapter. It comes from outside, so it is read in the sandbox."""

from collections.abc import Sequence

from datasets.comicinfo import kept_because, mark_colored
from jobs.parts.runtime.sandbox import SandboxError, sandbox

_SECONDS = 60.0  # the largest file that is read takes 3


def marked(data: bytes, pages: Sequence[tuple[int, int, int]]) -> tuple[bytes, str]:
    """As `mark_colored`. A file at which the sandbox's child dies, or is late, is kept as it is too."""
    try:
        return sandbox().call(mark_colored, data, pages, seconds=_SECONDS)
    except SandboxError as error:
        return data, kept_because(str(error))
