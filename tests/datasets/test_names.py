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


@pytest.mark.parametrize(
    "name",
    [
        "a/__MACOSX/1.jpg", "a/THUMBS.DB", "@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "a/@EADIR/1.jpg", "#recycle/ch1.cbz",
        "@Recycle/1.jpg", "$RECYCLE.BIN/S-1-5-21/$R1.cbz", "a/.Trash-1000/files/1.jpg", ".stversions/ch1~2024.cbz",
        ".@__thumb/default1.jpg", "S/.yacreaderlibrary/covers/1.jpg", "lost+found/#1.jpg", "lost+found/", ".sync/1.cbz",
        "@eaDir\\1.jpg\\T.jpg", "a/.\u5316/1.jpg", "System Volume Information/1.jpg", "a\\._1.jpg",
        "1.jpg:Zone.Identifier", "a/1.jpg@SynoEAStream", "Network Trash Folder/1.jpg",
    ],
)  # fmt: skip
def test_junk(name: str) -> None:
    assert is_junk(name)


@pytest.mark.parametrize(
    "name",
    ["a/1.jpg", "./1.jpg", "../1.jpg", "...and on/1.jpg", "#1/1.jpg", "@home/1.jpg", "a.b/1.jpg", "Recycle/1.jpg",
     "@eaDir", "lost+found", "$5/1.jpg", ".hidden.jpg", "a/eaDir/1.jpg"],
)  # fmt: skip
def test_no_junk(name: str) -> None:
    assert not is_junk(name)
