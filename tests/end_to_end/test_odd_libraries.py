"""Libraries as people have them through the real job: two chapters of each odd kind, and what becomes of them."""

import io
import json
import shutil
import subprocess
import unicodedata
import zipfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from datasets.page import decode
from jobs.parts.dataset.written import Written
from jobs.parts.ingest.config import IngestConfig
from jobs.parts.ingest.reading import read_chapter
from jobs.parts.ingest.shards import plan
from tests.archives import rar4_parts, rar5, rar5_parts, raw_zip, tarred, zipped
from tests.books import book_of, xhtml
from tests.local_machine import LocalMachine
from tests.pdfs import FIRST, SHOWN, jpeg_object, made_pdf
from tests.pictures import chunk, gray_profile, mpo, saved, tiff_of, tiff_pages, with_chunk

W, H = 48, 64
LEVELS = np.kron(np.random.default_rng(3).integers(40, 216, (8, 6)).astype(np.uint8), np.ones((8, 8), np.uint8))
OTHER = LEVELS[::-1].copy()
PNG, JPEG = saved(LEVELS), saved(LEVELS, "JPEG", quality=95)
PAGES = {"1.png": PNG, "2.png": PNG, "3.png": PNG}
TAGS = b'{"ComicBookInfo/1.0":{"series":"S"}}'
FLOATS = LEVELS.astype(np.float32) / 255
NAME = "ポケモンガ"
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, NAME) for form in ("NFC", "NFD"))
STYLE = "<style>.p{background:url('../1.png')}</style>"


def _pdf(entries: bytes, more: bytes = b"") -> bytes:
    page = (b"/MediaBox [0 0 48 64] " + entries + SHOWN, b"q 48 0 0 64 0 0 cm /I Do Q")
    return made_pdf([page], {FIRST: jpeg_object(JPEG, W, H, more)})


def _listed_twice(data: bytes) -> bytes:
    """The ZIP with its last member listed again."""
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as archive:
        archive.filelist.append(archive.filelist[-1])
        archive._didModify = True  # type: ignore[attr-defined]
    return out.getvalue()


def _parts(names: list[str], parts: list[bytes]) -> dict[str, bytes]:
    return dict(zip(names, parts, strict=False))


INFO = b'<?xml version="1.0"?><ComicInfo><Title>T</Title>%s</ComicInfo>'
RAW = {name: [(f"{name}{number}.png".encode(codec), PNG) for number in (1, 2)]
       for codec, name in (("cp932", "能登の表"), ("cp949", "원피스"))}  # fmt: skip

