"""How a job ends: exit codes, errors in one line, and the format of its log."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from enum import IntEnum
from typing import Any, NoReturn, TypeVar

from datasets.errors import BadUsageError, MangahueError

log = logging.getLogger("mangahue")
Config = TypeVar("Config")
LOG_FORMAT = "MANGAHUE_LOG_FORMAT"  # a variable, not an option: the cluster's owner sets it for all jobs


class Exit(IntEnum):
    """Exit codes of every job."""

    DONE = 0
    FAILED = 1
    BAD_USAGE = 2
    PARTLY = 3


class _Plain(logging.Formatter):
    """Escapes everything that can't be seen: names in archives may hold escape codes for terminals, and worse."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's own name
        return "\n".join(map(plain_text, super().formatException(ei).split("\n")))


class _OneLine(_Plain):
    """Writes each message as one line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        return plain_text(super().formatMessage(record))


class _JsonLine(_Plain):
    """Writes each message as one line of JSON, for programs that collect logs.

    Fields: time (UTC, RFC 3339, milliseconds), level, message. Chapter and page where the call gave them as `extra`.
        Traceback where there is one. What can't be seen is escaped in each, as it is in text.
    """

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{seconds}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "message": plain_text(record.getMessage()),
        }
        line |= {name: plain_text(str(vars(record)[name])) for name in ("chapter", "page") if name in vars(record)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_formatter(name: str) -> logging.Formatter:
    """The formatter of the log.

    name: "text" or "" for text lines, "json" for lines of JSON.
    Raises BadUsageError for any other name.
    """
    if name in ("", "text"):
        return _OneLine("%(asctime)s %(levelname).1s %(message)s", datefmt="%H:%M:%S")
    if name == "json":
        return _JsonLine()
    raise BadUsageError(f"{LOG_FORMAT} is {name!r}; it is text or json")


def plain_text(text: str) -> str:
    """The text with what can't be seen escaped: control characters, marks of direction, lone surrogates."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def configure_log(*, force: bool = False) -> None:
    """Write this process's log to stderr, in the form that the environment asks for.

    force: instead of what another library has set up, as Ray does in its workers.
    Raises BadUsageError where the form is unknown.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(log_formatter(os.environ.get(LOG_FORMAT, "")))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=force)
    log.setLevel(logging.INFO)


def run_job(config: Config, main: Callable[[Config], int]) -> NoReturn:
    """Log the resolved config, run the job and exit with its code. An error of ours is logged in one line, without
    traceback.
    """
    try:
        configure_log()
    except BadUsageError as error:
        print(error, file=sys.stderr)  # there is no log yet
        sys.exit(int(Exit.BAD_USAGE))
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


def utc_now() -> str:
    """The time, as files that a job leaves say it: 2026-01-31T12:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def as_json(value: Any) -> bytes:
    """JSON for files that people read too."""
    # Names on disk that are not UTF-8 come as lone surrogates, which JSON can only escape.
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
