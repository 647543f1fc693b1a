"""Names of members in the output: all of them can exist on one disk of Linux, Windows or macOS."""

import shutil
import subprocess
import unicodedata
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from datasets.archive import write_zip
from datasets.names import safe_name
from datasets.page import ImageFormat
from jobs.parts.colorize.member_names import output_names
from tests.archives import packed, raw_zip, tarred
from tests.jobs.colorize.chapters import SIZE, color, gray_page, task_of

CLASHES = {
    "a file and a folder": ["ch1", "ch1/001.png", "ch1/002.png"],
    "a folder that only a coloured page meets": ["1.png", "1.jpg/2.png"],
    "a folder entry of Windows": ["ch1\\", "ch1\\001.png", "ch1\\002.png"],
    "case": ["A/1.png", "a/1.png", "A/1.PNG", "Straße.png", "STRASSE.png"],
    "Unicode form": ["\u30ac/\u30dd.png", "\u30ab\u3099/\u30db\u309a.png", "\xe9.png", "e\u0301.png"],
    "case and Unicode form": ["\xc9.png", "e\u0301.png", "\u30ac.PNG", "\u30ab\u3099.png"],
    "ends that Windows drops": ["1.png", "1.png.", "1.png ", "ch1./2.png", "ch1", "ch1 /2.png"],
    "letters that Windows has not": ["a?.png", "a*.png", "a_.png", "a:b.png", "a|b.png"],
    "devices of Windows": ["con.png", "CON.jpg", "aux/1.png", "nul", "com1.tar.png"],
    "equal names": ["1.png", "1.png", "1.png", "1 (2).png"],
}


def windows(name: str) -> str:
    """The path that Python's zipfile unpacks a member to on Windows, as its file systems compare it."""
    sanitized: Any = zipfile.ZipFile._sanitize_windows_name  # type: ignore[attr-defined]
    return "/".join(part.rstrip(" .") for part in sanitized(name.replace("/", "\\"), "\\").split("\\")).lower()


def mac(name: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def check_apart(names: list[str]) -> None:
    for rule in (windows, mac, str):
        files = [rule(name) for name in names]
        folders = {rule(str(parent)) for name in names for parent in PurePosixPath(name).parents}
        assert len(set(files)) == len(files), rule
        assert folders.isdisjoint(files), rule


@pytest.mark.parametrize("image_format", ["jpeg", "png"])
@pytest.mark.parametrize("names", CLASHES.values(), ids=CLASHES)
def test_names_that_clash_are_told_apart(names: list[str], image_format: ImageFormat) -> None:
    safe = [safe_name(name) for name in names if not name.endswith("\\")]
    found = output_names(safe, image_format)
    for coloured in (False, True):
        check_apart([pair[coloured] for pair in found])
    check_apart([pair[number % 2] for number, pair in enumerate(found)])
    assert not any(PurePosixPath(part).stem.lower() == "con" for kept, _ in found for part in PurePosixPath(kept).parts)


parts = st.text(st.sampled_from("aAé\u0301eÉ.. ?*か\u3099がßsS1"), min_size=1, max_size=3)
paths = st.lists(st.lists(parts, min_size=1, max_size=3).map("/".join), min_size=1, max_size=8)


@settings(max_examples=300)
@given(paths, st.sets(st.integers(0, 7)))
def test_any_names_are_told_apart(names: list[str], coloured: set[int]) -> None:
    found = output_names([safe_name(name) for name in names], "jpeg")
    check_apart([pair[number in coloured] for number, pair in enumerate(found)])


def test_names_without_a_clash_stay_as_they_are() -> None:
    names = ["p1.png", "sub/p1.png", "SUB/p2.png", "か\u3099.png", "第1話/a?.jpeg", "trailing ./1.png"]
    assert [kept for kept, _ in output_names(names, "jpeg")] == names
    assert [name for _, name in output_names(names, "jpeg")] == [
        "p1.jpg", "sub/p1.jpg", "SUB/p2.jpg", "か\u3099.jpg", "第1話/a?.jpeg", "trailing ./1.jpg"
    ]  # fmt: skip


def test_twenty_thousand_equal_names_take_no_longer_than_others() -> None:
    found = output_names(["1.png"] * 20_000, "jpeg")
    assert len({kept for kept, _ in found}) == 20_000


def unpacked(archive: Path, folder: Path, *command: str) -> set[str]:
    folder.mkdir()
    subprocess.run([*command, str(archive)], cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return {unicodedata.normalize("NFC", str(path.relative_to(folder))) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", CLASHES)
def test_the_output_unpacks_by_every_program(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    variant = models.build("pix2pix", {"image_size": SIZE, "base_channels": 4})
    members = [(name, b"" if name.endswith("\\") else gray_page()) for name in CLASHES[kind]]
    manifest = color(task_of(str(tmp_path), {"ep.cbz": raw_zip(members)}), tmp_path, variant)
    assert manifest.status == "done"
    assert [page.name for page in manifest.pages] == [name for name, data in members if data]
    archive = tmp_path / "out/ep.cbz"
    names = {unicodedata.normalize("NFC", page.output) for page in manifest.pages}
    check_apart([page.output for page in manifest.pages])
    (tmp_path / "python").mkdir()
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "python")
    assert len([path for path in (tmp_path / "python").rglob("*") if path.is_file()]) == len(names)
    for command in (["unzip", "-q"], ["7z", "x", "-y"], ["bsdtar", "-xf"]):
        if shutil.which(command[0]):
            assert unpacked(archive, tmp_path / command[0], *command) == names


@pytest.mark.parametrize("name", ["ep.cb7", "ep.cbt"])
def test_names_of_other_archives_clash_no_less(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    variant = models.build("pix2pix", {"image_size": SIZE, "base_channels": 4})
    members = {"A.png": gray_page(), "a.png": gray_page(), "x": b"text", "x\\1.png": gray_page()}
    data = tarred(members) if name == "ep.cbt" else packed(members, tmp_path / "made", "7zip")
    manifest = color(task_of(str(tmp_path), {name: data}), tmp_path, variant)
    assert manifest.status == "done"
    check_apart([page.output for page in manifest.pages])


def test_a_zip_that_is_written_keeps_unicode_forms() -> None:
    names = ["\u30ac.png", "\u30ab\u3099.png", "e\u0301"]
    data = write_zip((name, b"") for name in names)
    assert data is not None
    assert all(name.encode() in data for name in names)