# The files of the library.
FILES: dict[str, bytes] = {
    "bytes/names.cbz": zipped({"1.jfif": JPEG, "2.jpg_large": JPEG, "3.jpg!t800": JPEG, "4": PNG, "5.txt": b"x"}),
    "bytes/folder/1": PNG,
    "metadata/text.cbz": zipped({"1.png": with_chunk(PNG, chunk(b"tEXt", b"Software\0x", crc=1))}),
    "metadata/profile.cbt": tarred({"1.jpg": saved(LEVELS, "JPEG", icc_profile=b"none", exif=b"Exif\0\0none")}),
    "several/phone.cbz": zipped({"1.jpg": mpo(LEVELS, OTHER)}),
    "several/fax.cbz": zipped({"1.tif": tiff_pages([LEVELS, OTHER]), "2.png": PNG}),
    "tones/floats.cbz": zipped({"1.tif": tiff_of(FLOATS, samples=3)}),
    "tones/profiles.cbz": zipped({
        "1.png": saved(LEVELS, icc_profile=gray_profile(1.0)),
        "2.png": saved(Image.fromarray(LEVELS).convert("LA"), icc_profile=gray_profile(1.0)),
    }),
    "tones/none.cbz": zipped({"1.tif": tiff_of(FLOATS - 3, samples=3), "2.png": PNG}),
    "pdf/half.pdf": _pdf(b"/CropBox [0 0 24 64] "),
    "pdf/negative.pdf": _pdf(b"", b"/Decode [1 0]"),
    "epub/ways.epub": book_of({
        "1.xhtml": xhtml('<p class="p">&nbsp;</p>', STYLE), "2.xhtml": xhtml('<img src="../a&amp;b.png"/>'),
        "3.xhtml": xhtml('<s:svg xmlns:s="http://www.w3.org/2000/svg"><s:image xlink:href="../3.PNG"/></s:svg>'),
    }, {"1.png": PNG, "a&b.png": PNG, "3.png": PNG}),
    "epub/lost.epub": book_of({
        "1.xhtml": xhtml('<object data="../1.png"/>'), "2.xhtml": xhtml('<img src="../gone.png"/>'),
    }, {"1.png": PNG}),
    "nas/ch.cbz": zipped({"1.png": PNG, "@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg": JPEG}),
    "nas/@eaDir/ch.cbz": zipped(PAGES),
    "nas/#recycle/old.cbz": zipped(PAGES),
    "nas/.stversions/ch~1.cbr": rar5({**PAGES, "$RECYCLE.BIN/1.png": PNG}),
    "nas/bin.cbr": rar5({"1.png": PNG, "$RECYCLE.BIN/1.png": PNG}),
    "disks/windows.cbz": raw_zip([("ch\\", b""), ("ch\\1.png", PNG), ("ch\\2.png", PNG)]),
    "disks/twins.cbz": raw_zip([("a/1.png", PNG), ("A/1.PNG", PNG), ("a", b"text")]),
    "comments/ch.cbz": raw_zip([("1.png", PNG)], TAGS),
    "comments/ch2.cbr": rar5({"1.png": PNG}, comment=TAGS),
    "encodings/japanese.cbz": raw_zip(RAW["能登の表"]),
    "encodings/korean.cbz": raw_zip(RAW["원피스"]),
    f"forms/{COMPOSED}.cbz": zipped({f"{COMPOSED}.png": PNG}),
    f"forms/{DECOMPOSED}2.cbz": zipped({f"{DECOMPOSED}.png": PNG, f"{COMPOSED}.png": PNG}),
    "twice/ch.cbz": _listed_twice(zipped(PAGES)),
    "twice/book.epub": _listed_twice(book_of({"1.xhtml": xhtml('<img src="../1.png"/>')}, {"1.png": PNG})),
    "info/pages.cbz": zipped({"1.png": PNG, "ComicInfo.xml": INFO % b'<Pages><Page Image="0"/></Pages>'}),
    "info/tags.cbz": zipped({"1.png": PNG, "ComicInfo.xml": INFO % b"<Tags>x</Tags><GTIN>1</GTIN>"}),
    **_parts(["parts/new.part1.rar", "parts/new.part2.rar", "parts/new.part3.rar"], rar5_parts(PAGES, len(PNG) + 9)),
    **_parts(["parts/old.rar", "parts/old.r00", "parts/old.r01"], rar4_parts(PAGES, len(PNG) + 9)),
    "parts/alone.part2.rar": rar5_parts(PAGES, len(PNG) + 9)[1],
    "nested/volume.zip": zipped({"1.cbz": zipped(PAGES), "2.cbz": zipped(PAGES)}),
    "nested/volume.cbt": tarred({"1.pdf": _pdf(b"")}),
    "cover/cover.jpg": JPEG,
    "cover/series.json": b"{}",
    "cover/ch.cbz": zipped(PAGES),
    "cover/extras/1.png": PNG,
}  # fmt: skip

