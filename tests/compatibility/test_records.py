"""What is written for later runs to read: digests, fingerprints, manifests, chunk files.

Equal, letter by letter, to what earlier commits wrote.
"""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from datasets.archive import ChapterRef
from datasets.chapters import Member
from datasets.limits import Limits
from imaging.gate import Thresholds
from imaging.hints import Hint
from imaging.palette import Color, Palette
from imaging.postprocess import PostprocessSettings
from jobs.parts.colorize.chunk_files import ChunkFiles
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.hints import ChapterHints, digest_of
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.publish import ChapterPublisher
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.tasks import ChapterTask, Chunk, PageTask
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.ledger.revisions import key_of
from jobs.parts.source.policy import Policy
from tests.compatibility.make_fixtures import COLORINGS, DATA, lay_out

DEFAULT_LIMITS = (
    "Limits(unpacked_bytes=17179869184, member_bytes=268435456, ratio=200, members=20000, pixels=178956970, "
    "seconds=60.0)"
)
OTHER_LIMITS = (
    "Limits(unpacked_bytes=17179869184, member_bytes=268435456, ratio=200, members=7, pixels=1000000, seconds=2.5)"
)
RED, BLUE = Hint(48.0, 30.0, 6.0, (69.0, 50.5)), Hint(10.5, 100.0, 2.5, (-28.75, -8.5))
PALETTE = Palette(
    (
        Color("red", (50.0, 30.0), (60.0, 48.0, 31.5, 1.25), 0.5),
        Color("gray", (0.0, 1.0), (80.0, 0.0, 0.5, 0.25), 0.5),
    )
)
MANIFESTS = sorted((DATA.parent / "format_1").glob("*/*.json"))


@pytest.mark.parametrize(
    ("policy", "digest"),
    [
        (Policy(), f"({DEFAULT_LIMITS}, False, False)"),
        (Policy(strict=True), f"({DEFAULT_LIMITS}, True, False)"),
        (Policy(salvage=True, keep_format=True), f"({DEFAULT_LIMITS}, False, True)"),
        (Policy(Limits(pixels=10**6, seconds=2.5, members=7)), f"({OTHER_LIMITS}, False, False)"),
    ],
)
def test_a_policy_s_digest(policy: Policy, digest: str) -> None:
    """A quarantined chapter is not tried again as long as it is this."""
    assert policy.digest() == digest


def test_digests_of_hints() -> None:
    assert digest_of(()) == ""
    assert digest_of((RED,)) == "aa2f63a66cb1d9d4"
    assert digest_of((RED, BLUE)) == "7858a089f5cc344b"
    assert ChapterHints().digest() == ""
    assert ChapterHints({"003.png": (BLUE,), "001.png": (RED, BLUE)}).digest() == "27e2e760fc442a38"


def test_the_settings_of_pages() -> None:
    """They are hashed into the job's fingerprint."""
    gate = {"clipped": 0.1, "dull": 17.0, "lines": 0.95, "ssim": 0.995, "tint": 8.0, "wild": 130.0}
    limits = {f"gate_{name}": value for name, value in gate.items()}
    assert PageSettings().recorded() == {
        "format": "jpeg",
        "strategy": "page",
        "lines": "sides",
        "bubbles": "neutral",
        **limits,
    }
    other = PageSettings("png", "tiles", PostprocessSettings("off", "colour", Thresholds(dull=5.0), PALETTE, "blend"))
    assert other.recorded() == {
        "format": "png",
        "strategy": "tiles",
        "lines": "off",
        "bubbles": "colour",
        "luminance": "blend",
        "palette": "720daad9f08a5063",
        **limits,
        "gate_dull": 5.0,
    }


@pytest.mark.parametrize("name", COLORINGS)
def test_a_job_s_fingerprint(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    lay_out(home)
    job = json.loads((home / f"out/{name}/_mangahue/job.json").read_text())
    chosen = {key: job["config"][key] for key in ("reference", "palette", "keep_format", "salvage", "strict", "format")}
    chosen |= {key: job["config"][key] for key in ("strategy", "lines", "bubbles")}
    chosen["reference"] = str(home / "reference") if chosen["reference"] else ""
    settings = JobSettings.of(
        ColorizeConfig(model=str(home / "run/model"), source="", out=str(home / "out" / name), **chosen)
    )
    assert settings.fingerprint == job["fingerprint"]
    assert {"fingerprint": settings.fingerprint, **settings.as_job(), "config": {}} == {**job, "config": {}}


@pytest.mark.parametrize("stored", MANIFESTS, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_manifest_of_format_1_is_read(tmp_path: Path, stored: Path) -> None:
    """And written again with the same values, now in the present format."""
    manifest = Manifest.from_json(stored.read_bytes())
    Ledger(str(tmp_path), manifest.fingerprint).commit(manifest, 0)
    before, now = (json.loads(path.read_bytes()) for path in (stored, tmp_path / key_of(manifest.rel, 1)))
    assert {**now, "format": None, "digest": None} == {**before, "format": None, "digest": None}
    assert (now["format"], "format" in before) == (2, False)


def chunk_of(number: int, of: int) -> Chunk:
    """A coloured page and a file beside it."""
    ref = ChapterRef("/library", "one/ch01.cbz", "one/ch01.cbz", "archive", 1234, "1234-5678")
    task = ChapterTask(ref, ref.rel, over=0, hints=ChapterHints({"1.png": (RED,)}))
    page, note = (
        PageTask(Member("1.png", 10, 0, 0, "1.png"), "1.png", "1.jpg", action="coloured", hints=(RED,), width=8,
                 height=9, code="DULL", message="hardly any colour", colors={"0": [0.5, 1.0, 2.0, 3.0, 4.0]}),
        PageTask(Member("note.txt", 10, None, 1, "note.txt"), "note.txt", "note.txt", message="kept"),
    )  # fmt: skip
    return Chunk(task, number, of, [page, note], warnings=["told"], seconds=1.25)


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_chunk_that_is_put_aside(tmp_path: Path) -> None:
    """A volume that an earlier commit left half done goes on: its chunk files have the same names and are read."""
    chunk, ledger = chunk_of(1, 3), Ledger(str(tmp_path), "f" * 64, PALETTE)
    ChapterPublisher(chunk.task, ledger).publish(chunk, [b"a page", b"a note"])
    home = "_mangahue/pieces/one/ch01.cbz/ffffffffffffffff-fe5281e0-fccd6dbe5f03496c-1234-5678"
    assert list(files_of(tmp_path)) == [f"{home}/000001.zip"]

    files = ChunkFiles(chunk.task, ledger)
    written = files.manifest(1)
    with zipfile.ZipFile(tmp_path / home / "000001.zip", "w") as earlier:  # its manifest was on one line
        earlier.writestr("manifest.json", json.dumps(json.loads(written.to_json())))
        earlier.writestr("1.jpg", b"a page")
    assert files.manifest(1) == written
    assert [page.output for page in written.pages] == ["1.jpg", "note.txt"]


def test_a_chapter_that_is_published(tmp_path: Path) -> None:
    chunk = chunk_of(0, 1)
    ChapterPublisher(chunk.task, Ledger(str(tmp_path), "f" * 64, PALETTE)).publish(chunk, [b"a page", b"a note"])
    assert files_of(tmp_path) == {
        "_mangahue/chapters/one/ch01.cbz.json": "1fc8e1ff697d9c63",
        "one/ch01.cbz": "1787a266cebcedd1",
    }
