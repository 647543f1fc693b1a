"""How a job ends: exit codes, and errors told in a line."""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from enum import IntEnum
from typing import Any, NoReturn, TypeVar

from datasets.errors import BadUsageError, MangahueError

log = logging.getLogger("mangahue")
Config = TypeVar("Config")


class Exit(IntEnum):
    """Exit codes of every job."""

    DONE = 0
    FAILED = 1
    BAD_USAGE = 2
    PARTLY = 3


class _OneLine(logging.Formatter):
    """A message is one line of what can be seen: names from archives may hold escapes for terminals, and worse."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        return plain_text(super().formatMessage(record))


def plain_text(text: str) -> str:
    """The text with what can't be seen escaped: control characters, marks of direction, lone surrogates."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def run_job(config: Config, main: Callable[[Config], int]) -> NoReturn:
    """Log the resolved config, run the job and exit with its code; an error of ours is one line, not a traceback."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname).1s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("botocore").setLevel(logging.WARNING)
    log.info("config %s", json.dumps(asdict(config), sort_keys=True))  # type: ignore[call-overload]
    try:
        sys.exit(int(main(config)))
    except BadUsageError as error:
        log.error("%s", error)
        sys.exit(int(Exit.BAD_USAGE))
    except MangahueError as error:
        log.error("%s", error)
        sys.exit(int(Exit.FAILED))
    except KeyboardInterrupt:
        log.error("interrupted; run the same command again to go on")
        sys.exit(int(Exit.FAILED))


def as_json(value: Any) -> bytes:
    """JSON for files that people read too."""
    # Names on disk that are no UTF-8 come as lone surrogates, which JSON can only escape.
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
