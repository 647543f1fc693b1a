"""Bad input on its way through the stages: each ends as docs/errors.md says."""

import io
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pypdfium2
import pytest
from PIL import Image

import models
from datasets.archive import ChapterRef, Kind, find_chapters
from datasets.limits import Limits
from datasets.page import ImageFormat, decode
from imaging.color import to_lab
from jobs.parts.colorize import comic_info, page_steps
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.plan import output_of
from jobs.parts.colorize.tasks import Chunk
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.runtime.sandbox import sandbox
from jobs.parts.source.policy import Policy
from tests import crashing
from tests.archives import epub, packed, rar5, tarred, zipped
from tests.jobs.colorize.chapters import (
    COMIC_INFO,
    FINGERPRINT,
    LONG,
    LONG_OUT,
    SIZE,
    color,
    color_chapter,
    color_page,
    gray_levels,
    gray_page,
    members_of,
    saved,
    stages_of,
    task_of,
)
from tests.jobs.colorize.test_stages import variant

__all__ = ["variant"]  # the fixture


def result(folder: Path, variant: models.Variant, name: str, data: bytes, policy: Policy | None = None) -> Manifest:
    """The outcome of one chapter after all stages."""
    return color(task_of(str(folder), {name: data}, policy or Policy()), str(folder), variant)


def published(folder: Path, name: str = "ep.cbz") -> dict[str, bytes]:
    return members_of((folder / "out" / name).read_bytes())


def sandbox_children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "jobs.parts.runtime.sandbox" in child.cmdline()]


@pytest.mark.parametrize("name", ["ep.cbr", "ep.cb7", "ep.cbt", "ep.tar.gz", "ep.epub"])
def test_every_format_becomes_a_cbz(tmp_path: Path, variant: models.Variant, name: str) -> None:
    pages = {"1.png": gray_page(1), "2.png": color_page(), "10.png": gray_page(3)}
    made = {
        "ep.cbr": lambda: rar5(pages), "ep.cb7": lambda: packed(pages, tmp_path / "a.7z", "7zip"),
        "ep.cbt": lambda: tarred(pages), "ep.tar.gz": lambda: tarred(pages, "w:gz"), "ep.epub": lambda: epub(pages),
    }  # fmt: skip
    manifest = result(tmp_path, variant, name, made[name]())
    assert (manifest.status, manifest.rel, manifest.output) == ("done", name, "ep.cbz")
    got = published(tmp_path)
    assert [page.action for page in manifest.pages] == ["coloured", "kept", "coloured"]
    assert list(got.values())[1] == pages["2.png"]
    assert [decode(data).shape for data in got.values()] == [(56, 40, 3)] * 3


def test_a_long_solid_archive_goes_by_chunks(tmp_path: Path, variant: models.Variant) -> None:
    task = task_of(str(tmp_path), {"ep.cb7": packed(LONG, tmp_path / "a.7z", "7zip")})
    assert color(task, tmp_path, variant).status == "done"
    assert list(published(tmp_path)) == LONG_OUT


def test_strict_refuses_what_would_be_partial(tmp_path: Path, variant: models.Variant) -> None:
    data = zipped({"1.png": gray_page(), "2.png": gray_page(2)[:300]})
    refused = result(tmp_path, variant, "ep.cbz", data, Policy(strict=True))
    assert (refused.status, refused.code) == ("quarantined", "TRUNCATED")
    assert "2.png" in refused.message
    assert not (tmp_path / "out/ep.cbz").exists()
    ledger = Ledger(str(tmp_path / "out"), FINGERPRINT)
    (ref,) = find_chapters(str(tmp_path / "in"))
    assert ledger.covers(refused, ref, Policy(strict=True).digest())
    assert not ledger.covers(refused, ref, Policy().digest())
    assert result(tmp_path, variant, "ep.cbz", data).status == "partial"


