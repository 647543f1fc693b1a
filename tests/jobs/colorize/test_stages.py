"""A chapter's way through the stages of colouring, with an untrained network and without Ray."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import models
from datasets.comicinfo import mark_colored
from datasets.page import ImageFormat, decode
from datasets.storage import open_storage
from imaging.color import to_lab
from jobs.parts.colorize import pipeline, tasks
from jobs.parts.colorize.hints import parse_hints
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import ChapterTask, Chunk, from_row, to_row
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.runtime.sandbox import Sandbox
from jobs.parts.runtime.sandbox import sandbox as the_sandbox
from tests.archives import rar5, raw_zip, zipped
from tests.jobs.colorize.chapters import (
    COMIC_INFO,
    FINGERPRINT,
    LONG,
    LONG_OUT,
    SIZE,
    color,
    color_chapter,
    color_page,
    gray_page,
    members_of,
    saved,
    stages_of,
    task_of,
)


@pytest.fixture(scope="module")
def variant() -> models.Variant:
    torch.manual_seed(0)
    return models.build("pix2pix", {"image_size": SIZE, "base_channels": 4})


@pytest.fixture(params=["local", "s3"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty folder on each kind of storage, for /in and /out."""
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3")


def run(task: ChapterTask, stages: Stages, variant: models.Variant, skip: Sequence[int] = ()) -> list[Chunk]:
    """Take all chunks through all stages, except those in `skip`, which stop before `postprocess`."""
    predict = Predictor(variant, 4)
    predicted = [predict(stages.prepare(opened)) for opened in stages.open(task)]
    return [stages.postprocess(chunk) for chunk in predicted if chunk.number not in skip]


def actions(manifest: Manifest) -> dict[str, str]:
    return {page.name: page.action for page in manifest.pages}


@pytest.mark.parametrize(
    "comment", [b'{"appID":"x","ComicBookInfo/1.0":{}}', "漫画".encode("cp932"), b"x" * 65_535, b""]
)
@pytest.mark.parametrize("pages", [1, tasks.CHUNK_MEMBERS + 1])
def test_the_comment_of_the_archive_is_kept(
    tmp_path: Path, variant: models.Variant, comment: bytes, pages: int
) -> None:
    source = raw_zip([(f"{number}.png", gray_page()) for number in range(pages)], comment)
    manifest = color(task_of(str(tmp_path), {"ep.cbz": source}), tmp_path, variant)
    assert manifest.status == "done"
    with zipfile.ZipFile(tmp_path / "out/ep.cbz") as archive:
        assert archive.comment == comment
        assert len(archive.namelist()) == pages


def test_the_comment_of_a_rar_archive_becomes_that_of_the_zip(tmp_path: Path, variant: models.Variant) -> None:
    color(task_of(str(tmp_path), {"ep.cbr": rar5({"1.png": gray_page()}, comment=b"tags")}), tmp_path, variant)
    assert zipfile.ZipFile(tmp_path / "out/ep.cbz").comment == b"tags"


def test_hints_and_pages_meet_in_any_unicode_form(tmp_path: Path) -> None:
    pages = {"\u30db\u309a.png": gray_page(1), "2.png": gray_page(2), "\xe9.png": gray_page(3)}
    task = task_of(str(tmp_path), {"\u30ab\u3099.cbz": zipped(pages)})
    rows = "page,x,y,radius,colour\n\u30ac.cbz/\u30dd.png,9,9,3,red\n\u30ac.cbz/e\u0301.png,9,9,3,red\n"
    hints = parse_hints(rows.encode(), "hints.csv").by_chapter([task.ref.rel])[task.ref.rel]
    (chunk,) = stages_of(str(tmp_path)).open(replace(task, hints=hints))
    assert [bool(page.hints) for page in chunk.pages] == [True, False, True]
    assert chunk.warnings == []
    assert [page.kept_name for page in chunk.pages] == list(pages)  # each in its own form


