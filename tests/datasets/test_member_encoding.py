"""Names in the encodings of Japanese, Korean, Chinese and older Western archives, which tell nothing of it."""

import io
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.archive import find_chapters
from datasets.chapters import Chapter, open_chapter
from datasets.chapters.member_encoding import decode_names
from tests.archives import raw_zip

# Each line is an archive: its names, with bars between.
TEXT = {
    "cp932": """
        表紙.png|第２話.png
        ソード/表.png|能登\\十話.png
        ワンピース 第01巻/001.jpg
        名探偵コナン_001.jpg
        ｶﾞﾝﾀﾞﾑ/001.jpg|ガンダム 第1巻/カバー.jpg
        鬼滅の刃/第12話/扉.png|鬼滅の刃/第12話/ー.png
        転生したらスライムだった件.jpg""",
    "cp949": """
        표지.png
        원피스 01권/001.jpg
        진격의 거인/제1화_001.jpg
        나 혼자만 레벨업.jpg
        귀멸의 칼날/뒷표지.jpg
        컬러 페이지.png|1화.png""",
    "gb18030": """
        封面.png|第1话.png
        海贼王 第01卷/001.jpg
        进击的巨人/第3话_001.jpg
        火影忍者.jpg
        名侦探柯南.jpg
        斗破苍穹/目录.png|斗破苍穹/彩页.png""",
    "big5": """
        封面.png|第1話.png
        海賊王 第01卷/001.jpg
        進擊的巨人/第3話_001.jpg
        火影忍者.jpg
        名偵探柯南.jpg
        功夫旋風兒/目錄.png|一拳超人/彩頁.png""",
    "cp437": """
        Für Elise.png
        El niño.png|Año 1.png
        Pokémon 01/001.png
        Größe.jpg|Übel.jpg
        Tintin en Amérique/001.jpg
        première.png
        Señor.jpg|Übel.jpg|café.jpg""",
}
NAMES = {codec: [line.strip().split("|") for line in text.strip().splitlines()] for codec, text in TEXT.items()}
CASES = [(codec, names) for codec, archives in NAMES.items() for names in archives]
WARNED = {"cp932": "Shift-JIS", "cp949": "EUC-KR", "gb18030": "GBK", "big5": "Big5", "cp437": "not sure"}


def opened(folder: Path, name: str, data: bytes) -> Chapter:
    (folder / name).write_bytes(data)
    (ref,) = find_chapters(str(folder / name))
    return open_chapter(ref)


def zip_of(raw: list[bytes]) -> bytes:
    return raw_zip((name, name) for name in raw)


def cut_zip_of(raw: list[bytes]) -> bytes:
    data = zip_of(raw)
    return data[: data.rindex(b"PK\x01\x02") + 10]


def tar_of(raw: list[bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT, encoding="utf-8") as archive:
        for name in raw:
            info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name))
    return out.getvalue()


@pytest.mark.parametrize(("codec", "names"), CASES, ids=[f"{codec} {names[0]}" for codec, names in CASES])
def test_names_are_read_as_they_were_meant(codec: str, names: list[str]) -> None:
    found, warning = decode_names([name.encode(codec) for name in names])
    assert found == names
    assert WARNED[codec] in warning


TITLES = {
    "cp932": ["ワンピース", "鬼滅の刃", "進撃の巨人"], "cp949": ["원피스", "신의탑", "진격의 거인"],
    "gb18030": ["海贼王", "火影忍者", "进击的巨人"], "big5": ["海賊王", "一拳超人", "進擊的巨人"],
    "cp437": ["Pokémon", "Año", "Größe"],
}  # fmt: skip


@pytest.mark.parametrize(
    "form", ["{} {:02}.png", "{}_{:03}.jpg", "[Scans] {0} v01/{0} v01 - p{1:03}.png", "Text/{}{}.htm"]
)
@pytest.mark.parametrize(("codec", "title"), [(codec, title) for codec in TITLES for title in TITLES[codec]])
def test_numbers_beside_a_title_hide_nothing(codec: str, title: str, form: str) -> None:
    names = [form.format(title, number) for number in range(1, 12)]
    assert decode_names([name.encode(codec) for name in names])[0] == names


