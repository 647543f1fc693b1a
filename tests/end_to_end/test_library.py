"""A messy library through the real job: every file has its line, and what could be coloured is."""

import io
import json
import os
import random
import re
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from tests import fuzz
from tests.archives import epub, overlapping, packed, rar5, rar5_encrypted, rar5_parts, tarred, zipped
from tests.local_machine import LocalMachine

REAL = Path(os.environ.get("MANGAHUE_REAL_ARCHIVES", "/nonexistent"))  # a folder of archives that people have made
_PAGE_RNG = random.Random(5)
PAGES = {f"{i}.png": fuzz.draw(_PAGE_RNG) for i in range(3)}


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def huge_png() -> bytes:
    """A whole PNG but for its size, which says 60,000 x 60,000."""
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "PNG")
    data = bytearray(out.getvalue())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def twice(name: str) -> bytes:
    """An archive whose members have one name."""
    data = zipped({f"{i}{name[1:]}": page for i, page in enumerate(PAGES.values())}, zipfile.ZIP_STORED)
    for i in range(len(PAGES)):
        data = data.replace(f"{i}{name[1:]}".encode(), name.encode())
    return data


BAD: dict[str, tuple[Callable[[Path], bytes], str, str]] = {  # file: how it is made, its status, a code
    "zero.cbr": (lambda folder: b"", "quarantined", "EMPTY"),
    "cut.cbz": (lambda folder: zipped(PAGES)[:-60], "quarantined", "CUT_OFF"),
    "crc.cbz": (lambda folder: flipped(zipped(PAGES, zipfile.ZIP_STORED), 200), "partial", "READ"),
    "html.cbz": (lambda folder: b"<html>403</html>", "quarantined", "BROKEN"),
    "secret.rar": (lambda folder: rar5_encrypted(), "quarantined", "PASSWORD"),
    "part1.rar": (lambda folder: rar5_parts(PAGES, 500)[0], "quarantined", "VOLUME"),
    "bomb.cbz": (lambda folder: overlapping(bytes(5000), 12), "quarantined", "LIMIT"),
    "ratio.cbz": (lambda folder: zipped({"1.png": bytes(2**27)}), "quarantined", "LIMIT"),
    "nested.zip": (lambda folder: zipped({"1.cbz": zipped(PAGES)}), "quarantined", "LIMIT"),
    "text.cbz": (lambda folder: zipped({"a.txt": b"a"}), "quarantined", "NO_PAGES"),
    "traversal.cbz": (lambda folder: zipped({"../../up.png": PAGES["0.png"], "/abs.png": PAGES["1.png"]}), "done", ""),
    "links.cbt": (lambda folder: tarred(PAGES), "done", ""),
    "names.cbz": (lambda folder: zipped({"\x1b]0;x\x07.png": PAGES["0.png"], "a" * 300 + ".png": PAGES["1.png"]}),
                  "done", ""),
    "twice.cbz": (lambda folder: twice("1.png"), "done", ""),
    "pixels.cbz": (lambda folder: zipped({**PAGES, "9.png": huge_png()}), "partial", "PIXELS"),
    "half.cbz": (lambda folder: zipped({**PAGES, "9.png": PAGES["0.png"][:60]}), "partial", ""),
    "not-image.cbz": (lambda folder: zipped({**PAGES, "9.jpg": b"<html>"}), "partial", "NOT_IMAGE"),
    "missing.epub": (lambda folder: epub(PAGES, absent=("1.png",)), "partial", "MISSING"),
    "drm.epub": (lambda folder: epub(PAGES, drm=True), "quarantined", "DRM"),
    "misnamed.cbz": (lambda folder: rar5(PAGES), "done", ""),
    "beheaded.7z": (lambda folder: packed(PAGES, folder / "work", "7zip")[:90], "quarantined", "BROKEN"),
    "same.cbr": (lambda folder: rar5(PAGES), "quarantined", "COLLISION"),
    "same.cbz": (lambda folder: zipped(PAGES), "done", ""),
}  # fmt: skip