def test_archive_in_archive_out(home: str, variant: models.Variant) -> None:
    files = {
        "p10.jpg": gray_page(1, "JPEG"),
        "ComicInfo.xml": COMIC_INFO,
        "p2.png": gray_page(2),
        "cover.png": color_page(),
        "sub/ComicInfo.xml": COMIC_INFO,
        "notes.txt": b"kept",
        "__MACOSX/._p2.png": b"left out",
    }
    manifest = color(task_of(home, {"volume/ep1.cbz": zipped(files)}), home, variant)
    got = members_of(open_storage(f"{home}/out").read("volume/ep1.cbz"))
    kept = list(files)[:-1]
    assert list(got) == [name.replace("p2.png", "p2.jpg") if name == "p2.png" else name for name in kept]
    assert ["__MACOSX/._p2.png" in warning for warning in manifest.warnings] == [True]
    for name in ("cover.png", "notes.txt", "sub/ComicInfo.xml"):
        assert got[name] == files[name]
    assert got["ComicInfo.xml"] == mark_colored(COMIC_INFO)[0] != COMIC_INFO
    for name in ("p10.jpg", "p2.jpg"):
        image = Image.open(io.BytesIO(got[name]))
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (40, 56))

    assert manifest.status == "done"
    assert manifest.rel == "volume/ep1.cbz"
    assert [page.output for page in manifest.pages] == list(got)
    assert [page.index for page in manifest.pages] == [2, None, 1, 0, None, None]
    assert (manifest.count("coloured"), manifest.count("kept"), manifest.count("flagged")) == (2, 1, 0)
    assert {page.output: page.sha256 for page in manifest.pages} == {
        name: hashlib.sha256(data).hexdigest() for name, data in got.items()
    }
    assert Ledger(f"{home}/out", FINGERPRINT).manifests() == {manifest.rel: manifest.summary()}


def test_unreadable_page_is_kept_and_flagged(home: str, variant: models.Variant) -> None:
    files = {"1.png": gray_page(), "2.png": gray_page(2)[:300], "3.jpg": b"<html>403</html>"}
    manifest = color(task_of(home, {"ep.cbz": zipped(files)}), home, variant)
    assert manifest.status == "partial"
    assert [(page.action, page.code) for page in manifest.pages] == [
        ("coloured", ""),
        ("flagged", "TRUNCATED"),
        ("flagged", "NOT_IMAGE"),
    ]
    got = members_of(open_storage(f"{home}/out").read("ep.cbz"))
    assert list(got) == ["1.jpg", "2.png", "3.jpg"]
    assert got["2.png"] == files["2.png"]
    assert got["3.jpg"] == files["3.jpg"]


def test_damaged_member_is_kept_and_flagged(tmp_path: Path, variant: models.Variant) -> None:
    page = gray_page(1)
    data = bytearray(zipped({"1.png": page, "2.png": gray_page(2)}))
    place = data.index(page) + len(page) - 40
    data[place] ^= 0xFF
    manifest = color(task_of(str(tmp_path), {"ep.cbz": bytes(data)}), str(tmp_path), variant)
    assert manifest.status == "partial"
    assert (manifest.pages[0].action, manifest.pages[0].code) == ("flagged", "READ")
    got = members_of((tmp_path / "out/ep.cbz").read_bytes())
    assert len(got["1.png"]) == len(page)


def test_folder_chapter(home: str, variant: models.Variant) -> None:
    files = {"v/ep1/1.png": gray_page(), "v/ep1/2.jpg": color_page("JPEG"), "v/ep1/notes.txt": b"kept"}
    manifest = color(task_of(home, files), home, variant)
    out = open_storage(f"{home}/out")
    assert sorted(entry.key for entry in out.list("v/")) == ["v/ep1/1.jpg", "v/ep1/2.jpg", "v/ep1/notes.txt"]
    assert out.read("v/ep1/2.jpg") == files["v/ep1/2.jpg"]
    assert out.read("v/ep1/notes.txt") == b"kept"
    assert decode(out.read("v/ep1/1.jpg")).shape == (56, 40, 3)
    assert (manifest.status, manifest.rel) == ("done", "v/ep1")
    assert Ledger(f"{home}/out", FINGERPRINT).manifests() == {"v/ep1": manifest.summary()}


def test_folder_chapter_leaves_foreign_files_alone(home: str, variant: models.Variant) -> None:
    open_storage(f"{home}/out").put("ep1/1.jpg", b"not ours")
    color(task_of(home, {"ep1/1.png": gray_page()}), home, variant)
    assert open_storage(f"{home}/out").read("ep1/1.jpg") == b"not ours"


