"""Readers that crash on certain bytes, for the sandbox's child. It must load without torch."""

import os
from collections.abc import Sequence

from datasets.comicinfo import mark_colored
from imaging.views import Strategy
from jobs.parts.colorize.page_steps import Seen, see

POISON = b"\x89PNG poison"


def see_or_crash(data: bytes, image_size: int, strategy: Strategy, pixels: int, with_preview: bool) -> Seen:
    """As `see`, but a page that begins with POISON ends the process."""
    if data.startswith(POISON):
        os.abort()
    return see(data, image_size, strategy, pixels, with_preview)


def mark_or_crash(data: bytes, pages: Sequence[tuple[int, int, int]]) -> tuple[bytes, str]:
    """As `mark_colored`, but a file with "poison" in it ends the process."""
    if b"poison" in data:
        os.abort()
    return mark_colored(data, pages)
