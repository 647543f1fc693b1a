"""Published files are damaged. Each damage is found, named and marked, and the next colorize repairs exactly that."""

import json
import zipfile
from pathlib import Path

import pytest

from datasets.storage import Storage, open_storage
from tests.local_machine import LocalMachine

HARM = {
    "flipped.cbz": "ALTERED",
    "deleted.cbz": "GONE",
    "one of two.cbz": "SWAPPED",
    "other of two.cbz": "SWAPPED",
    "cut.cbz": "SIZE",
    "a folder": "ALTERED",
    "page gone": "GONE",
    "no manifest.cbz": "MANIFEST",
    "harmed manifest.cbz": "MANIFEST",
}
WHOLE = ["whole.cbz", "volume/whole too.cbz"]


def write_library(series: Path, folder: Path) -> None:
    with zipfile.ZipFile(series / "ink/ch01.cbz") as archive:
        pages = [archive.read(name) for name in sorted(archive.namelist()) if name.endswith(".png")]
    for number, name in enumerate([*HARM, *WHOLE]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith(".cbz"):
            path.mkdir()
            (path / "1.png").write_bytes(pages[0])
            continue
        with zipfile.ZipFile(path, "w") as chapter:
            chapter.writestr(f"{number}.png", pages[number % len(pages)])


def do_harm(out: Storage) -> None:
    def flipped(key: str) -> bytes:
        data = bytearray(out.read(key))
        data[len(data) // 2] ^= 1
        return bytes(data)

    out.put("flipped.cbz", flipped("flipped.cbz"))
    out.delete("deleted.cbz")
    one, other = out.read("one of two.cbz"), out.read("other of two.cbz")
    out.put("one of two.cbz", other)
    out.put("other of two.cbz", one)
    out.put("cut.cbz", out.read("cut.cbz")[:-7])
    out.put("a folder/1.jpg", flipped("a folder/1.jpg"))
    out.delete("page gone/1.jpg")
    out.delete("_mangahue/chapters/no manifest.cbz.json")
    out.put("_mangahue/chapters/harmed manifest.cbz.json", flipped("_mangahue/chapters/harmed manifest.cbz.json"))
    out.put("a stranger.txt", b"not ours")


@pytest.mark.timeout(600)
def test_damage_is_found_and_mended(machine: LocalMachine, series: Path, model: Path, s3: str, tmp_path: Path) -> None:
    write_library(series, tmp_path / "in")
    out = open_storage(f"{s3}/out")
    colorize = ("--model", str(model), "--source", str(tmp_path / "in"), "--out", out.uri)
    first = machine.job("colorize", *colorize)
    assert first.returncode == 0, first.stdout
    before = {entry.key: entry.version for entry in out.list()}
    whole = machine.job("verify", "--out", out.uri)
    assert whole.returncode == 0, whole.stdout
    assert f"{len(HARM) + len(WHOLE)} chapters verified, 0 findings" in whole.stdout
    assert json.loads(out.read("_mangahue/verified.json"))["findings"] == []

    do_harm(out)
    found = machine.job("verify", "--out", out.uri)
    assert found.returncode == 3, found.stdout
    findings = json.loads(out.read("_mangahue/verified.json"))["findings"]
    assert {finding["rel"]: finding["code"] for finding in findings} == HARM
    for rel, code in HARM.items():
        assert f"{rel}: {code}" in found.stdout
    assert "a stranger.txt belongs to no chapter" in found.stdout
    assert out.stat("_SUCCESS") is None

    mended = machine.job("colorize", *colorize)
    assert mended.returncode == 0, mended.stdout
    assert f"{len(WHOLE)} done already, {len(HARM)} to do" in mended.stdout
    last = machine.job("verify", "--out", out.uri)
    assert last.returncode == 0, last.stdout
    after = {entry.key: entry.version for entry in out.list()}
    for rel in WHOLE:
        assert after[rel] == before[rel]  # not written again
    assert out.read("a stranger.txt") == b"not ours"


def test_verify_refuses_a_folder_that_is_none_of_ours(machine: LocalMachine, tmp_path: Path) -> None:
    refused = machine.job("verify", "--out", str(tmp_path))
    assert refused.returncode == 2, refused.stdout
    assert "colorize.py has not published there" in refused.stdout