@pytest.mark.parametrize(
    ("name", "image_format", "expected"),
    [
        ("a/1.png", "jpeg", "a/1.jpg"),
        ("1.JPG", "jpeg", "1.JPG"),
        ("1.jpeg", "jpeg", "1.jpeg"),
        ("1.jpeg", "png", "1.png"),
        ("1.v2.webp", "jpeg", "1.v2.jpg"),
        ("1.WEBP", "webp", "1.WEBP"),
    ],
)
def test_only_the_extension_changes(
    tmp_path: Path, variant: models.Variant, name: str, image_format: ImageFormat, expected: str
) -> None:
    manifest = color(
        task_of(str(tmp_path), {"ep.cbz": zipped({name: gray_page()})}), str(tmp_path), variant, image_format
    )
    assert [page.output for page in manifest.pages] == [expected]
    got = members_of((tmp_path / "out/ep.cbz").read_bytes())
    assert Image.open(io.BytesIO(got[expected])).format == image_format.upper()


def test_extension_that_would_collide(home: str, variant: models.Variant) -> None:
    files = {"1.jpg": gray_page(1, "JPEG"), "1.png": gray_page(2), "2.PNG": gray_page(3), "2.JPG": color_page("JPEG")}
    manifest = color(task_of(home, {"ep.cbz": zipped(files)}), home, variant)
    assert manifest.status == "done"
    got = members_of(open_storage(f"{home}/out").read("ep.cbz"))
    assert list(got) == ["1.jpg", "1.png.jpg", "2.PNG.jpg", "2.JPG"]


