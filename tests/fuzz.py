"""Whole libraries of mutated chapters through the real job. Nothing is lost, and nothing broken comes out.

    python -m tests.fuzz [--chapters 10000] [--seed 0]        # or: make fuzz

A library is generated, and each chapter is mutated: bytes flipped, cut, doubled, spliced with another's, or the file
renamed to another kind. An untrained network colours it. `check` then asserts what the job promises.
"""

import hashlib
import io
import json
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
from PIL import Image

from datasets.archive import find_chapters
from datasets.chapters import open_chapter
from jobs.parts.runtime import ROOT
from tests.archives import epub, packed, rar5, raw_zip, tarred, zipped
from tests.books import book_of, xhtml
from tests.pdfs import FIRST, SHOWN, jpeg_object, made_pdf
from tests.untrained import publish_untrained

SUFFIXES = (".cbz", ".cbr", ".cb7", ".cbt", ".tar.gz", ".epub", ".pdf", ".zip")
_BATCH = 500  # chapters in a library
_MOST_MEMORY = 2 * 2**30  # of one process of the job


def draw(rng: random.Random) -> bytes:
    levels = np.random.default_rng(rng.randrange(2**32)).integers(0, 255, (24, 16), np.uint8)
    out = io.BytesIO()
    Image.fromarray(levels).save(out, rng.choice(["PNG", "JPEG", "WEBP", "GIF", "BMP"]))
    return out.getvalue()


def _named_zip(pages: dict[str, bytes]) -> bytes:
    """A ZIP whose names are in an encoding that it does not tell, with folders as Windows programs write them."""
    names = [f"能登\\第{name}".encode("cp932") for name in pages]
    return raw_zip([("能登\\".encode("cp932"), b""), *zip(names, pages.values(), strict=True)], b"tags")


