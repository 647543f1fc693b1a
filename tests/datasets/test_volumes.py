"""RAR archives in several parts: one chapter where all are there, and never one for each part."""

import random
from pathlib import Path

import pytest

from datasets.archive import ChapterRef, find_chapters
from datasets.chapters import open_chapter
from datasets.errors import AccessDeniedError, ChapterUnreadableError, Code
from datasets.storage import open_storage
from datasets.storage_disk import LocalStorage
from datasets.volumes import Volume, volume_of
from tests.archives import rar4_parts, rar5, rar5_parts
from tests.pictures import ramp, saved

PAGES = {f"{number}.jpg": random.Random(number).randbytes(700 + 400 * number) for number in range(5)}
NEW = [f"ep.part{number}.rar" for number in range(1, 20)]
PADDED = [f"ep.part{number:03}.rar" for number in range(1, 20)]
COMICS = [f"ep.Part{number}.cbr" for number in range(1, 20)]
OLD = ["ep.rar", *(f"ep.r{number:02}" for number in range(20))]
SHOUTED = [name.upper() for name in OLD]
MAKERS = {"4": rar4_parts, "5": rar5_parts}
STYLES = {
    "new": (NEW, "5"), "padded": (PADDED, "5"), "as comics": (COMICS, "5"), "old": (OLD, "5"), "4": (OLD, "4"),
    "4 in capitals": (SHOUTED, "4"), "4 renamed": (PADDED, "4"),
}  # fmt: skip