def test_salvage_publishes_what_is_there(tmp_path: Path, variant: models.Variant) -> None:
    whole = zipped({f"{i}.png": gray_page(i) for i in range(4)})
    data = whole[: whole.index(b"3.png") + 300]
    refused = result(tmp_path, variant, "ep.cbz", data)
    assert (refused.status, refused.code) == ("quarantined", "CUT_OFF")
    assert "3 of its pages" in refused.message

    saved_part = result(tmp_path, variant, "ep.cbz", data, Policy(salvage=True))
    assert (saved_part.status, saved_part.code) == ("partial", "CUT_OFF")
    assert [page.action for page in saved_part.pages] == ["coloured"] * 3 + ["flagged"]
    assert list(published(tmp_path)) == ["0.jpg", "1.jpg", "2.jpg", "3.png"]


def test_a_source_that_changes_meanwhile_is_not_published(tmp_path: Path, variant: models.Variant) -> None:
    task = task_of(str(tmp_path), {"ep.cbz": zipped({"1.png": gray_page()})})
    stages = stages_of(tmp_path)

    def change_the_source(chunk: Chunk) -> Chunk:
        (tmp_path / "in/ep.cbz").write_bytes(zipped({"1.png": gray_page(9)}))
        chunk.pages[0].chroma = np.zeros((SIZE, SIZE, 2), np.float16)
        return chunk

    outcome = color_chapter(task, stages, change_the_source)
    assert (outcome.status, outcome.code) == ("failed", "CHANGED")
    assert not (tmp_path / "out/ep.cbz").exists()
    (ref,) = find_chapters(str(tmp_path / "in"))
    assert stages.ledger.manifest(ref.rel) is None  # the next run colours it


def test_a_page_that_takes_too_long_is_kept(tmp_path: Path, variant: models.Variant) -> None:
    slow = saved(np.zeros((9000, 9000), np.uint8))
    sandbox().close()
    sandbox().call(page_steps.see, gray_page(), SIZE, "page", 10**6, seconds=60)  # the child has loaded its libraries
    policy = Policy(limits=Limits(seconds=0.3))
    manifest = result(tmp_path, variant, "ep.cbz", zipped({"1.png": slow, "2.png": gray_page()}), policy)
    assert (manifest.pages[0].action, manifest.pages[0].code) == ("flagged", "TIMEOUT")
    assert published(tmp_path)["1.png"] == slow


def test_a_page_that_crashes_its_decoder_is_kept(
    tmp_path: Path, variant: models.Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_steps, "see", crashing.see_or_crash)
    pages = {"1.png": crashing.POISON, "2.png": gray_page()}
    manifest = result(tmp_path, variant, "ep.cbz", zipped(pages))
    assert [(page.action, page.code) for page in manifest.pages] == [("flagged", "CRASHED"), ("coloured", "")]
    assert published(tmp_path)["1.png"] == pages["1.png"]


def test_what_can_not_be_encoded_is_kept(tmp_path: Path, variant: models.Variant) -> None:
    tall = saved(gray_levels(1, 17000, 20))
    task = task_of(str(tmp_path), {"ep.cbz": zipped({"1.png": tall, "2.png": gray_page()})})
    manifest = color(task, tmp_path, variant, "webp")
    assert [(page.action, page.code) for page in manifest.pages] == [("flagged", "FORMAT"), ("coloured", "")]
    assert published(tmp_path)["1.png"] == tall