def _pdf(pages: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    first, *others = (Image.open(io.BytesIO(data)).convert("L") for data in pages.values())
    first.save(out, "PDF", save_all=True, append_images=others)
    return out.getvalue()


def _cropped_pdf(pages: dict[str, bytes]) -> bytes:
    """A PDF whose pages show a part of their pictures, some as negatives."""
    entries = b"/MediaBox [0 0 16 24] /CropBox [%d 0 16 24] /Rotate %d " + SHOWN
    made = [(entries % (number, number * 90), b"q 16 0 0 24 0 0 cm /I Do Q") for number in range(len(pages))]
    out = io.BytesIO()
    Image.open(io.BytesIO(next(iter(pages.values())))).convert("L").save(out, "JPEG")
    return made_pdf(made, {FIRST: jpeg_object(out.getvalue(), 16, 24, b"/Decode [1 0]")})


def _written_epub(pages: dict[str, bytes]) -> bytes:
    """A book that shows its pictures in the ways that there are."""
    ways = ('<img src="../{}"/>', "<p style=\"background:url('../{}')\"/>", '<object data="../{}">&nbsp;</object>')
    documents = {f"{name}.xhtml": xhtml(way.format(name)) for name, way in zip(pages, ways, strict=False)}
    return book_of(documents, pages)


def write_library(folder: Path, chapters: int, seed: int) -> None:
    """Write a library of mutated chapters. Equal seeds give equal libraries."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    makers: dict[str, Callable[[dict[str, bytes]], bytes]] = {
        ".cbz": zipped, ".zip": zipped, ".cbr": rar5, ".cbt": tarred, ".tar.gz": lambda m: tarred(m, "w:gz"),
        ".cb7": lambda m: packed(m, folder / ".work", "7zip"), ".epub": epub, ".pdf": _pdf,
    }  # fmt: skip
    others = {
        ".cbz": [zipped, _named_zip], ".zip": [zipped, _named_zip], ".pdf": [_pdf, _cropped_pdf],
        ".epub": [epub, _written_epub],
    }  # fmt: skip
    for number in range(chapters):
        members = {f"{i}.png": draw(rng) for i in range(rng.randint(1, 3))}
        suffix = rng.choice(SUFFIXES)
        maker = rng.choice(others.get(suffix, [makers[suffix]]))
        data = bytearray(maker(members))
        for _ in range(rng.choice([0, 1, 1, 2, 6])):
            _mutate(data, rng)
        (folder / f"{number:05d}{rng.choice(SUFFIXES) if rng.random() < 0.1 else suffix}").write_bytes(data)
    (folder / ".work").unlink(missing_ok=True)


def _mutate(data: bytearray, rng: random.Random) -> None:
    if not data:
        return
    start, end = sorted(rng.randrange(len(data)) for _ in range(2))
    how = rng.choice(["flip", "flip", "flip", "cut", "double", "splice", "erase"])
    if how == "flip":
        data[start] ^= 1 << rng.randrange(8)
    elif how == "cut":
        del data[end:]
    elif how == "double":
        data[end:end] = data[start:end]
    elif how == "splice":
        data[start:start] = rng.randbytes(rng.randrange(1, 40))
    else:
        del data[start:end]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def check(source: Path, out: Path, before: dict[str, str], status: int) -> dict[str, int]:
    """Assert what a colouring job promises for any library. Returns how many chapters ended in each status."""
    assert digests(source) == before, "a source was touched"
    report = json.loads((out / "_mangahue/report.json").read_text())
    counts: dict[str, int] = report["chapters"]
    assert counts["failed"] == 0, [line for line in report["lines"] if line["status"] == "failed"][:3]
    assert sum(counts.values()) == report["inputs"] == len(before)
    assert {Path(line["source"]).name for line in report["lines"]} == set(before)
    whole = counts["done"] == len(before)
    assert status == (0 if whole else 3 if counts["done"] or counts["partial"] else 1), (status, counts)
    refs = {ref.rel: ref for ref in find_chapters(str(source))}
    for line in report["lines"]:
        if not line["output"]:
            assert line["code"]
            continue
        rel = Path(line["source"]).name
        manifest: dict[str, Any] = json.loads((out / f"_mangahue/chapters/{rel}.json").read_text())
        with zipfile.ZipFile(line["output"]) as archive:
            assert archive.testzip() is None, line
            names = archive.namelist()
        assert names == [page["output"] for page in manifest["pages"]], line
        pages = [page["name"] for page in manifest["pages"] if page["index"] is not None]
        chapter = open_chapter(refs[rel])
        assert pages == [member.original for member in chapter.members if member.index is not None], line
        chapter.close()
    return counts


def colorize(model: Path, source: Path, out: Path, most_memory: list[int]) -> int:
    """Run the job on this machine. Returns its exit code, and notes the memory of its largest process."""
    command = [sys.executable, "jobs/colorize.py", "--model", str(model), "--source", str(source), "--out", str(out)]
    command += ["--runner", "local"]
    with (out.parent / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                try:
                    most_memory[0] = max(most_memory[0], child.memory_full_info().uss)
                except psutil.Error:
                    continue
            time.sleep(2)
    return process.returncode


@click.command(context_settings={"show_default": True})
@click.option("--chapters", default=10_000, help="Mutated chapters in all.")
@click.option("--seed", default=0, help="Of the first library; the next ones take the next numbers.")
def main(chapters: int, seed: int) -> None:
    """Run libraries of 500 mutated chapters each through the job, until there were enough."""
    done = 0
    total: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="mangahue-fuzz-") as scratch:
        model = Path(scratch) / "model"
        publish_untrained(model, base_channels=4, image_size=32)
        while done < chapters:
            count = min(_BATCH, chapters - done)
            folder = Path(scratch) / f"{seed}"
            write_library(folder / "in", count, seed)
            before, most = digests(folder / "in"), [0]
            status = colorize(model, folder / "in", folder / "out", most)
            counts = check(folder / "in", folder / "out", before, status)
            assert most[0] < _MOST_MEMORY, most
            total = {name: total.get(name, 0) + value for name, value in counts.items()}
            done += count
            seed += 1
            click.echo(f"{done} chapters: {total}; largest process {most[0] / 2**20:.0f} MB")


if __name__ == "__main__":
    main()
