"""Log lines: one line each, and nothing in them that a terminal would obey."""

import pytest

from jobs.parts.outcome import as_json, plain_text


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "\u202egpj", "\x07", "\udcff", "\x85"])
def test_what_can_not_be_seen_is_escaped(text: str) -> None:
    assert plain_text(text).isprintable()
    assert plain_text(text) != text


def test_what_can_be_seen_stays() -> None:
    assert plain_text("第1話 – Grün/p 1.png") == "第1話 – Grün/p 1.png"


def test_names_that_are_no_utf_8_go_into_json() -> None:
    assert b"\\udcff" in as_json({"name": "a\udcff.png"})