@pytest.mark.parametrize(
    "names",
    [
        ("1.png", "1.webp"),
        ("1.jpg", "1.png", "1.png.jpg"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_new_names_collide_with_no_other(
    tmp_path: Path, variant: models.Variant, names: tuple[str, ...], kind: str
) -> None:
    pages = {name: gray_page(seed) for seed, name in enumerate(names)}
    files = {"ep.cbz": zipped(pages)} if kind == "zip" else {f"ep/{name}": data for name, data in pages.items()}
    manifest = color(task_of(str(tmp_path), files), str(tmp_path), variant)
    assert manifest.status == "done", manifest.message
    assert len({page.output for page in manifest.pages}) == len(names)


def test_png_keeps_lightness_under_the_most_vivid_chroma(tmp_path: Path, variant: models.Variant) -> None:
    levels = np.tile(np.arange(256, dtype=np.uint8), (192, 1))
    task = task_of(str(tmp_path), {"ep.cbz": zipped({"1.png": saved(levels)})})
    predict = Predictor(variant, 4)

    def vivid(chunk: Chunk) -> Chunk:
        predicted = predict(chunk).pages[0].chroma
        assert predicted is not None
        assert predicted.shape == (SIZE, SIZE, 2)
        rng = np.random.default_rng(0)
        chunk.pages[0].chroma = rng.uniform(-100, 100, (SIZE, SIZE, 2)).astype(np.float16)
        return chunk

    color_chapter(task, stages_of(tmp_path, PageSettings("png")), vivid)
    page = decode(members_of((tmp_path / "out/ep.cbz").read_bytes())["1.png"])
    assert page.shape == (192, 256, 3)
    off = np.abs(to_lab(page)[..., 0] - to_lab(np.repeat(levels[..., None], 3, axis=2))[..., 0])
    assert np.quantile(off, 0.999) < 1
    assert np.ptp(page.astype(int), axis=2).mean() > 20  # and it is in colour


def test_result_depends_on_no_batch(tmp_path: Path, variant: models.Variant) -> None:
    files = {"ep.cbz": zipped({f"{i}.png": gray_page(i) for i in range(5)})}
    task = task_of(str(tmp_path), files)
    chroma = []
    for batch_size in (1, 5):
        stages = stages_of(tmp_path)
        (chunk,) = stages.open(task)
        Predictor(variant, batch_size)(stages.prepare(chunk))
        assert all(page.grays is None for page in chunk.pages)  # what was used is dropped
        chroma.append(np.stack([page.chroma for page in chunk.pages if page.chroma is not None]).astype(float))
    assert chroma[0].shape == (5, SIZE, SIZE, 2)
    assert np.abs(chroma[0] - chroma[1]).max() < 0.1


def test_finished_rows_carry_no_pictures(tmp_path: Path, variant: models.Variant) -> None:
    task = task_of(str(tmp_path), {"ep.cbz": zipped({f"{i}.png": gray_page(i) for i in range(8)})})
    (chunk,) = run(task, stages_of(tmp_path), variant)
    assert chunk.pages == []
    assert len(to_row(chunk)["chunk"]) < 4000


def test_rows_are_the_same_stages(tmp_path: Path, variant: models.Variant) -> None:
    task = task_of(str(tmp_path), {"ep.cbz": zipped({"1.png": gray_page()})})
    stages = stages_of(tmp_path)
    (row,) = pipeline.open_row(to_row(task), stages=stages)
    row = pipeline.prepare_row(row, stages=stages)
    row = to_row(Predictor(variant, 4)(from_row(row)))
    chunk = from_row(pipeline.postprocess_row(row, stages=stages))
    assert stages.ledger.manifests() == {"ep.cbz": chunk.outcome.summary()}


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [("ep.cbz", b"", "EMPTY"), ("ep.cbr", b"Rar!", "BROKEN"), ("ep.cbz", zipped({"a.txt": b"a"}), "NO_PAGES")],
)
def test_unreadable_chapter_is_quarantined(
    home: str, variant: models.Variant, name: str, data: bytes, code: str
) -> None:
    task = task_of(home, {name: data})
    manifest = color(task, home, variant)
    assert (manifest.status, manifest.code, manifest.pages) == ("quarantined", code, [])
    assert manifest.message
    ledger = Ledger(f"{home}/out", FINGERPRINT)
    assert ledger.covers(ledger.manifests()[name], task.ref, task.policy.digest())
    assert open_storage(f"{home}/out").stat(name) is None


def test_chapter_that_is_gone_fails_and_is_tried_again(home: str, variant: models.Variant) -> None:
    task = task_of(home, {"ep.cbz": zipped({"1.png": gray_page()})})
    open_storage(f"{home}/in").delete("ep.cbz")
    manifest = color(task, home, variant)
    assert manifest.status == "failed"
    assert "ep.cbz" in manifest.message
    assert Ledger(f"{home}/out", FINGERPRINT).manifests() == {}


def test_place_that_is_taken_fails(home: str, variant: models.Variant) -> None:
    open_storage(f"{home}/out").put("ep.cbz", b"not ours")
    manifest = color(task_of(home, {"ep.cbz": zipped({"1.png": gray_page()})}), home, variant)
    assert (manifest.status, manifest.code) == ("failed", "ObjectExistsError")
    assert open_storage(f"{home}/out").read("ep.cbz") == b"not ours"


# -- chapters of several chunks


def chunk_files(out: str) -> list[str]:
    return [entry.key for entry in open_storage(out).list(f"{HOME}/pieces/")]


def test_long_chapter_goes_by_chunks(home: str, variant: models.Variant) -> None:
    task, stages = task_of(home, {"v/ep.cbz": zipped(LONG)}), stages_of(home)
    opened = list(stages.open(task))
    assert [len(chunk.pages) for chunk in opened] == [32, 32, 6]
    assert [(chunk.number, chunk.of) for chunk in opened] == [(0, 3), (1, 3), (2, 3)]
    for chunk in reversed(run(task, stages, variant)):
        assert chunk.outcome is None
        assert chunk.ready
        assert chunk.pages == []
    assert open_storage(f"{home}/out").stat("v/ep.cbz") is None  # nothing is visible before all of it is
    assert stages.ledger.manifests() == {}

    manifest = stages.assemble(task, 3)
    assert (manifest.status, manifest.count("coloured"), manifest.count("kept")) == ("done", len(LONG) - 2, 1)
    got = members_of(open_storage(f"{home}/out").read("v/ep.cbz"))
    assert list(got) == LONG_OUT == [page.output for page in manifest.pages]
    assert got["p1.jpg"] == LONG["p1.jpg"]
    assert got["ComicInfo.xml"] == mark_colored(COMIC_INFO)[0]
    assert stages.ledger.manifests() == {"v/ep.cbz": manifest.summary()}
    assert chunk_files(f"{home}/out") == []


def test_chunks_are_cut_by_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CHUNK_BYTES", 1000)
    task = task_of(str(tmp_path), {"ep.cbz": zipped({"1.png": bytes(600), "2.png": bytes(400), "3.png": bytes(5000)})})
    opened = stages_of(tmp_path).open(task)
    assert [[page.member.name for page in chunk.pages] for chunk in opened] == [["1.png", "2.png"], ["3.png"]]


def test_chunks_of_an_earlier_run_are_not_computed_again(
    home: str, variant: models.Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, out = task_of(home, {"ep.cbz": zipped(LONG)}), f"{home}/out"
    stages = stages_of(home)
    run(task, stages, variant, skip=[1])
    put_aside = {entry.key: entry.version for entry in open_storage(out).list(f"{HOME}/pieces/")}
    assert len(put_aside) == 2

    called: list[str] = []
    sandbox = the_sandbox()

    def count(function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        called.append(function.__name__)
        return Sandbox.call(sandbox, function, *arguments, seconds=seconds)

    monkeypatch.setattr(sandbox, "call", count)
    assert [chunk.ready for chunk in stages.open(task)] == [True, False, True]
    called.clear()
    finished = run(task, stages, variant)
    assert [chunk.ready for chunk in finished] == [True] * 3
    of_middle = sum(name.endswith((".png", ".jpg")) for name in list(LONG)[32:64])
    assert called.count("see") == of_middle
    assert called.count("color_over") == of_middle - 1  # the page in colour is not joined
    now = {entry.key: entry.version for entry in open_storage(out).list(f"{HOME}/pieces/")}
    assert {key: now[key] for key in put_aside} == put_aside
    assert stages.assemble(task, 3).status == "done"
    assert list(members_of(open_storage(out).read("ep.cbz"))) == LONG_OUT


@pytest.mark.parametrize("other", ["weights", "source"])
def test_chunks_of_other_weights_or_source_are_not_used(tmp_path: Path, variant: models.Variant, other: str) -> None:
    task = task_of(str(tmp_path), {"ep.cbz": zipped(LONG)})
    run(task, stages_of(tmp_path), variant)
    if other == "source":
        task = task_of(str(tmp_path), {"ep.cbz": zipped({**LONG, "p0.png": gray_page(77)})})
    stages = stages_of(tmp_path, fingerprint=FINGERPRINT if other == "source" else "b2" * 32)
    assert not any(chunk.ready for chunk in stages.open(task))


def test_long_folder(tmp_path: Path, variant: models.Variant) -> None:
    task = task_of(str(tmp_path), {f"ep/{name}": data for name, data in LONG.items()})
    stages = stages_of(tmp_path)
    assert len(run(task, stages, variant)) == 3
    manifest = stages.assemble(task, 3)
    assert sorted(path.name for path in (tmp_path / "out/ep").iterdir()) == sorted(LONG_OUT)
    assert stages.ledger.manifests() == {"ep": manifest.summary()}
    assert chunk_files(str(tmp_path / "out")) == []


def test_piece_that_is_missing_fails_the_chapter(tmp_path: Path, variant: models.Variant) -> None:
    task, stages = task_of(str(tmp_path), {"ep.cbz": zipped(LONG)}), stages_of(tmp_path)
    run(task, stages, variant, skip=[2])
    before = chunk_files(str(tmp_path / "out"))
    assert stages.assemble(task, 3).status == "failed"
    assert not (tmp_path / "out/ep.cbz").exists()
    assert chunk_files(str(tmp_path / "out")) == before  # for the next run


def test_assembling_twice_is_assembling_once(tmp_path: Path, variant: models.Variant) -> None:
    task, stages = task_of(str(tmp_path), {"ep.cbz": zipped(LONG)}), stages_of(tmp_path)
    run(task, stages, variant)
    first = stages.assemble(task, 3)
    assert first.status == "done"
    assert stages.assemble(task, 3) == first


def test_members_of_one_name_are_both_kept(tmp_path: Path, variant: models.Variant) -> None:
    out = io.BytesIO()
    first, second = color_page(), saved(np.array(decode(color_page()))[::-1].copy())
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("1.png", first)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("1.png", second)
    manifest = color(task_of(str(tmp_path), {"ep.cbz": out.getvalue()}), str(tmp_path), variant)
    wanted = [hashlib.sha256(data).hexdigest() for data in (first, second)]
    assert [page.sha256 for page in manifest.pages] == wanted
