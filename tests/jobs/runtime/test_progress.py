"""What a meter says of a job's progress."""

import logging

import pytest

from jobs.parts.runtime.progress import Meter


def test_chapters_and_their_pages(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Meter("colorize", 3) as meter:
        meter.advance(1, 20)
        meter.advance(1, 22)
    assert "colorize: 2/3 chapters, 42 pages, " in caplog.messages[-1]


def test_pages_alone_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Meter("evaluate", 3, unit="pages") as meter:
        meter.advance(1, 1)
        meter.advance(1, 1)
        meter.advance(1, 1)
    (line,) = caplog.messages
    assert line.startswith("evaluate: 3/3 pages, ")
    assert line.count(" pages,") == 1