def huge_header() -> bytes:
    """A PNG whose header says that it is 60,000 x 60,000."""
    data = bytearray(saved(gray_levels()))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def animation() -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(gray_levels(i)) for i in range(3)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def test_odd_pages(tmp_path: Path, variant: models.Variant) -> None:
    pages = {
        "01.png": huge_header(),
        "02.jpg": b"<html>",
        "03.gif": animation(),
        "04.png": saved(np.zeros((1, 1), np.uint8)),
        "05.png": saved(np.full((50, 40), 255, np.uint8)),
        "06.png": saved(np.zeros((50, 40), np.uint8)),
        "07.png": saved(gray_levels(7, 20_000, 80)),
        "08.png": b"",
    }
    manifest = result(tmp_path, variant, "ep.cbz", zipped(pages))
    assert manifest.status == "partial"
    got = published(tmp_path)
    told = {page.name: (page.action, page.code) for page in manifest.pages}
    assert told["01.png"] == ("flagged", "PIXELS")
    assert told["02.jpg"] == told["08.png"] == ("flagged", "NOT_IMAGE")
    assert told["03.gif"] == ("kept", "")
    for name in ("01.png", "02.jpg", "03.gif", "08.png"):
        assert got[name] == pages[name]
    for name in ("04", "05", "06", "07"):
        assert told[f"{name}.png"] == ("coloured", "")
        assert decode(got[f"{name}.jpg"]).shape[:2] == decode(pages[f"{name}.png"]).shape[:2]


def test_a_tall_strip_has_no_seam(tmp_path: Path, variant: models.Variant) -> None:
    strip = np.full((20_000, 80), 180, np.uint8)
    task = task_of(str(tmp_path), {"ep.cbz": zipped({"1.png": saved(strip)})})
    color(task, tmp_path, variant, "png")
    page = decode(published(tmp_path)["1.png"]).astype(int)
    assert page.shape == (20_000, 80, 3)
    assert np.abs(np.diff(page, axis=0)).max() <= 2  # where the ink has no edge, the colour has none either


def test_unsafe_names_are_changed_and_mapped(tmp_path: Path, variant: models.Variant) -> None:
    names = ["../../evil.png", "/abs.png", "C:\\win.png", "a\x1b[2J.png", "b\u202egnp.png", "c" * 300 + ".png"]
    manifest = result(tmp_path, variant, "ep.cbz", zipped({name: gray_page() for name in names}))
    assert manifest.status == "done"
    assert [page.name for page in manifest.pages] == names
    outputs = [page.output for page in manifest.pages]
    assert outputs[:5] == ["evil.jpg", "abs.jpg", "win.jpg", "a_[2J.jpg", "b_gnp.jpg"]
    assert len(outputs[5]) <= 240
    assert list(published(tmp_path)) == outputs
    assert any("unsafe names" in warning for warning in manifest.warnings)


def test_a_hostile_comic_info_is_kept_with_a_warning(tmp_path: Path, variant: models.Variant) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><ComicInfo><Title>&b;</Title></ComicInfo>'
    manifest = result(tmp_path, variant, "ep.cbz", zipped({"1.png": gray_page(), "ComicInfo.xml": bomb}))
    assert published(tmp_path)["ComicInfo.xml"] == bomb
    assert any("ComicInfo.xml" in warning for warning in manifest.warnings)