def test_a_messy_library(machine: LocalMachine, model: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name, (make, _, _) in BAD.items():
        (source / name).write_bytes(make(tmp_path))
    if REAL.is_dir():
        for path in REAL.iterdir():
            shutil.copyfile(path, source / path.name)
    before = fuzz.digests(source)

    made = machine.job("colorize", "--model", str(model), "--source", str(source), "--out", str(out))

    assert made.returncode == 3, made.stdout
    fuzz.check(source, out, before, made.returncode)
    report = json.loads((out / "_mangahue/report.json").read_text())
    lines = {Path(line["source"]).name: line for line in report["lines"]}
    assert set(lines) == set(before)
    for name, (_, status, code) in BAD.items():
        line = lines[name]
        assert line["status"] == status, line
        assert code in (line["code"] or line["message"]), line
    if REAL.is_dir():
        assert lines["Captain Science #001.cb7"]["code"] == "COLLISION"
        assert lines["zip-encrypted.zip"]["code"] == "PASSWORD"
        for name in ("rar4.rar", "rar5.rar", "7zip.7z", "haruko-jpeg.epub", "test_pdf.pdf"):
            assert lines[name]["status"] == "done", lines[name]
    assert "\x1b" not in made.stdout  # no name writes to the terminal
    html = (out / "_mangahue/report.html").read_text()
    assert all(name.replace("&", "&amp;") in html for name in before)

    again = machine.job("colorize", "--model", str(model), "--source", str(source), "--out", str(out))
    assert again.returncode == 3, again.stdout
    assert "0 computed now" in again.stdout


def test_mutated_chapters(machine: LocalMachine, model: Path, tmp_path: Path) -> None:
    fuzz.write_library(tmp_path / "in", 60, seed=77)
    before = fuzz.digests(tmp_path / "in")
    made = machine.job(
        "colorize", "--model", str(model), "--source", str(tmp_path / "in"), "--out", str(tmp_path / "out")
    )
    counts = fuzz.check(tmp_path / "in", tmp_path / "out", before, made.returncode)
    assert min(counts["done"], counts["quarantined"]) > 0


def test_a_long_book_opens_in_other_readers(machine: LocalMachine, model: Path, tmp_path: Path) -> None:
    """200 pages with ComicInfo.xml: the same members, order and metadata, as 7-Zip and The Unarchiver read them."""
    rng = random.Random(3)
    sizes = "".join(f'<Page Image="{i}" ImageSize="1"/>' for i in range(200))
    info = f"<ComicInfo><Title>A long book</Title><Shelf>top</Shelf><Pages>{sizes}</Pages></ComicInfo>".encode()
    members = {"ComicInfo.xml": info, **{f"ch/p{i}.png": fuzz.draw(rng) for i in range(200)}, "credits.txt": b"by hand"}
    (tmp_path / "in").mkdir()
    (tmp_path / "in/book.cbz").write_bytes(zipped(members))

    out = tmp_path / "out"
    made = machine.job("colorize", "--model", str(model), "--source", str(tmp_path / "in"), "--out", str(out))

    assert made.returncode == 0, made.stdout
    book = out / "book.cbz"
    wanted = [name.replace(".png", ".jpg") for name in members]
    subprocess.run(["7z", "t", str(book)], check=True, capture_output=True)
    listing = subprocess.run(["7z", "l", "-slt", "-ba", str(book)], check=True, capture_output=True, text=True).stdout
    assert re.findall(r"^Path = (.+)$", listing, re.MULTILINE) == wanted
    listed = json.loads(subprocess.run(["lsar", "-json", str(book)], check=True, capture_output=True).stdout)
    assert [entry["XADFileName"] for entry in listed["lsarContents"]] == wanted
    read = subprocess.run(["unar", "-q", "-o", "-", str(book), "ComicInfo.xml"], check=True, capture_output=True).stdout
    tree = ElementTree.fromstring(read)
    kept = [tree.findtext(name) for name in ("Title", "Shelf", "BlackAndWhite")]
    assert kept == ["A long book", "top", "No"]
    with zipfile.ZipFile(book) as archive:
        told = [int(page.get("ImageSize", "")) for page in tree.iter("Page")]
        assert told == [archive.getinfo(f"ch/p{i}.jpg").file_size for i in range(200)]