@pytest.fixture(params=["local", "s3"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "in") if request.param == "local" else request.getfixturevalue("s3")


def fill(source: str, names: list[str], size: int = 900, but: int = -1, version: str = "5") -> list[str]:
    """Write the parts of PAGES under these names, all but one. Returns the names that are taken."""
    parts = MAKERS[version](PAGES, size)
    for number, part in enumerate(parts):
        if number != but % len(parts) or but == -1:
            open_storage(source).put(names[number], part)
    return names[: len(parts)]


def only(source: str) -> ChapterRef:
    (ref,) = find_chapters(source)
    return ref


@pytest.mark.parametrize(("names", "version"), STYLES.values(), ids=STYLES)
def test_all_parts_are_one_chapter(source: str, names: list[str], version: str) -> None:
    taken = fill(source, [f"S/{name}" for name in names], version=version)
    ref = only(source)
    assert len(taken) > 5
    assert ref.rel == taken[0]
    assert ref.name.lower() == "ep"
    assert ref.size == sum(entry.size for entry in open_storage(source).list())
    assert ref.version_now() == ref.version
    chapter = open_chapter(ref)
    assert {member.name: chapter.read(member) for member in chapter.members} == PAGES
    for member in reversed(chapter.members):
        assert chapter.read(member) == PAGES[member.name]
    chapter.close()
    assert only(f"{source}/{taken[0]}").version == ref.version  # the same chapter, however it was named
    assert only(f"{source}/{taken[2]}").version == ref.version


@pytest.mark.parametrize("size", [500, 1100, 2500, 4000, 20_000])
@pytest.mark.parametrize(("names", "version"), [(NEW, "5"), (OLD, "4")], ids=["5", "4"])
def test_members_in_one_part_and_in_many(tmp_path: Path, names: list[str], version: str, size: int) -> None:
    fill(str(tmp_path), names, size, version=version)
    chapter = open_chapter(only(str(tmp_path)))
    assert {member.name: chapter.read(member) for member in chapter.members} == PAGES


@pytest.mark.parametrize(("names", "version"), STYLES.values(), ids=STYLES)
@pytest.mark.parametrize("but", [0, 1, 3, -2])
def test_a_part_that_is_missing_is_told(tmp_path: Path, names: list[str], version: str, but: int) -> None:
    fill(str(tmp_path), names, but=but, version=version)
    with pytest.raises(ChapterUnreadableError, match="is missing; put all parts side by side") as caught:
        open_chapter(only(str(tmp_path)))
    assert caught.value.code == Code.VOLUME


@pytest.mark.parametrize(("names", "version"), [(NEW, "5"), (OLD, "4")], ids=["5", "4"])
def test_the_last_part_that_is_missing_is_told(tmp_path: Path, names: list[str], version: str) -> None:
    taken = fill(str(tmp_path), names, version=version)
    (tmp_path / taken[-1]).unlink()
    with pytest.raises(ChapterUnreadableError, match="the last one is missing"):
        open_chapter(only(str(tmp_path)))


def test_another_part_is_another_version(source: str) -> None:
    taken = fill(source, NEW)
    ref = only(source)
    open_storage(source).put(taken[3], b"other")
    assert ref.version_now() not in ("", ref.version)
    assert only(source).version == ref.version_now()


def test_archives_of_one_part_stay_what_they_were(tmp_path: Path) -> None:
    for name in ("a.rar", "b.rar", "c.cbr", "sub/a.rar"):
        open_storage(str(tmp_path)).put(name, rar5(PAGES))
    refs = {ref.rel: ref for ref in find_chapters(str(tmp_path))}
    assert sorted(refs) == ["a.rar", "b.rar", "c.cbr", "sub/a.rar"]
    for rel, ref in refs.items():
        entry = open_storage(str(tmp_path)).stat(rel)
        assert entry is not None
        assert (ref.version, ref.size, ref.name) == (entry.version, entry.size, Path(rel).stem)
        assert len(open_chapter(ref).members) == len(PAGES)


def test_archives_that_are_only_named_as_parts_are_told(tmp_path: Path) -> None:
    for name in ("Special.part1.rar", "Special.part2.rar"):
        open_storage(str(tmp_path)).put(name, rar5(PAGES))
    with pytest.raises(ChapterUnreadableError, match="rename those that are chapters of their own") as caught:
        open_chapter(only(str(tmp_path)))
    assert caught.value.code == Code.VOLUME


@pytest.mark.parametrize("cover", ["cover.jpg", "cover"])
def test_parts_beside_pages_are_no_pages(tmp_path: Path, cover: str) -> None:
    fill(str(tmp_path), [f"S/{name}" for name in OLD])
    open_storage(str(tmp_path)).put(f"S/{cover}", saved(ramp()))
    open_storage(str(tmp_path)).put("S/@eaDir/thumbnail", saved(ramp()))
    refs = {ref.rel: ref for ref in find_chapters(str(tmp_path))}
    assert sorted(refs) == ["S", "S/ep.rar"]
    assert [member.name for member in open_chapter(refs["S"]).members] == [cover]
    assert refs["S"].version_now() == refs["S"].version


def test_parts_are_found_beside_a_file_that_can_not_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(str(tmp_path), [f"S/{name}" for name in OLD])
    open_storage(str(tmp_path)).put("S/cover", saved(ramp()))

    def refuse(self: LocalStorage, key: str, start: int, length: int) -> bytes:
        raise AccessDeniedError(f"{key}: refused")

    monkeypatch.setattr(LocalStorage, "read_range", refuse)
    told: dict[str, Exception] = {}
    found = find_chapters(str(tmp_path), lambda ref, error: told.update({ref.rel: error}))
    assert [ref.rel for ref in found] == ["S/ep.rar"]
    assert [(rel, str(error)) for rel, error in told.items()] == [("S", "S/cover: refused")]


@pytest.mark.parametrize(
    ("name", "volume"),
    [
        ("S/ep.part1.rar", Volume("S/ep", ".part.rar", 0)), ("ep.part010.RAR", Volume("ep", ".part.rar", 9)),
        ("ep.rar", Volume("ep", ".rar", 0)), ("ep.r00", Volume("ep", ".rar", 1)), ("ep.R99", Volume("ep", ".rar", 100)),
        ("ep.s00", Volume("ep", ".rar", 101)), ("ep.Part1.cbr", Volume("ep", ".part.cbr", 0)), ("ep.cbr", None),
        ("ep.r1", None), ("part1.rar", Volume("part1", ".rar", 0)), ("ep.zip", None), ("ep.r00/1.jpg", None),
    ],
)  # fmt: skip
def test_parts_are_told_by_their_names(name: str, volume: Volume | None) -> None:
    assert volume_of(name) == volume
