"""A model that follows reference pages and hints, in a job on a real cluster."""

import json
import shutil
from pathlib import Path

import pytest

from datasets.storage import open_storage
from tests.jobs.colorize.chapters import members_of
from tests.local_machine import LocalMachine
from tests.untrained import publish_untrained

HEADER = "page,x,y,radius,colour\n"
CHAPTERS = ("ch01.cbz", "ch02.cbz", "ch03.cbz")


@pytest.fixture(scope="module")
def follower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("follower")
    publish_untrained(folder, "exemplar", base_channels=8, image_size=64)
    return folder


def pictures(uri: str) -> dict[tuple[str, str], bytes]:
    """All pages, by chapter and name."""
    found = {}
    for name in CHAPTERS:
        for member, data in members_of(open_storage(uri).read(name)).items():
            if member.endswith(".jpg"):
                found[name, member] = data
    return found


@pytest.fixture(scope="module")
def plain(machine: LocalMachine, follower: Path, series: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The series, coloured without reference and hints."""
    out = tmp_path_factory.mktemp("plain") / "out"
    coloured = machine.job("colorize", "--model", str(follower), "--source", str(series / "ink"), "--out", str(out))
    assert coloured.returncode == 0, coloured.stdout
    return out


def test_an_edited_hint_does_its_page_again_and_no_other(
    machine: LocalMachine, follower: Path, series: Path, plain: Path, tmp_path: Path
) -> None:
    hints, out = tmp_path / "hints.csv", tmp_path / "out"
    shutil.copytree(plain, out)
    command = ("--model", str(follower), "--source", str(series / "ink"), "--out", str(out))
    before = pictures(str(out))

    hints.write_text(f"{HEADER}ch02.cbz/002.png,96,144,80,#e02020\nch02.cbz/nowhere.png,1,2,3,red\n")
    told = machine.job("colorize", *command, "--hints", str(hints))
    assert told.returncode == 0, told.stdout
    assert "1 chapters use a colour of the palette, or have a hint or a marked page, that was edited" in told.stdout
    assert "palette, hints or marked pages edited: 1 pages done again, 2 taken as they were published" in told.stdout
    assert "--hints names 'nowhere.png', which is no page of it" in told.stdout
    after = pictures(str(out))
    assert {place for place in before if before[place] != after[place]} == {("ch02.cbz", "002.jpg")}

    without = machine.job("colorize", *command)
    assert without.returncode == 0, without.stdout
    assert pictures(str(out)) == before


def test_coloured_pages_are_followed(
    machine: LocalMachine, follower: Path, series: Path, plain: Path, tmp_path: Path
) -> None:
    reference = ("--reference", str(series / "color/ch02.cbz"))
    source = ("--source", str(series / "ink/ch01.cbz"), "--out", str(tmp_path / "out"))
    followed = machine.job("colorize", "--model", str(follower), *source, *reference)
    assert followed.returncode == 0, followed.stdout

    one, other = (members_of((folder / "ch01.cbz").read_bytes()) for folder in (plain, tmp_path / "out"))
    assert one.keys() == other.keys()
    assert all(one[name] != other[name] for name in one if name.endswith(".jpg"))
    job = json.loads((tmp_path / "out/_mangahue/job.json").read_text())
    assert job["settings"]["reference"]


def test_hints_that_can_not_be_followed_are_refused(
    machine: LocalMachine, follower: Path, model: Path, series: Path, tmp_path: Path
) -> None:
    hints = tmp_path / "hints.csv"
    hints.write_text(f"{HEADER}ch9.cbz/1.png,1,2,3,red\n")
    rest = ("--source", str(series / "ink"), "--out", str(tmp_path / "out"), "--hints", str(hints))

    other = machine.job("colorize", "--model", str(model), *rest)
    assert other.returncode == 2
    assert "a model of pix2pix takes no hints; give one of exemplar" in other.stdout
    lost = machine.job("colorize", "--model", str(follower), *rest)
    assert lost.returncode == 2
    assert "line 2: page 'ch9.cbz/1.png' lies in no chapter of --source" in lost.stdout
    assert not (tmp_path / "out").exists()