# What becomes of them, by the chapter's name: status, a word of the report, members.
ALL = ["1.jpg", "2.jpg", "3.jpg"]
BECOMES: dict[str, tuple[str, str, list[str]]] = {
    "bytes/names.cbz": ("done", "", ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.txt"]),
    "bytes/folder": ("done", "", ["1.jpg"]),
    "metadata/text.cbz": ("done", "", ["1.jpg"]),
    "metadata/profile.cbt": ("done", "", ["1.jpg"]),
    "several/phone.cbz": ("done", "", ["1.jpg"]),
    "several/fax.cbz": ("partial", "SEVERAL", ["1.tif", "2.jpg"]),
    "tones/floats.cbz": ("done", "", ["1.jpg"]),
    "tones/profiles.cbz": ("done", "", ["1.jpg", "2.jpg"]),
    "tones/none.cbz": ("partial", "RANGE", ["1.tif", "2.jpg"]),
    "pdf/half.pdf": ("done", "", ["0001.jpg"]),
    "pdf/negative.pdf": ("done", "", ["0001.jpg"]),
    "epub/ways.epub": ("done", "", ["0001 1.jpg", "0002 a&b.jpg", "0003 3.jpg"]),
    "epub/lost.epub": ("partial", "MISSING", ["0001 1.jpg", "0002 gone.png"]),
    "nas/ch.cbz": ("done", "SYNOPHOTO", ["1.jpg"]),
    "nas/bin.cbr": ("done", "RECYCLE", ["1.jpg"]),
    "disks/windows.cbz": ("done", "", ["ch/1.jpg", "ch/2.jpg"]),
    "disks/twins.cbz": ("done", "", ["a/1.jpg", "A/1 (2).jpg", "a (2)"]),
    "comments/ch.cbz": ("done", "", ["1.jpg"]),
    "comments/ch2.cbr": ("done", "", ["1.jpg"]),
    "encodings/japanese.cbz": ("done", "Shift-JIS", ["能登の表1.jpg", "能登の表2.jpg"]),
    "encodings/korean.cbz": ("done", "EUC-KR", ["원피스1.jpg", "원피스2.jpg"]),
    f"forms/{COMPOSED}.cbz": ("done", "", [f"{COMPOSED}.jpg"]),
    f"forms/{DECOMPOSED}2.cbz": ("done", "", [f"{DECOMPOSED}.jpg", f"{COMPOSED} (2).jpg"]),
    "twice/ch.cbz": ("done", "", ALL),
    "twice/book.epub": ("done", "", ["0001 1.jpg"]),
    "info/pages.cbz": ("done", "", ["1.jpg", "ComicInfo.xml"]),
    "info/tags.cbz": ("done", "", ["1.jpg", "ComicInfo.xml"]),
    "parts/new.part1.rar": ("done", "", ALL),
    "parts/old.rar": ("done", "", ALL),
    "parts/alone.part2.rar": ("quarantined", "VOLUME", []),
    "nested/volume.zip": ("quarantined", "LIMIT", []),
    "nested/volume.cbt": ("quarantined", "LIMIT", []),
    "cover": ("done", "", ["cover.jpg", "series.json"]),
    "cover/ch.cbz": ("done", "", ALL),
    "cover/extras": ("done", "", ["1.jpg"]),
}
PROGRAMS = (["7z", "t"], ["unzip", "-tqq"], ["bsdtar", "-tf"])


def library_in(folder: Path) -> Path:
    source = folder / "in"
    for name, data in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    return source


def test_libraries_as_people_have_them(machine: LocalMachine, model: Path, tmp_path: Path) -> None:
    source, out = library_in(tmp_path), tmp_path / "out"
    arguments = ("--model", str(model), "--source", str(source), "--out", str(out))

    made = machine.job("colorize", *arguments)

    assert made.returncode == 3, made.stdout
    assert "3 files of" in made.stdout
    report = json.loads((out / "_mangahue/report.json").read_text())
    lines = {str(Path(line["source"]).relative_to(source)): line for line in report["lines"]}
    assert set(lines) == set(BECOMES)
    for name, (status, word, members) in BECOMES.items():
        line = lines[name]
        assert (line["status"], word in json.dumps(line, ensure_ascii=False)) == (status, True), (name, line)
        assert (name, members_of(line["output"])) == (name, members)
    assert "0 computed now" in machine.job("colorize", *arguments).stdout

    shows(out / "several/phone.cbz", "1.jpg", LEVELS)
    shows(out / "tones/floats.cbz", "1.jpg", LEVELS)
    shows(out / "pdf/half.cbz", "0001.jpg", LEVELS[:, :24])
    shows(out / "pdf/negative.cbz", "0001.jpg", 255 - LEVELS)
    first, second = (decode(page) for page in contents(out / "tones/profiles.cbz").values())
    assert np.array_equal(first, second)
    for name in ("comments/ch.cbz", "comments/ch2.cbz"):
        with zipfile.ZipFile(out / name) as archive:
            assert archive.comment == TAGS
    orders = [["Title", "Notes", "BlackAndWhite", "Pages"], ["Title", "Notes", "Tags", "BlackAndWhite", "GTIN"]]
    for name, wanted in zip(("info/pages.cbz", "info/tags.cbz"), orders, strict=True):
        info = ElementTree.fromstring(contents(out / name)["ComicInfo.xml"])
        assert [element.tag for element in info] == wanted


def test_ingest_reads_the_same(tmp_path: Path) -> None:
    written = Written()
    chapters = plan(IngestConfig(gray=str(library_in(tmp_path)), out="out", holdout="0"))
    pages = {chapter.gray.ref.rel: len(list(read_chapter(chapter, written))) for chapter in chapters if chapter.gray}
    coloured = {name: sum(member.endswith(".jpg") for member in members) for name, (_, _, members) in BECOMES.items()}
    assert pages == coloured
    codes = Counter(failure["code"] for failure in written.failures)
    assert codes == {"SEVERAL": 1, "RANGE": 1, "MISSING": 1, "VOLUME": 1, "LIMIT": 2}
    assert written.unfinished == 0


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def members_of(output: str) -> list[str]:
    """The members of an output, which every program that is here opens; of a folder its files but for archives."""
    if not output.endswith(".cbz"):
        files = Path(output).iterdir() if output else ()
        return sorted(path.name for path in files if path.is_file() and path.suffix != ".cbz")
    for program in PROGRAMS:
        if shutil.which(program[0]):
            subprocess.run([*program, output], check=True, capture_output=True)
    return list(contents(Path(output)))


def shows(path: Path, name: str, wanted: np.ndarray) -> None:
    """Assert that a page has these levels, whatever its size."""
    page = decode(contents(path)[name])
    small = np.asarray(Image.fromarray(page).convert("L").resize(wanted.shape[::-1], Image.Resampling.BOX))
    assert np.abs(small.astype(float) - wanted).mean() < 10, name