@pytest.mark.parametrize("long", [False, True])
def test_a_comic_info_that_crashes_its_reader_is_kept(
    tmp_path: Path, variant: models.Variant, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    monkeypatch.setattr(comic_info, "mark_colored", crashing.mark_or_crash)
    poison = COMIC_INFO.replace(b"top", b"poison")
    files = LONG if long else {"1.png": gray_page()}
    manifest = result(tmp_path, variant, "ep.cbz", zipped({**files, "ComicInfo.xml": poison}))
    assert manifest.status == "done"
    assert published(tmp_path)["ComicInfo.xml"] == poison
    (warning,) = manifest.warnings
    assert "ComicInfo.xml is kept as it is: CRASHED" in warning


def test_a_comic_info_of_many_elements_is_kept(tmp_path: Path, variant: models.Variant) -> None:
    info = b"<ComicInfo><Pages>" + b"<Page/>" * 200_000 + b"</Pages></ComicInfo>"
    manifest = result(tmp_path, variant, "ep.cbz", zipped({"1.png": gray_page(), "ComicInfo.xml": info}))
    assert published(tmp_path)["ComicInfo.xml"] == info
    (warning,) = manifest.warnings
    assert "more than 100000 elements" in warning


def test_sizes_in_comic_info_are_those_of_the_output(tmp_path: Path, variant: models.Variant) -> None:
    info = b'<ComicInfo><Pages><Page Image="0" ImageSize="1" ImageWidth="1" ImageHeight="1"/></Pages></ComicInfo>'
    result(tmp_path, variant, "ep.cbz", zipped({"ComicInfo.xml": info, "1.png": gray_page()}))
    got = published(tmp_path)
    assert f'ImageSize="{len(got["1.jpg"])}" ImageWidth="40" ImageHeight="56"'.encode() in got["ComicInfo.xml"]


def test_memory_stays_bounded_by_a_bomb(tmp_path: Path, variant: models.Variant) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("1.png", "w") as out:
        for _ in range(300):
            out.write(bytes(2**20))
    sandbox().close()
    manifest = result(tmp_path, variant, "ep.cbz", bomb.getvalue())
    assert (manifest.status, manifest.code) == ("quarantined", "LIMIT")
    (child,) = sandbox_children()
    assert child.memory_info().rss < 250 * 2**20  # its libraries take about 150 MB


def test_outputs() -> None:
    def output(rel: str, kind: Kind = "archive") -> str:
        return output_of(ChapterRef("/in", rel, rel, kind, 1, "v"))

    assert output("v 1/a.b.cbr") == "v 1/a.b.cbz"
    assert output("a.tar.gz") == "a.cbz"
    assert output("a.PDF") == "a.cbz"
    assert output("a.ZIP") == "a.ZIP"
    assert output("a.cbr", "folder") == "a.cbr"
    assert output_of(ChapterRef("/in", "a.pdf", "a.pdf", "archive", 1, "v"), keep_format=True) == "a.pdf"


@pytest.mark.parametrize("image_format", ["jpeg", "png"])
def test_a_pdf_may_stay_a_pdf(tmp_path: Path, image_format: ImageFormat) -> None:
    first, second = Image.fromarray(gray_levels(1)), Image.open(io.BytesIO(color_page()))
    out = io.BytesIO()
    first.save(out, "PDF", save_all=True, append_images=[second, first], title="The Title")
    task = task_of(str(tmp_path), {"ep.pdf": out.getvalue()}, Policy(keep_format=True))
    task = replace(task, output="ep.pdf")

    def one_colour(chunk: Chunk) -> Chunk:
        for page in chunk.pages:
            page.chroma = np.full((SIZE, SIZE, 2), 30, np.float16)
        return chunk

    manifest = color_chapter(task, stages_of(tmp_path, PageSettings(image_format)), one_colour)
    assert manifest.status == "done", manifest
    assert [page.action for page in manifest.pages] == ["coloured", "kept", "coloured"]
    document = pypdfium2.PdfDocument(tmp_path / "out/ep.pdf")
    assert document.get_metadata_dict()["Title"] == "The Title"
    assert [document[i].get_size() for i in range(3)] == [pypdfium2.PdfDocument(out)[i].get_size() for i in range(3)]
    drawn = np.asarray(document[0].render(scale=1).to_pil())
    source = np.asarray(pypdfium2.PdfDocument(out)[0].render(scale=1).to_pil().convert("L"))
    assert np.ptp(drawn.astype(int), axis=2).max() > 30  # in colour
    assert np.abs(to_lab(drawn)[..., 0] - to_lab(np.repeat(source[..., None], 3, axis=2))[..., 0]).mean() < 8


def test_with_keep_format_what_is_only_called_pdf_is_refused(tmp_path: Path, variant: models.Variant) -> None:
    task = task_of(str(tmp_path), {"ep.pdf": zipped({"1.png": gray_page()})}, Policy(keep_format=True))
    manifest = color(replace(task, output="ep.pdf"), tmp_path, variant)
    assert (manifest.status, manifest.code) == ("quarantined", "BROKEN")