@pytest.mark.parametrize(
    ("file", "made"), [("ep.cbz", zip_of), ("ep.cbt", tar_of)], ids=["ZIP", "tar"]
)  # fmt: skip
@pytest.mark.parametrize("codec", NAMES)
def test_members_of_an_archive_have_their_names(
    tmp_path: Path, codec: str, file: str, made: Callable[[list[bytes]], bytes]
) -> None:
    names = [name for archive in NAMES[codec] for name in archive] + ["plain.png"]
    raw = [name.encode(codec) for name in names]
    chapter = opened(tmp_path, file, made(raw))
    assert [member.original for member in chapter.members] == names
    assert [member.name for member in chapter.members] == [name.replace("\\", "/") for name in names]
    assert [chapter.read(member) for member in chapter.members] == raw
    assert sum(WARNED[codec] in warning for warning in chapter.warnings) == 1


def test_names_of_a_zip_that_is_cut_off(tmp_path: Path) -> None:
    names = ["表紙.png", "第２話.png"]
    (tmp_path / "ep.cbz").write_bytes(cut_zip_of([name.encode("cp932") for name in names]))
    (ref,) = find_chapters(str(tmp_path / "ep.cbz"))
    assert [member.original for member in open_chapter(ref, salvage=True).members] == names


def test_a_folder_entry_is_none_where_the_backslash_is_half_a_letter(tmp_path: Path) -> None:
    raw = ["表/1.png".encode("cp932"), "能/ソ".encode("cp932"), "表紙\\".encode("cp932"), b"1.png"]
    chapter = opened(tmp_path, "ep.cbz", raw_zip((name, b"" if name.endswith(b"\\") else b"x") for name in raw))
    assert [member.original for member in chapter.members] == ["表/1.png", "能/ソ", "1.png"]
    assert raw[1].endswith(b"\\")


def test_utf_8_that_is_not_told_needs_no_warning(tmp_path: Path) -> None:
    chapter = opened(tmp_path, "ep.cbz", zip_of(["表紙.png".encode(), b"1.png"]))
    assert [member.original for member in chapter.members] == ["表紙.png", "1.png"]
    assert chapter.warnings == []


def test_names_that_are_marked_stay_as_they_are_beside_others(tmp_path: Path) -> None:
    members: list[tuple[str | bytes, bytes]] = [("ä.png", b"x"), ("第２話.png".encode("cp932"), b"x")]
    chapter = opened(tmp_path, "ep.cbz", raw_zip(members))
    assert [member.original for member in chapter.members] == ["ä.png", "第２話.png"]


def test_a_name_in_utf_8_beside_another_is_taken(tmp_path: Path) -> None:
    raw, name = b"\x81\x82.png", "正しい.png".encode()
    field = b"\1" + struct.pack("<I", zlib.crc32(raw)) + name
    extra = struct.pack("<HH", 0x7075, len(field)) + field
    chapter = opened(tmp_path, "ep.cbz", raw_zip([(raw, b"x")], extra=extra))
    assert [member.original for member in chapter.members] == ["正しい.png"]
    assert chapter.warnings == []
    stale = extra[:5] + b"\0\0\0\0" + extra[9:]
    assert opened(tmp_path, "ep.cbz", raw_zip([(raw, b"x")], extra=stale)).members[0].original != "正しい.png"


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=30), max_size=6))
def test_any_names_are_decoded_and_none_is_lost(raw: list[bytes]) -> None:
    found, warning = decode_names(raw)
    assert len(found) == len(raw)
    assert bool(warning) == any(
        name != source.decode(errors="replace") for name, source in zip(found, raw, strict=True)
    )


@settings(max_examples=100)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=6))
def test_utf_8_stays(names: list[str]) -> None:
    assert decode_names([name.encode() for name in names]) == (names, "")
