"""Names of members: none leads out of the output, and none is lost."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.names import is_junk, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("ch 1/p01.jpg", "ch 1/p01.jpg"),
        ("第1話/カラー.png", "第1話/カラー.png"),
        ("../../etc/passwd.jpg", "etc/passwd.jpg"),
        ("/root/1.jpg", "root/1.jpg"),
        ("C:\\Users\\me\\1.jpg", "Users/me/1.jpg"),
        ("a\\..\\1.jpg", "a/1.jpg"),
        ("a//./1.jpg", "a/1.jpg"),
        ("1\n\x1b[31m.jpg", "1__[31m.jpg"),
        ("gpj\u202e.exe.jpg", "gpj_.exe.jpg"),
        ("..", "unnamed"),
    ],
)
def test_unsafe_names_are_made_safe_and_others_stay(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_long_names_are_cut_and_told_apart() -> None:
    first, second = safe_name("a" * 300 + "1.jpg"), safe_name("a" * 300 + "2.jpg")
    assert first != second
    assert len(first.encode()) <= 240
    assert first.endswith(".jpg")
    assert len(safe_name("/".join(["漢" * 70] * 9) + "/1.jpg").encode()) <= 900


@given(st.text(st.characters(codec="utf-8"), max_size=400))
def test_any_name_is_relative_visible_and_stays_so(name: str) -> None:
    safe = safe_name(name)
    parts = PurePosixPath(safe).parts
    assert safe
    assert not safe.startswith("/")
    assert not {"..", "."} & set(parts)
    assert "\\" not in safe
    assert all(len(part.encode()) <= 240 for part in parts)
    assert safe_name(safe) == safe


def test_junk() -> None:
    assert is_junk("a/__MACOSX/1.jpg")
    assert is_junk("a/THUMBS.DB")
    assert not is_junk("a/1.jpg")
