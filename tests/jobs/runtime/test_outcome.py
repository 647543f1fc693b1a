"""Log lines, as text and as JSON: one line each, and nothing in them that a terminal would obey."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from jobs.parts.runtime import ROOT
from jobs.parts.runtime.outcome import as_json, plain_text

HOSTILE = "\x1b[2Jch1\n12:00:00 E forged\u202e.cbz"
# A job that logs names it has found, and then fails.
JOB = f"""
import logging
from dataclasses import dataclass
from datasets.errors import MangahueError
from jobs.parts.runtime.outcome import run_job

@dataclass
class Config:
    out: str = "第1話"

def main(config):
    log = logging.getLogger("mangahue")
    name = {HOSTILE!r}
    log.info("%s is done", name)
    log.warning("flagged", extra={{"chapter": name, "page": "001.png"}})
    try:
        raise ValueError(name)
    except ValueError:
        log.exception("a bug")
    raise MangahueError("no bucket")

run_job(Config(), main)
"""


def run(log_format: str | None) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "MANGAHUE_LOG_FORMAT"}
    if log_format is not None:
        environment["MANGAHUE_LOG_FORMAT"] = log_format
    return subprocess.run([sys.executable, "-c", JOB], env=environment, capture_output=True, text=True, cwd=ROOT)


def test_json_has_a_line_for_each_message() -> None:
    done = run("json")
    assert done.returncode == 1
    assert done.stderr.replace("\n", "").isprintable()
    config, found, flagged, bug, failed = map(json.loads, done.stderr.splitlines())

    assert (config["level"], config["message"]) == ("info", 'config {"out": "\\u7b2c1\\u8a71"}')
    assert found["message"] == f"{plain_text(HOSTILE)} is done"
    assert set(found) == {"time", "level", "message"}
    assert (flagged["level"], flagged["message"], flagged["page"]) == ("warning", "flagged", "001.png")
    assert flagged["chapter"] == plain_text(HOSTILE)
    assert flagged["chapter"].isprintable()
    assert (failed["level"], failed["message"]) == ("error", "no bucket")
    lines = bug["traceback"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert all(line.isprintable() for line in lines)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["time"])
    assert abs(datetime.fromisoformat(found["time"]) - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize("log_format", [None, "", "text"])
def test_text_is_the_default(log_format: str | None) -> None:
    done = run(log_format)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d I " + re.escape(plain_text(HOSTILE)) + " is done", lines[1])
    assert re.fullmatch(r"\d\d:\d\d:\d\d W flagged", lines[2])
    assert lines[-1].endswith(" E no bucket")
    assert all(line.isprintable() for line in lines)  # lines of tracebacks too


def test_unknown_format_is_bad_usage() -> None:
    done = run("yaml")
    assert (done.returncode, done.stderr) == (2, "MANGAHUE_LOG_FORMAT is 'yaml'; it is text or json\n")


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "\u202egpj", "\x07", "\udcff", "\x85"])
def test_what_can_not_be_seen_is_escaped(text: str) -> None:
    assert plain_text(text).isprintable()
    assert plain_text(text) != text


def test_what_can_be_seen_stays() -> None:
    assert plain_text("第1話 – Grün/p 1.png") == "第1話 – Grün/p 1.png"


def test_names_that_are_no_utf_8_go_into_json() -> None:
    assert b"\\udcff" in as_json({"name": "a\udcff.png"})
