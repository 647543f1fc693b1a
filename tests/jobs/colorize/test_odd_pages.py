"""Pages as people have them, through a job: coloured, or flagged with a code. Ingest reads them by the same door."""

from pathlib import Path

import numpy as np
import pytest
from imagecodecs import jpegxl_encode
from PIL import Image

from datasets.errors import Code
from datasets.page import decode
from jobs.parts.dataset.written import Written
from jobs.parts.ingest.config import IngestConfig
from jobs.parts.ingest.reading import read_chapter
from jobs.parts.ingest.shards import plan
from jobs.parts.ledger.manifest import Manifest
from tests.archives import zipped
from tests.jobs.colorize.chapters import gray_levels
from tests.jobs.colorize.library import Library, published
from tests.pictures import chunk, gray_profile, mpo, saved, tiff_of, tiff_pages, with_chunk

LEVELS = [gray_levels(seed) for seed in range(3)]
JPEG, PNG = saved(LEVELS[0], "JPEG"), saved(LEVELS[1])
LINEAR = gray_profile(1.0)
COLOURED = {
    "names": {"1.jfif": JPEG, "2.jpe": JPEG, "3.jpg_large": JPEG, "4.jpg!t800": JPEG, "5": PNG, "Vol. 6": PNG},
    "formats": {
        "1.jp2": saved(LEVELS[0], "JPEG2000"),
        "2.jxl": bytes(jpegxl_encode(LEVELS[1])),
        "3.pgm": saved(LEVELS[2], "PPM"),
    },
    "metadata": {
        "1.png": with_chunk(PNG, chunk(b"tEXt", b"Software\0x", crc=1)),
        "2.jpg": JPEG[:2] + b"\xff\xe0\0\7JFIF\0" + JPEG[2:],
        "3.tif": tiff_of(LEVELS[2], (34665, 4, 1, b"\xff\xff\xff\x7f")),
    },
    "several": {"1.jpg": mpo(LEVELS[0], LEVELS[1]), "2.tif": tiff_pages([LEVELS[1], LEVELS[1][::4, ::4]])},
    "tones": {
        "1.tif": tiff_of(LEVELS[0].astype(np.float32) / 255, samples=3),
        "2.png": saved(Image.fromarray(LEVELS[1]).convert("LA"), icc_profile=LINEAR),
        "3.tif": tiff_of(LEVELS[2].astype(np.uint32) * 0x01010101),
    },
}  # fmt: skip
FLAGGED = {
    Code.SEVERAL: tiff_pages(LEVELS[:2]),
    Code.RANGE: tiff_of(np.full((8, 8), np.nan, np.float32), samples=3),
    Code.UNSUPPORTED: b"II\xbc\x01" + bytes(200),
}


@pytest.fixture
def library(tmp_path: Path, model: Path) -> Library:
    return Library(tmp_path, model)


def actions(manifest: Manifest) -> dict[str, str]:
    return {page.name: page.action for page in manifest.pages}


@pytest.mark.parametrize("kind", COLOURED)
def test_they_are_coloured_in_an_archive_and_in_a_folder(library: Library, kind: str) -> None:
    pages = COLOURED[kind]
    library.put("in/ep.cbz", zipped(pages))
    for name, data in pages.items():
        library.put(f"in/folder/{name}", data)
    results = library.run()
    assert len(results) == 2
    for manifest in results.values():
        assert (manifest.status, set(actions(manifest).values())) == ("done", {"coloured"}), manifest
        for record in manifest.pages:
            page = decode(published(library, manifest.output)[record.output])
            wanted = decode(pages[record.name])
            assert page.shape == wanted.shape
            assert abs(page.mean() - wanted.mean()) < 12  # its tones, and no negative or black page


def test_a_coloured_page_has_the_name_of_its_format(library: Library) -> None:
    library.put("in/ep.cbz", zipped(COLOURED["names"]))
    library.run()
    assert list(published(library, "ep.cbz")) == ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg", "Vol. 6.jpg"]


def test_what_is_no_one_page_is_flagged_and_stays(library: Library) -> None:
    library.put("in/ep.cbz", zipped({"0.jpg": JPEG} | {f"{code}.tif": data for code, data in FLAGGED.items()}))
    manifest = library.run()["ep.cbz"]
    assert manifest.status == "partial"
    assert {page.name: page.code for page in manifest.pages if page.code in FLAGGED} == {
        f"{code}.tif": code for code in FLAGGED
    }
    made = published(library, "ep.cbz")
    assert {made[f"{code}.tif"] for code in FLAGGED} == set(FLAGGED.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", COLOURED)
def test_ingest_reads_them_too(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/ep.cbz").write_bytes(
        zipped(COLOURED[kind] | {f"z{code}.tif": data for code, data in FLAGGED.items()})
    )
    written = Written()
    (chapter,) = plan(IngestConfig(gray=str(tmp_path / "in"), out="out", holdout="0"))
    pages = list(read_chapter(chapter, written))
    assert [page.name for page in pages] == list(COLOURED[kind])
    assert all(
        (page.decode_gray() == decode(data)[..., 0]).all()
        for page, data in zip(pages, COLOURED[kind].values(), strict=True)
    )
    assert [failure["code"] for failure in written.failures] == sorted(FLAGGED)
